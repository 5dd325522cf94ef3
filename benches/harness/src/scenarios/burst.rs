//! `burst-20`, `burst-100`: several events at once.

use super::fan_out::{FanOut, Measures};
use super::Scale;
use crate::load::Schedule;

pub(super) fn scenario(scale: Scale, events: usize) -> FanOut {
    let is_small = events < 50;
    // Some 200,000 deliveries a second, and twice that.
    let per_second = if is_small { 10 } else { 4 };
    FanOut {
        name: format!("burst-{events}"),
        description: format!(
            "One topic for everybody, {events} events published at once, without a pause between \
             them: whether a server writes them together."
        ),
        measures: Measures::Deliveries,
        is_quick: is_small,
        clients: scale.clients(1_000, 1_000),
        stalled: 0,
        per_second,
        events,
        bytes: 100,
        history: 1_000,
        warm_up: Schedule::new(per_second, scale.pick(0.3, 0.1), events as u64, 100),
        // A burst is cheap for a delivery, so it takes several for a slice's cost to be a firm one.
        slices: if is_small {
            scale.pick(6, 2)
        } else {
            scale.pick(4, 2)
        },
        seconds: if is_small { scale.pick(0.7, 0.3) } else { 0.5 },
        traced: Some(scale.pick(2, 1)),
    }
}
