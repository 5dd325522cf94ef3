//! `topics`: very many topics, each with few clients.

use std::collections::BTreeMap;

use super::{parameters, seconds_to_connect, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::{Contender, Process, Settings};

pub(super) struct Topics {
    clients: u32,
    topics: u32,
}

/// Topics of each client.
const EACH: u32 = 3;

/// Records kept of each topic.
const HISTORY: usize = 100;

/// What a channel of each holds for who is behind. tokio's makes room for all of them when it is made,
/// so who has many makes them small.
const CHANNEL: usize = 16;

/// Events per second, over all topics.
const PER_SECOND: u64 = 2_000;

impl Topics {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            clients: u32::try_from(scale.clients(4_000, 4_000)).unwrap_or(u32::MAX),
            topics: 10_000,
        }
    }

    fn schedule(&self, seconds: f64) -> Schedule {
        Schedule {
            topics: self.topics,
            ..Schedule::new(PER_SECOND, seconds, 1, 100)
        }
    }
}

impl Scenario for Topics {
    fn name(&self) -> String {
        "topics".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "Very many topics, each client on {EACH} of them, and events in one topic after \
             another: few receive each, so much of the cost of a delivery is that of the publish. \
             {HISTORY} records are kept of each; natively, a channel holds {CHANNEL}."
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([
            ("clients", self.clients as usize),
            ("topics", self.topics as usize),
            ("topics of each client", EACH as usize),
            ("bytes", 100),
        ]);
        parameters.insert("publishes per second".to_owned(), PER_SECOND);
        parameters
    }

    fn is_quick(&self) -> bool {
        false
    }

    fn rules_out(&self, contender: &Contender) -> Option<&'static str> {
        let is_verified = contender.has_usual_ids;
        (!is_verified).then_some("the ids of several topics together cannot be compared")
    }

    fn seconds(&self) -> f64 {
        // At the end there is one more event in each topic.
        let finish = f64::from(self.topics) * 1e-4;
        seconds_to_connect(self.clients as usize) + 1.5 + finish
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let settings = Settings {
            channel: Some(CHANNEL),
            ..round.settings(HISTORY)
        };
        let process = Process::start(contender, settings)?;
        let mut load = Load::new(process.address, self.topics)?;
        load.subscribe((0..self.clients).map(|client| {
            let topic = |nth| client.wrapping_mul(EACH).wrapping_add(nth) % self.topics;
            Subscription::to((0..EACH).map(topic).collect())
        }))?;
        load.publish(self.schedule(0.5))?;

        let measured = self.schedule(1.0);
        let stretch = Stretch::of(&process, &mut load, |load| load.publish(measured))?;
        let mut sample = stretch.deliveries();
        sample.extend(stretch.publishing());
        sample.insert(Figure::PeakMemory, process.memory()?.peak as f64);
        load.finish()?;
        Ok(sample)
    }
}
