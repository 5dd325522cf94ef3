//! `slow-tenth`, `slow-tenth-without`: what the others notice of clients that do not read.

use super::fan_out::{FanOut, Measures};
use super::Scale;

/// The scenario, and the same without what it is about.
pub(super) fn scenarios(scale: Scale) -> [FanOut; 2] {
    let clients = scale.clients(100, 100);
    let slow = clients.div_ceil(10);
    let without = FanOut {
        name: "slow-tenth-without".to_owned(),
        description: "As slow-tenth, but everybody reads: what its latencies are to be compared \
                      with."
            .to_owned(),
        measures: Measures::Deliveries,
        is_quick: false,
        clients,
        stalled: 0,
        per_second: 50,
        events: 1,
        bytes: 32 * 1024,
        // A second's worth: whoever reads nothing for longer has missed something.
        history: 50,
        warm_up: 2.5,
        slices: 1,
        seconds: 1.0,
        traced: None,
    };
    let with = FanOut {
        name: "slow-tenth".to_owned(),
        description: "Large events, and a tenth of the clients stop reading as soon as they are \
                      connected. By the time that is measured, all buffers towards them are full. \
                      Latencies are those of the others, memory is the whole server's."
            .to_owned(),
        stalled: slow,
        ..without.clone()
    };
    [with, without]
}
