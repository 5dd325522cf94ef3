//! `steady`: one event at a time.

use super::fan_out::FanOut;
use super::Scale;

pub(super) fn scenario(scale: Scale) -> FanOut {
    FanOut {
        name: "steady".to_owned(),
        description: "One topic for everybody, one event at a time: what a delivery costs when \
                      nothing can be shared between two of them."
            .to_owned(),
        is_quick: true,
        clients: scale.clients(1_000, 1_000),
        stalled: 0,
        per_second: 30,
        events: 1,
        bytes: 100,
        history: 1_000,
        warm_up: scale.pick(0.3, 0.1),
        seconds: scale.pick(2.0, 0.5),
        traced: Some(scale.pick(5, 2)),
    }
}
