//! One topic for everybody: what most of the scenarios are made of.

use std::collections::BTreeMap;

use super::{parameters, Round, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::Contender;
use crate::trace::Trace;

/// Clients of one topic, which has events at a steady pace, one or several at once.
#[derive(Clone, Debug)]
pub(super) struct FanOut {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) is_quick: bool,
    pub(super) clients: usize,
    /// How many of the clients read nothing once they are connected.
    pub(super) stalled: usize,
    /// Requests to publish per second.
    pub(super) per_second: u64,
    /// Events in each.
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) history: usize,
    pub(super) warm_up: f64,
    pub(super) seconds: f64,
    /// Requests to publish while system calls are counted.
    pub(super) traced: Option<u64>,
}

/// The receive buffer of clients that are stalled, in bytes. With the usual one the system would take
/// whatever they do not read for as long as a round lasts.
const STALLED_BUFFER: usize = 4_096;

impl FanOut {
    fn schedule(&self, seconds: f64) -> Schedule {
        Schedule::new(self.per_second, seconds, self.events as u64, self.bytes)
    }

    fn subscriptions(&self) -> impl Iterator<Item = Subscription> + '_ {
        (0..self.clients).map(|client| {
            let reads = client >= self.stalled;
            Subscription {
                reads,
                receive_buffer: (!reads).then_some(STALLED_BUFFER),
                ..Subscription::to(vec![0])
            }
        })
    }
}

impl Scenario for FanOut {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn description(&self) -> String {
        self.description.clone()
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([
            ("clients", self.clients),
            ("events at once", self.events),
            ("bytes", self.bytes),
        ]);
        parameters.insert("publishes per second".to_owned(), self.per_second);
        if self.stalled > 0 {
            parameters.insert("stalled".to_owned(), self.stalled as u64);
        }
        parameters
    }

    fn is_quick(&self) -> bool {
        self.is_quick
    }

    fn rules_out(&self, contender: &Contender) -> Option<&'static str> {
        let can_publish = self.events == 1 || contender.publishes_lines;
        (!can_publish).then_some("it publishes one event per request")
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, self.history)?;
        let mut load = Load::new(process.address, 1)?;
        load.subscribe(self.subscriptions())?;
        load.publish(self.schedule(self.warm_up))?;

        let measured = self.schedule(self.seconds);
        let stretch = Stretch::of(&process, &mut load, |load| load.publish(measured))?;
        let mut sample = stretch.deliveries();
        sample.insert(Figure::PeakMemory, process.memory()?.peak as f64);

        if let (true, Some(requests)) = (round.traces, self.traced) {
            load.measure()?;
            let trace = Trace::of(process.pid())?;
            for _ in 0..requests {
                // One at a time, since the server is slow now and would send what piles up at once.
                load.publish(Schedule {
                    ticks: 1,
                    ..measured
                })?;
            }
            let calls = trace.count()? as f64 / load.tally().received as f64;
            sample.insert(Figure::SyscallsPerDelivery, calls);
        }
        Ok(sample)
    }
}
