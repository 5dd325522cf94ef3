//! `publish-10`, `publish-1000`, `publish-10000`: how long a publisher is held up by those who wait.

use std::collections::BTreeMap;

use super::{parameters, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::{Contender, Process, Settings};

pub(super) struct Publish {
    clients: usize,
    per_second: u64,
    seconds: f64,
}

/// The server has a worker that publishes and one that can deliver meanwhile.
const WORKERS: usize = 2;

/// At three sizes, or at the one that was asked for.
pub(super) fn scenarios(scale: Scale) -> Vec<Publish> {
    let sizes = (scale.clients).map_or(vec![10, 1_000, 10_000], |one| vec![one]);
    let publish = |clients| Publish {
        clients,
        // No more than some 40,000 deliveries a second, so that everybody waits again by the next.
        per_second: (40_000 / clients.max(1) as u64).clamp(1, 100),
        seconds: if clients > 1_000 { 3.0 } else { 1.0 },
    };
    sizes.into_iter().map(publish).collect()
}

impl Scenario for Publish {
    fn name(&self) -> String {
        format!("publish-{}", self.clients)
    }

    fn description(&self) -> String {
        format!(
            "What publishing one event takes with so many who wait for it, by the server's own \
             clock, and when the last of them has it. The server has {WORKERS} workers, and may \
             use the load's processor too."
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([("clients", self.clients), ("workers", WORKERS)]);
        parameters.insert("publishes per second".to_owned(), self.per_second);
        parameters
    }

    fn is_quick(&self) -> bool {
        false
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let settings = Settings {
            workers: WORKERS,
            history: 1_000,
            pinned: round.pinned,
            shares: true,
        };
        let process = Process::start(contender, settings)?;
        let mut load = Load::new(process.address, 1)?;
        load.subscribe((0..self.clients).map(|_| Subscription::to(vec![0])))?;
        load.publish(Schedule::new(self.per_second, 0.2, 1, 100))?;

        let measured = Schedule::new(self.per_second, self.seconds, 1, 100);
        let stretch = Stretch::of(&process, &mut load, |load| load.publish(measured))?;
        let mut sample = stretch.latency();
        sample.extend(stretch.publishing());
        sample.insert(Figure::LoadBusy, stretch.busy);
        Ok(sample)
    }
}
