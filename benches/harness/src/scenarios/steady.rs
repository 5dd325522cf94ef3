//! `steady`: one event at a time.

use super::fan_out::{FanOut, Measures};
use super::Scale;
use crate::load::Schedule;

pub(super) fn scenario(scale: Scale) -> FanOut {
    FanOut {
        name: "steady".to_owned(),
        description: "One topic for everybody, one event at a time: what a delivery costs when \
                      nothing can be shared between two of them."
            .to_owned(),
        measures: Measures::Deliveries,
        is_quick: true,
        clients: scale.clients(1_000, 1_000),
        stalled: 0,
        // Slow enough for every server to have sent an event to all before the next is due.
        per_second: 30,
        events: 1,
        bytes: 100,
        history: 1_000,
        warm_up: Schedule::new(30, scale.pick(0.3, 0.1), 1, 100),
        // Some 100 publishes in a round, since it has a 99th percentile.
        slices: scale.pick(6, 2),
        seconds: scale.pick(0.57, 0.2),
        traced: Some(scale.pick(5, 2)),
    }
}
