//! `publish-10`, `publish-1000`, `publish-10000`: how long a publisher is held up by those who wait.

use super::fan_out::{FanOut, Measures};
use super::Scale;
use crate::load::Schedule;

/// At three sizes, or at the one that was asked for.
pub(super) fn scenarios(scale: Scale) -> Vec<FanOut> {
    let sizes = (scale.clients).map_or(vec![10, 1_000, 10_000], |one| vec![one]);
    sizes.into_iter().map(scenario).collect()
}

fn scenario(clients: usize) -> FanOut {
    let is_large = clients > 1_000;
    FanOut {
        name: format!("publish-{clients}"),
        description:
            "What publishing one event takes with so many who wait for it, by the server's \
                      own clock, and when the last of them has it. The next is published when \
                      everybody has had it for 10 ms, so that they wait again. The server has two \
                      workers, and may use the load's processor too. Where it has both workers on \
                      one processor, a worker that is woken may hold up the one that publishes."
                .to_owned(),
        measures: Measures::Publishing,
        is_quick: false,
        clients,
        stalled: 0,
        per_second: 100,
        events: 1,
        bytes: 100,
        history: 1_000,
        warm_up: Schedule::new(10, 0.2, 1, 100),
        // Of very many clients there is not room for those of several servers: the servers of a
        // framework follow each other within a round.
        slices: if is_large { 1 } else { 3 },
        // 100 publishes in a round, since it has a 99th percentile.
        seconds: if is_large { 1.0 } else { 0.34 },
        traced: None,
    }
}
