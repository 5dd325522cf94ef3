//! One topic for everybody: what most of the scenarios are made of.

use std::collections::BTreeMap;
use std::iter;

use super::side_by_side::{self, Side};
use super::{parameters, seconds_to_connect, Round, Scenario};
use crate::figures::Figure;
use crate::load::{Buffers, Failure, Schedule, Subscription};
use crate::measure::Sample;
use crate::server::Contender;

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measures {
    /// What a delivery costs, on a server of one worker.
    Deliveries,
    /// What the publisher waits for, on a server of [`PUBLISHING_WORKERS`].
    Publishing,
}

/// One that publishes and one that can deliver meanwhile.
pub(super) const PUBLISHING_WORKERS: usize = 2;

/// Clients of one topic, which has events at a steady pace, one or several at once.
#[derive(Clone, Debug)]
pub(super) struct FanOut {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) measures: Measures,
    pub(super) is_quick: bool,
    pub(super) clients: usize,
    /// How many of the clients read nothing once they are connected.
    pub(super) stalled: usize,
    /// Requests to publish per second; where publishing is measured, fewer, since each waits for the
    /// deliveries of the one before.
    pub(super) per_second: u64,
    /// Events in each.
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) history: usize,
    pub(super) warm_up: Schedule,
    /// Slices of time that are measured in a round. Where there are several, the servers of a group are
    /// up side by side and take turns.
    pub(super) slices: usize,
    /// How long a slice is, for a server that keeps up.
    pub(super) seconds: f64,
    /// Requests to publish while system calls are counted.
    pub(super) traced: Option<u64>,
}

/// Buffers towards clients that are stalled: a small one of theirs, and segments as small as on real
/// networks, which keep the server's small. With the usual ones of loopback the system alone would take
/// megabytes for a client that reads nothing.
const STALLED: Buffers = Buffers {
    receive: 4_096,
    segment: 1_400,
};

/// With more subscribers than this, Fanfare leaves the waking to another thread than the publisher's.
const WAKES_INLINE: usize = 1_024;

impl FanOut {
    pub(super) fn schedule(&self, seconds: f64) -> Schedule {
        Schedule::new(self.per_second, seconds, self.events as u64, self.bytes)
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = Subscription> + '_ {
        (0..self.clients).map(move |client| {
            let reads = client >= self.stalled;
            Subscription {
                reads,
                may_skip: !reads,
                buffers: (!reads).then_some(STALLED),
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
        let mut description = self.description.clone();
        if self.slices > 1 {
            description.push_str(&format!(
                " A framework's servers and the floor are up at the same time and take turns, {} \
                 slices of {} publishes in each round.",
                self.slices,
                self.schedule(self.seconds).ticks
            ));
            description.push_str(
                " A ratio is that of slices within a turn of all, and of a round's ratios the median.",
            );
        }
        description
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([
            ("clients", self.clients),
            ("events at once", self.events),
            ("bytes", self.bytes),
        ]);
        match self.measures {
            Measures::Deliveries => {
                parameters.insert("publishes per second".to_owned(), self.per_second);
            }
            Measures::Publishing => {
                parameters.insert("workers".to_owned(), PUBLISHING_WORKERS as u64);
            }
        }
        parameters
    }

    fn main_figure(&self) -> Figure {
        match self.measures {
            Measures::Deliveries => Figure::CpuPerDelivery,
            Measures::Publishing => Figure::PublishP50,
        }
    }

    fn seconds(&self) -> f64 {
        let measured = match self.measures {
            Measures::Deliveries => side_by_side::seconds_to_lead_in() + self.seconds,
            // Until all have it.
            Measures::Publishing => self.seconds * (1.0 + self.clients as f64 * 5e-4),
        };
        seconds_to_connect(self.clients) + self.warm_up.seconds() + self.slices as f64 * measured
    }

    fn is_quick(&self) -> bool {
        self.is_quick
    }

    fn rules_out(&self, contender: &Contender) -> Option<&'static str> {
        let can_publish = self.events == 1 || contender.publishes_lines;
        (!can_publish).then_some("it publishes one event per request")
    }

    /// With very many clients Fanfare is also measured without leaving the waking to another thread.
    fn servers(&self, all: &[Contender]) -> Vec<Contender> {
        let hands_off = self.measures == Measures::Publishing && self.clients > WAKES_INLINE;
        let takes_part = |one: &&Contender| self.rules_out(one).is_none();
        let mut servers = Vec::new();
        for one in all.iter().filter(takes_part) {
            servers.push(one.clone());
            if hands_off && one.server.name == "axum" && one.server.kind == "fanfare" {
                servers.push(
                    one.clone()
                        .under_another_name("fanfare-inline", "fanfare-inline"),
                );
            }
        }
        servers
    }

    fn groups(&self, all: &[Contender]) -> Vec<Vec<Contender>> {
        let servers = self.servers(all);
        if self.slices > 1 {
            side_by_side::groups(&servers)
        } else {
            servers.into_iter().map(|one| vec![one]).collect()
        }
    }

    fn connections(&self) -> u64 {
        let servers = if self.slices > 1 {
            side_by_side::LARGEST_GROUP
        } else {
            1
        };
        (self.clients * servers) as u64
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let mut side = Side::start(self, round, contender)?;
        iter::repeat_with(|| side.slice())
            .take(self.slices)
            .collect::<Result<(), _>>()?;
        side.sample(round)
    }

    fn round_of_group(&self, round: Round, group: &[Contender]) -> Vec<Result<Sample, Failure>> {
        match group {
            [alone] => vec![self.round(round, alone)],
            _ => side_by_side::round(self, round, group),
        }
    }
}
