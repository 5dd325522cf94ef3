//! `resume-storm`: everybody returns at once, has missed much, and more is published meanwhile.

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
    /// What is published meanwhile.
    live: Schedule,
}

/// How long everybody may take together.
const LIMIT: Duration = Duration::from_secs(60);

impl ResumeStorm {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            clients: scale.clients(5_000, 100),
            records: 1_000,
            // Few, so that what is measured is the replay; of 100 clients that is soon over.
            live: Schedule::new(scale.pick(10, 100), LIMIT.as_secs_f64(), 1, 100),
        }
    }

    /// Room for all that may be published while the last client has yet to be served.
    fn history(&self) -> usize {
        self.records + usize::try_from(self.live.ticks).unwrap_or(usize::MAX / 2)
    }
}

impl Scenario for ResumeStorm {
    fn name(&self) -> String {
        "resume-storm".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "All clients return at once, each with the Last-Event-ID of {} records ago, and {:.0} events a \
             second are published meanwhile, so that replay meets live. The time is that from the \
             first connection until everybody has everything. A connection that the server's backlog \
             has no room for is tried again by the kernel a second later. A server that has not \
             served everybody after {} s has failed.",
            self.records,
            self.live.ticks as f64 / self.live.seconds(),
            LIMIT.as_secs()
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        parameters([("clients", self.clients), ("records", self.records)])
    }

    fn seconds(&self) -> f64 {
        // As fast as the load reads, and a slow one now and then.
        1.0 + (self.clients * self.records) as f64 / 1.5e6
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, self.history())?;
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
            let returning = std::iter::repeat_n(returning, self.clients);
            load.storm(returning, self.live, LIMIT)
        })?;
        let mut sample = stretch.deliveries();
        // Most were due long ago, so there is no latency to speak of.
        sample.retain(|figure, _| !stretch.latency().contains_key(figure));
        sample.insert(Figure::CatchUp, stretch.seconds * 1e3);
        sample.insert(Figure::PeakMemory, process.memory()?.peak as f64);
        load.finish()?;
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
