//! The scenarios, one file each, and what they have in common.

mod burst;
mod churn;
mod fan_out;
mod idle;
mod publish;
mod resume_storm;
mod side_by_side;
mod slow_tenth;
mod steady;
mod topics;
mod transports;

use std::collections::BTreeMap;

use self::fan_out::PUBLISHING_WORKERS;
use crate::figures::{Figure, Pinned, Skipped};
use crate::load::Failure;
use crate::measure::Sample;
use crate::server::{Contender, Process, Settings};

/// The same work for several servers.
pub trait Scenario {
    /// What selects it.
    fn name(&self) -> String;

    /// What is done, in a sentence or two for readers of the report.
    fn description(&self) -> String;

    /// The numbers that define it.
    fn parameters(&self) -> BTreeMap<String, u64>;

    /// What it is about: what Fanfare and the native way are compared by.
    fn main_figure(&self) -> Figure {
        Figure::CpuPerDelivery
    }

    /// About how long a round takes for one server, in seconds.
    fn seconds(&self) -> f64;

    /// Whether the short run has it.
    fn is_quick(&self) -> bool {
        true
    }

    /// Why a server cannot take part, if it cannot.
    fn rules_out(&self, _: &Contender) -> Option<&'static str> {
        None
    }

    /// Who takes part.
    fn servers(&self, all: &[Contender]) -> Vec<Contender> {
        let takes_part = |one: &&Contender| self.rules_out(one).is_none();
        all.iter().filter(takes_part).cloned().collect()
    }

    /// Who is measured side by side. By default everybody is alone.
    fn groups(&self, all: &[Contender]) -> Vec<Vec<Contender>> {
        let alone = |one| vec![one];
        self.servers(all).into_iter().map(alone).collect()
    }

    /// How many connections the load has at once, at most.
    fn connections(&self) -> u64 {
        self.parameters().get("clients").copied().unwrap_or(0)
    }

    /// One round of one server, in a process of its own.
    ///
    /// # Errors
    ///
    /// The server has broken its promise; then there are no figures.
    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure>;

    /// One round of one of the [groups](Self::groups): what comes of each server in it.
    fn round_of_group(&self, round: Round, group: &[Contender]) -> Vec<Result<Sample, Failure>> {
        group.iter().map(|one| self.round(round, one)).collect()
    }
}

/// The circumstances of a round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Which it is, from 1.
    pub number: usize,
    /// Where server and load run.
    pub pinned: Option<Pinned>,
    /// Whether system calls are to be counted in it as well, once all else is measured.
    pub traces: bool,
}

impl Round {
    /// Starts a server of one worker, with a processor of its own.
    fn start(self, contender: &Contender, history: usize) -> Result<Process, Failure> {
        Process::start(contender, self.settings(history))
    }

    /// Starts a server of several workers, which may run where the load does, too.
    fn start_sharing(self, contender: &Contender, history: usize) -> Result<Process, Failure> {
        let settings = Settings {
            workers: PUBLISHING_WORKERS,
            shares: true,
            ..self.settings(history)
        };
        Process::start(contender, settings)
    }

    /// Those of a server of one worker.
    fn settings(self, history: usize) -> Settings {
        Settings {
            workers: 1,
            history,
            channel: None,
            pinned: self.pinned,
            shares: false,
        }
    }
}

/// About how long it takes to start a server and to connect so many clients, in seconds.
fn seconds_to_connect(clients: usize) -> f64 {
    0.1 + clients as f64 * 2e-4
}

/// About how long all of it takes, in seconds.
#[must_use]
pub fn seconds(scenarios: &[Box<dyn Scenario>], contenders: &[Contender], rounds: usize) -> f64 {
    let of_a_round = scenarios.iter().map(|scenario| {
        let servers: usize = scenario.groups(contenders).iter().map(Vec::len).sum();
        servers as f64 * scenario.seconds()
    });
    of_a_round.sum::<f64>() * rounds as f64
}

/// How large the scenarios are.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Whether it is the short run.
    pub quick: bool,
    /// So many clients, whatever a scenario has.
    pub clients: Option<usize>,
}

impl Scale {
    fn clients(self, full: usize, quick: usize) -> usize {
        self.clients.unwrap_or(self.pick(full, quick))
    }

    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick {
            quick
        } else {
            full
        }
    }
}

/// All scenarios, in the order of the report.
#[must_use]
pub fn all(scale: Scale) -> Vec<Box<dyn Scenario>> {
    let mut all: Vec<Box<dyn Scenario>> = vec![Box::new(steady::scenario(scale))];
    for events in [20, 100] {
        all.push(Box::new(burst::scenario(scale, events)));
    }
    for idle in idle::scenarios(scale) {
        all.push(Box::new(idle));
    }
    all.push(Box::new(resume_storm::ResumeStorm::new(scale)));
    all.push(Box::new(slow_tenth::SlowTenth::new(scale)));
    all.push(Box::new(churn::Churn::new(scale)));
    for publish in publish::scenarios(scale) {
        all.push(Box::new(publish));
    }
    all.push(Box::new(topics::Topics::new(scale)));
    all.push(Box::new(transports::Transports::new(scale)));
    all
}

/// Who cannot take part in what, and why.
#[must_use]
pub fn left_out(scenarios: &[Box<dyn Scenario>], contenders: &[Contender]) -> Vec<Skipped> {
    let pairs = scenarios.iter().flat_map(|scenario| {
        contenders
            .iter()
            .map(move |contender| (scenario, contender))
    });
    let left_out = pairs.filter_map(|(scenario, contender)| {
        Some(Skipped {
            what: format!("{} in {}", contender.server.name, scenario.name()),
            why: scenario.rules_out(contender)?.to_owned(),
        })
    });
    left_out.collect()
}

/// Leaves out scenarios in which no server takes part.
#[must_use]
pub fn with_servers(
    scenarios: Vec<Box<dyn Scenario>>,
    contenders: &[Contender],
    skipped: &mut Vec<Skipped>,
) -> Vec<Box<dyn Scenario>> {
    let (some, none): (Vec<_>, Vec<_>) = scenarios
        .into_iter()
        .partition(|scenario| !scenario.servers(contenders).is_empty());
    skipped.extend(none.into_iter().map(|scenario| Skipped {
        what: scenario.name(),
        why: "no server that was chosen takes part in it".to_owned(),
    }));
    some
}

/// Parameters by name.
fn parameters<const N: usize>(list: [(&str, usize); N]) -> BTreeMap<String, u64> {
    list.into_iter()
        .map(|(name, value)| (name.to_owned(), value as u64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Server;

    #[test]
    fn a_scenario_without_servers_is_named() {
        let hyper = Contender {
            server: Server {
                name: "hyper".to_owned(),
                kind: "fanfare".to_owned(),
            },
            program: "unused".into(),
            kind: "fanfare".to_owned(),
            publishes_lines: true,
            has_usual_ids: true,
        };
        let scale = Scale {
            quick: true,
            clients: None,
        };
        let mut skipped = Vec::new();
        let number = all(scale).len();
        let left = with_servers(all(scale), &[hyper], &mut skipped);
        assert_eq!(left.len(), number - 1);
        // axum serves it.
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].what, "transports");
    }
}
