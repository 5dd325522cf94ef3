//! [`Report`]: what a run has measured. The terminal's table, the page, the CSV and the comparison
//! with an older run are views of it; as JSON it is `target/bench/report.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that one run of the harness has measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The format of this file; raised when a figure changes its meaning.
    pub format: u32,
    /// When the run began: RFC 3339, UTC.
    pub began: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The commit that was measured, if it is known.
    pub commit: Option<String>,
    /// Whether it was the short run.
    pub quick: bool,
    /// What it ran on.
    pub machine: Machine,
    /// Versions of what was measured: of frameworks, peers and the compiler.
    pub versions: BTreeMap<String, String>,
    /// One for each scenario, in the order in which they ran.
    pub scenarios: Vec<Scenario>,
    /// What was not measured, and why: a peer that is not installed, say.
    pub skipped: Vec<Skipped>,
}

/// What a run was made on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many processors there are.
    pub processors: usize,
    /// Memory, in bytes.
    pub memory: u64,
    /// The kernel.
    pub kernel: String,
    /// Where the server ran and where the load; `None` where they were not kept apart.
    pub pinned: Option<Pinned>,
}

/// The processors that server and load were kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The server's.
    pub server: usize,
    /// The load's.
    pub load: usize,
    /// Whether the two are threads of one core, so that either slows the other.
    #[serde(default)]
    pub share_a_core: bool,
}

/// One scenario: the same work for several servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// What `--scenarios` selects it by: `steady`, `burst-20`, `idle`, ...
    pub name: String,
    /// What was done, in a sentence for readers of the report.
    pub description: String,
    /// The numbers that define it: `clients`, `rate`, `bytes`, ...
    pub parameters: BTreeMap<String, u64>,
    /// The figure that it is about, which [`Figure::RatioToNative`] compares; older files do not say.
    #[serde(default)]
    pub main_figure: Option<Figure>,
    /// One for each server, in the order of the report.
    pub rows: Vec<Row>,
}

/// One server in one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who served.
    pub server: Server,
    /// Each figure that was taken, by [its name](Figure).
    pub figures: BTreeMap<Figure, Spread>,
    /// Rounds that failed: what they lost or doubled, in words. A row with failures has no figures
    /// that mean anything.
    pub failures: Vec<String>,
}

/// A server under test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Server {
    /// `axum`, `hyper`, ..., `floor`, `nchan`, `better-sse`.
    pub name: String,
    /// `fanfare`, `native`, `floor`, `peer`, or a transport: `sse`, `websocket`, `long-poll`, `poll`.
    /// `fanfare-inline` wakes inline. In the place of `native`, `control` is Fanfare once more, and `bare` the
    /// framework by itself.
    pub kind: String,
}

impl Server {
    /// Whether it is this project's: what it does wrong is a failure of the run, and what others do
    /// is a finding.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(&*self.kind, "native" | "peer" | "websocket")
    }

    /// Whether it is Fanfare in a framework, to be compared with the framework's native way.
    #[must_use]
    pub fn is_fanfare(&self) -> bool {
        matches!(&*self.kind, "fanfare" | "fanfare-inline")
    }

    /// Whether it is what Fanfare in a framework is compared with.
    #[must_use]
    pub fn is_base(&self) -> bool {
        matches!(&*self.kind, "native" | "control" | "bare")
    }

    /// Whether it is the bare loop.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.kind == "floor"
    }
}

/// What can be measured. Less is better unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Processor time of the server per delivery, user and system, in microseconds.
    CpuPerDelivery,
    /// The user part of it.
    UserPerDelivery,
    /// The system part of it.
    SystemPerDelivery,
    /// [`CpuPerDelivery`](Self::CpuPerDelivery) as a multiple of the floor's in the same round; where
    /// servers take turns within a round, the median of its turns.
    RatioToFloor,
    /// The scenario's main figure as a multiple of that of the framework's
    /// native way in the same round; where the two take turns within a round, the median of its turns.
    RatioToNative,
    /// Deliveries per second of the server's processor time. More is better.
    DeliveriesPerCpuSecond,
    /// From the time an event was due until the load has read it, in microseconds: the median.
    LatencyP50,
    /// The 90th percentile.
    LatencyP90,
    /// The 99th percentile.
    LatencyP99,
    /// The longest.
    LatencyMax,
    /// The 99th percentile of the latency to those who read, without those who do not.
    LatencyP99Without,
    /// [`LatencyP99`](Self::LatencyP99) with clients that do not read, as a multiple of that
    /// without them, at the same time.
    RatioToWithout,
    /// Bytes between server and load per delivery, both ways; the request and the headers that open a
    /// stream apart.
    BytesPerEvent,
    /// The server's resident memory per connection, above that without connections, in bytes.
    MemoryPerConnection,
    /// The server's largest resident memory, in bytes.
    PeakMemory,
    /// What it has resident more than a server without them for each client that does not read, in
    /// bytes.
    MemoryPerStalled,
    /// System calls per delivery.
    SyscallsPerDelivery,
    /// Until the last client had caught up, in milliseconds.
    CatchUp,
    /// Connections opened, streamed to and closed, per second. More is better.
    ConnectionsPerSecond,
    /// Processor time of the server per connection opened and closed, in microseconds.
    CpuPerConnection,
    /// What one publish takes, seen by the publisher, in microseconds: the median.
    PublishP50,
    /// The 99th percentile.
    PublishP99,
    /// From a publish until the last of all clients has it, in microseconds: the median.
    LastP50,
    /// The 99th percentile.
    LastP99,
    /// Requests per event and client.
    RequestsPerEvent,
    /// Gap events that clients were sent.
    Gaps,
    /// Events that those were told are gone who had not read for a while.
    Skipped,
    /// Clients that had not read for a while, had missed something, and were not told.
    NotTold,
    /// Clients that had not read for a while and were disconnected.
    Disconnected,
    /// The share of the time in which the load had something to do, in percent. Near 100 the times
    /// measured are the load's, not the server's.
    LoadBusy,
}

/// Above this share of the time, in percent, what is measured may be the load.
pub const BUSY: f64 = 90.0;

/// The rounds of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many rounds there were.
    pub rounds: usize,
}

/// What was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// A server or a scenario.
    pub what: String,
    /// Why, in words.
    pub why: String,
}

impl Spread {
    /// Of rounds in any order; `None` if there were none.
    #[must_use]
    pub fn of(rounds: &[f64]) -> Option<Self> {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = sorted[middle];
        let median = if sorted.len() % 2 == 1 {
            upper
        } else {
            f64::midpoint(sorted[middle - 1], upper)
        };
        Some(Self {
            median,
            min,
            max,
            rounds: sorted.len(),
        })
    }
}

impl Report {
    /// The rows that failed, and the scenarios they are in.
    pub fn failed(&self) -> impl Iterator<Item = (&Scenario, &Row)> {
        self.scenarios.iter().flat_map(|scenario| {
            let failed = |row: &&Row| !row.failures.is_empty();
            let rows = scenario.rows.iter().filter(failed);
            rows.map(move |row| (scenario, row))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let median = |rounds: &[f64]| Spread::of(rounds).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
