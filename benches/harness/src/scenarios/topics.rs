//! `topics`: very many topics, each with few clients.

use std::collections::BTreeMap;

use super::{parameters, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::Contender;

pub(super) struct Topics {
    clients: u32,
    topics: u32,
}

/// Topics of each client.
const EACH: u32 = 3;

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
             another: few receive each, so much of the cost of a delivery is that of the publish."
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

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, 100)?;
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
        Ok(sample)
    }
}
