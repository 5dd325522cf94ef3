//! `idle-1000`, `idle-10000`: the memory of a connection that waits.

use std::collections::BTreeMap;

use super::{parameters, seconds_to_connect, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::Sample;
use crate::server::Contender;

pub(super) struct Idle {
    clients: usize,
    is_quick: bool,
}

/// At two sizes, or at the one that was asked for.
pub(super) fn scenarios(scale: Scale) -> Vec<Idle> {
    let sizes = scale.clients.map_or(vec![1_000, 10_000], |one| vec![one]);
    let idle = |clients| Idle {
        clients,
        is_quick: clients <= 1_000,
    };
    sizes.into_iter().map(idle).collect()
}

impl Scenario for Idle {
    fn name(&self) -> String {
        format!("idle-{}", self.clients)
    }

    fn description(&self) -> String {
        "Clients connect, are sent one event, and wait. Memory is what is resident with them, less what was without, by \
         connection; buffers of the kernel are not in it."
            .to_owned()
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        parameters([("clients", self.clients)])
    }

    fn is_quick(&self) -> bool {
        self.is_quick
    }

    fn main_figure(&self) -> Figure {
        Figure::MemoryPerConnection
    }

    fn seconds(&self) -> f64 {
        seconds_to_connect(self.clients)
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, 1_000)?;
        let mut load = Load::new(process.address, 1)?;
        // What is only ever allocated once is there before.
        load.subscribe([Subscription::to(vec![0])])?;
        load.publish(Schedule::new(1, 1.0, 1, 100))?;
        let before = process.memory()?.resident;

        let others = self.clients.saturating_sub(1).max(1);
        load.subscribe((0..others).map(|_| Subscription::to(vec![0])))?;
        // What a stream only allocates to send is part of it: few never do.
        load.publish(Schedule::new(1, 1.0, 1, 100))?;
        let with = process.memory()?.resident;

        load.finish()?;

        let memory = with.saturating_sub(before) as f64 / others as f64;
        Ok(Sample::from([(Figure::MemoryPerConnection, memory)]))
    }
}
