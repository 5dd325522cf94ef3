//! `burst-20`, `burst-100`: several events at once.

use super::fan_out::{FanOut, Measures};
use super::Scale;

pub(super) fn scenario(scale: Scale, events: usize) -> FanOut {
    FanOut {
        name: format!("burst-{events}"),
        description: format!(
            "One topic for everybody, {events} events published at once, without a pause between \
             them: whether a server writes them together."
        ),
        measures: Measures::Deliveries,
        is_quick: events == 20,
        clients: scale.clients(1_000, 1_000),
        stalled: 0,
        // Some 100,000 deliveries a second, and four times that.
        per_second: if events < 50 { 5 } else { 4 },
        events,
        bytes: 100,
        history: 1_000,
        warm_up: scale.pick(0.3, 0.1),
        slices: scale.pick(6, 2),
        seconds: if events < 50 {
            scale.pick(0.6, 0.2)
        } else {
            1.0
        },
        traced: Some(scale.pick(2, 1)),
    }
}
