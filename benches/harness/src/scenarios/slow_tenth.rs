//! `slow-tenth`: what the others notice of clients that do not read.

use std::collections::BTreeMap;

use super::fan_out::{FanOut, Measures};
use super::side_by_side::{self, Side};
use super::{parameters, Round, Scale, Scenario};
use crate::clock::MILLISECOND;
use crate::figures::Figure;
use crate::load::{Failure, Schedule, Stalled};
use crate::measure::Sample;
use crate::server::Contender;

pub(super) struct SlowTenth {
    with: FanOut,
    without: FanOut,
}

/// Records kept: fewer than are published while it is measured, so that a client that reads nothing
/// misses some.
const HISTORY: usize = 100;

impl SlowTenth {
    pub(super) fn new(scale: Scale) -> Self {
        let clients = scale.clients(100, 100);
        let stalled = clients.div_ceil(10);
        let with = FanOut {
            name: String::new(),
            description: String::new(),
            measures: Measures::Deliveries,
            is_quick: false,
            clients,
            stalled,
            per_second: 250,
            events: 1,
            bytes: 1_000,
            history: HISTORY,
            // Large events, which fill whatever lies between a server and a client that does not read.
            warm_up: Schedule {
                ticks: 100,
                interval: 10 * MILLISECOND,
                events: 1,
                bytes: 8 * 1_024,
                topics: 1,
            },
            // 520 publishes in a round, so that a 99th percentile is one of publishes. It is over before
            // the 11 s after which our listeners have the kernel drop a client that takes nothing.
            slices: 4,
            seconds: 0.52,
            traced: None,
        };
        // The others are the same, and as many.
        let without = FanOut {
            clients: clients - stalled,
            stalled: 0,
            ..with.clone()
        };
        Self { with, without }
    }

    /// What the clients find that have not read until now.
    fn found(&self, contender: &Contender, side: &mut Side<'_>) -> Result<Stalled, Failure> {
        let found = side.load.read_stalled()?;
        if contender.server.is_ours() && found.complete + found.not_told > 0 {
            return Err(Failure::Server(format!(
                "of {} clients that did not read, {} found everything, which nobody may keep for them, \
                 and {} missed something and were not told",
                self.with.stalled, found.complete, found.not_told
            )));
        }
        Ok(found)
    }
}

impl Scenario for SlowTenth {
    fn name(&self) -> String {
        "slow-tenth".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "A tenth of the clients stop reading as soon as they are connected, and large events fill \
             all buffers towards them before anything is measured. Beside it, in turns of {} \
             publishes, another server of the same kind serves the others alone. Latencies are \
             those of the clients that read. At the end the slow ones read as well: each was told \
             what it missed, or was not told, or was disconnected. One that found everything had it \
             kept by the server.",
            self.with.schedule(self.with.seconds).ticks
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([
            ("clients", self.with.clients),
            ("stalled", self.with.stalled),
            ("bytes", self.with.bytes),
            ("history", HISTORY),
        ]);
        parameters.insert("publishes per second".to_owned(), self.with.per_second);
        parameters
    }

    fn is_quick(&self) -> bool {
        false
    }

    fn connections(&self) -> u64 {
        (self.with.clients + self.without.clients) as u64
    }

    fn seconds(&self) -> f64 {
        self.with.seconds() + self.without.seconds()
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        // Those who do not read come last, so that they wait no longer than they must.
        let mut sides = [&self.without, &self.with].map(|one| Side::start(one, round, contender));
        side_by_side::take_turns(&mut sides, round);
        let [without, with] = sides;
        let (mut with, mut without) = (with?, without?);
        let resident = |side: &Side<'_>| Ok::<_, Failure>(side.process.memory()?.resident as f64);
        let more = resident(&with)? - resident(&without)?;

        let mut sample = with.sample(round)?;
        let found = self.found(contender, &mut with)?;
        let alone = without.sample(round)?;
        let p99 = |sample: &Sample| sample.get(&Figure::LatencyP99).copied();
        if let (Some(with), Some(without)) = (p99(&sample), p99(&alone)) {
            sample.insert(Figure::LatencyP99Without, without);
            sample.insert(Figure::RatioToWithout, with / without);
        }
        sample.extend([
            (Figure::MemoryPerStalled, more / self.with.stalled as f64),
            (Figure::Gaps, found.told as f64),
            (Figure::Skipped, found.skipped as f64),
            (Figure::NotTold, found.not_told as f64),
            (Figure::Disconnected, found.closed as f64),
        ]);
        Ok(sample)
    }
}
