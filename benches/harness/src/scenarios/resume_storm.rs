//! `resume-storm`: everybody returns at once, and has missed much.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{parameters, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::Contender;

pub(super) struct ResumeStorm {
    clients: usize,
    records: usize,
}

/// How long everybody may take together.
const LIMIT: Duration = Duration::from_secs(60);

impl ResumeStorm {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            clients: scale.clients(5_000, 100),
            records: 1_000,
        }
    }
}

impl Scenario for ResumeStorm {
    fn name(&self) -> String {
        "resume-storm".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "All clients return at once, each with the Last-Event-ID of {} records ago. The time \
             is that from the first connection until the last client has caught up. A connection \
             that the server's backlog has no room for is tried again by the kernel a second later. Who has not served \
             everybody after {} s has failed.",
            self.records,
            LIMIT.as_secs()
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        parameters([("clients", self.clients), ("records", self.records)])
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, self.records)?;
        let mut load = Load::new(process.address, 1)?;
        let after = first_event(&mut load)?;
        // One by one, since not everybody can publish many at once.
        load.publish(Schedule {
            ticks: self.records as u64,
            interval: 0,
            ..Schedule::new(1, 1.0, 1, 100)
        })?;

        let returning = Subscription {
            after: Some(after),
            ..Subscription::to(vec![0])
        };
        let stretch = Stretch::of(&process, &mut load, |load| {
            load.open(std::iter::repeat_n(returning, self.clients));
            load.settle_within(LIMIT)
        })?;
        let mut sample = stretch.deliveries();
        // They were due long ago, so there is no latency to speak of.
        sample.retain(|figure, _| !stretch.latency().contains_key(figure));
        sample.insert(Figure::CatchUp, stretch.seconds * 1e3);
        sample.insert(Figure::PeakMemory, process.memory()?.peak as f64);
        Ok(sample)
    }
}

/// Publishes an event, and returns the id that it was given, and its number.
pub(super) fn first_event(load: &mut Load) -> Result<(String, u64), Failure> {
    load.subscribe([Subscription::to(vec![0])])?;
    load.publish(Schedule::new(1, 1.0, 1, 100))?;
    let id = load
        .first_id(0)
        .ok_or_else(|| Failure::Server("the first event has no id".to_owned()))?;
    Ok((id, load.newest(0)))
}
