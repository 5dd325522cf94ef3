//! From what was counted to figures.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::figures::Figure;
use crate::load::{Failure, Load, Tally};
use crate::proc::Cpu;
use crate::server::Process;

/// What one round of one server has measured.
pub type Sample = BTreeMap<Figure, f64>;

/// A stretch of time in which a server did something that is measured.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// What the server used.
    pub cpu: Cpu,
    /// What the load counted.
    pub tally: Tally,
    /// How long it took.
    pub seconds: f64,
    /// The share of that in which the load was busy, in percent.
    pub busy: f64,
}

impl Stretch {
    /// Measures what `work` does. Before and after it everything has settled.
    ///
    /// # Errors
    ///
    /// Those of `work`, or the server has ended.
    pub fn of(
        process: &Process,
        load: &mut Load,
        work: impl FnOnce(&mut Load) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        load.measure()?;
        let before = process.cpu()?;
        work(load)?;
        let (seconds, busy) = (load.tally().seconds(), load.tally().busy());
        Ok(Self {
            cpu: process.cpu()?.since(&before),
            tally: load.tally().clone(),
            seconds,
            busy,
        })
    }

    /// Adds another stretch of the same server.
    ///
    /// # Errors
    ///
    /// None that is to be expected.
    pub fn add(&mut self, other: &Self) -> Result<(), Failure> {
        let busy = self.busy * self.seconds + other.busy * other.seconds;
        self.seconds += other.seconds;
        self.busy = busy / self.seconds;
        self.cpu = self.cpu.and(&other.cpu);
        self.tally.add(&other.tally)
    }

    /// Processor time per delivery, in microseconds.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.cpu.total.as_secs_f64() * 1e6 / self.tally.received as f64
    }

    /// What a delivery costs, how long it takes, and how many bytes it has.
    #[must_use]
    pub fn deliveries(&self) -> Sample {
        let deliveries = self.tally.received as f64;
        let seconds = self.cpu.total.as_secs_f64();
        let mut sample = Sample::from([
            (Figure::CpuPerDelivery, self.cost()),
            (Figure::DeliveriesPerCpuSecond, deliveries / seconds),
            (Figure::BytesPerEvent, self.tally.bytes as f64 / deliveries),
            (Figure::LoadBusy, self.busy),
        ]);
        if let Some(user) = self.cpu.user_share() {
            sample.insert(Figure::UserPerDelivery, self.cost() * user);
            sample.insert(Figure::SystemPerDelivery, self.cost() * (1.0 - user));
        }
        sample.extend(self.latency());
        sample
    }

    /// The latency alone. All deliveries of a publish have in common what delayed it, so the 99th
    /// percentile takes many publishes, not only many deliveries.
    #[must_use]
    pub fn latency(&self) -> Sample {
        let latency = &self.tally.latency;
        let mut sample = Sample::from([
            (Figure::LatencyP50, quantile(latency, 0.5)),
            (Figure::LatencyP90, quantile(latency, 0.9)),
            (Figure::LatencyMax, latency.max() as f64 / 1e3),
        ]);
        if self.tally.publishes >= ENOUGH {
            sample.insert(Figure::LatencyP99, quantile(latency, 0.99));
        }
        sample
    }

    /// What publishing took, if the server says so.
    #[must_use]
    pub fn publishing(&self) -> Sample {
        let figures = (Figure::PublishP50, Figure::PublishP99);
        median_and_p99(&self.tally.publish, figures)
    }

    /// When the last of all clients had what was published, where that was waited for.
    #[must_use]
    pub fn last(&self) -> Sample {
        median_and_p99(&self.tally.last, (Figure::LastP50, Figure::LastP99))
    }

    /// The median of what publishing took, in microseconds, if the server says so.
    #[must_use]
    pub fn publish_median(&self) -> Option<f64> {
        let publish = &self.tally.publish;
        (!publish.is_empty()).then(|| quantile(publish, 0.5))
    }
}

/// So many publishes must have been timed for a 99th percentile: of fewer it would be the longest.
pub const ENOUGH: u64 = 100;

/// Of a value for each publish.
fn median_and_p99(nanos: &Histogram<u64>, (median, p99): (Figure, Figure)) -> Sample {
    let mut sample = Sample::new();
    if !nanos.is_empty() {
        sample.insert(median, quantile(nanos, 0.5));
    }
    if nanos.len() >= ENOUGH {
        sample.insert(p99, quantile(nanos, 0.99));
    }
    sample
}

/// Of nanoseconds, in microseconds.
fn quantile(nanos: &Histogram<u64>, quantile: f64) -> f64 {
    nanos.value_at_quantile(quantile) as f64 / 1e3
}
