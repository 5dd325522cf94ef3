//! What a [fanfare](https://docs.rs/fanfare) broadcaster does, on the facade of the crate
//! [`metrics`]: for Prometheus, and whatever else has a recorder.
//!
//! ```
//! use fanfare_core::{Broadcaster, Event};
//! use fanfare_metrics::{Exporter, LAG_BUCKETS, LATENCY_BUCKETS};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, when the application starts: the recorder before all else.
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Full("fanfare_lag".into()), &LAG_BUCKETS)?
//!     .set_buckets_for_metric(
//!         Matcher::Full("fanfare_backend_latency_seconds".into()),
//!         &LATENCY_BUCKETS,
//!     )?
//!     .install_recorder()?;
//! let hub = Broadcaster::new();
//! let exporter = Exporter::new(&hub).label("hub", "prices");
//! Exporter::describe();
//!
//! // Every few seconds, in a task or a thread.
//! exporter.update();
//! prometheus.run_upkeep();
//!
//! // Whenever Prometheus asks for `/metrics`.
//! hub.try_publish("prices", Event::data("1.07"))?;
//! exporter.update();
//! let page = prometheus.render();
//! assert!(page.contains("fanfare_events_published_total{hub=\"prices\"} 1"));
//! # Ok(())
//! # }
//! ```
//!
//! A broadcaster counts in plain atomics, whoever looks, and a delivery pays for no recorder.
//! [`Exporter::update`] takes what has been counted there.
//!
//! **Update at an interval, too**, and not only when somebody asks. The numbers of a histogram are handed
//! on one by one, and Prometheus' recorder keeps each until its next page or `run_upkeep`: if nobody asks
//! for a day, the first who does has to wait for a day's numbers, all of them in memory.
//!
//! # Names
//!
//! These are an interface: a release that changes one says so as it does of a function.
//!
//! | name | type | unit | label |
//! |---|---|---|---|
//! | `fanfare_subscribers` | gauge | streams | |
//! | `fanfare_streams_opened_total` | counter | streams | |
//! | `fanfare_streams_ended_total` | counter | streams | `reason`, an [`EndReason`] |
//! | `fanfare_streams_refused_total` | counter | streams | `reason`, a [`RefusedReason`] |
//! | `fanfare_events_published_total` | counter | events | |
//! | `fanfare_events_delivered_total` | counter | events | |
//! | `fanfare_delivered_bytes_total` | counter | bytes | |
//! | `fanfare_events_replayed_total` | counter | events | |
//! | `fanfare_gaps_total` | counter | gap events | `reason`, a [`GapReason`] |
//! | `fanfare_lag` | histogram | places in the log | |
//! | `fanfare_keep_alives_total` | counter | signs of life | |
//! | `fanfare_drain_streams` | gauge | streams | |
//! | `fanfare_drain_open` | gauge | streams | |
//! | `fanfare_topics` | gauge | topics | |
//! | `fanfare_history_records` | gauge | events | |
//! | `fanfare_history_bytes` | gauge | bytes | |
//! | `fanfare_backend_ready` | gauge | 0 or 1 | |
//! | `fanfare_backend_reads_total` | counter | pages | |
//! | `fanfare_backend_records_read_total` | counter | events | |
//! | `fanfare_backend_errors_total` | counter | errors | `operation`: `append`, `replay`, `tail` |
//! | `fanfare_backend_latency_seconds` | histogram | seconds | `operation`: `append`, `replay` |
//!
//! - [`METRICS`] is the same as data, with a sentence about each. Fields of [`Stats`] say more.
//! - A reason's label is its [word](Reason::as_str). Reasons that never occurred are exported as 0, so
//!   that the first occurrence is a change.
//! - Those of the backend are exported only if there is one.
//! - **No topic and no key is a label.** Strangers may name them, and each label is a time series
//!   that is kept forever. [`Stats::topics`] has what is held of each.
//! - `fanfare_lag` and `fanfare_backend_latency_seconds` are rounded up to a power of four, which are
//!   [`LAG_BUCKETS`] and [`LATENCY_BUCKETS`]. Give these to your exporter, as above: that of Prometheus
//!   otherwise shows quantiles, which nobody can add up over processes.
//!
//! The repository has a dashboard for Grafana that shows each of them: `docs/grafana-dashboard.json`.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod table;

use std::sync::atomic::{AtomicU64, Ordering};

use fanfare_core::broadcaster::{BackendStats, Histogram, Reason, Stats, Tally};
use fanfare_core::Broadcaster;
use metrics::{Key, Label, Level, Metadata, Recorder, SharedString};

pub use self::table::{Kind, Metric, METRICS};

// For the links above.
#[cfg(doc)]
use fanfare_core::{broadcaster::EndReason, GapReason, RefusedReason};

/// The bounds of the buckets of `fanfare_lag`, in places of the log.
pub const LAG_BUCKETS: [f64; Histogram::BUCKETS - 1] = [
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];

/// The bounds of the buckets of `fanfare_backend_latency_seconds`, in seconds.
pub const LATENCY_BUCKETS: [f64; Histogram::BUCKETS - 1] = [
    0.000_004, 0.000_016, 0.000_064, 0.000_256, 0.001_024, 0.004_096, 0.016_384, 0.065_536,
    0.262_144, 1.048_576, 4.194_304,
];

/// Hands what a broadcaster has counted to the recorder of the [`metrics`] facade.
///
/// It has a handle of the broadcaster, which so is not closed by the drop of all others.
#[derive(Debug)]
#[must_use = "an exporter does nothing until it is updated"]
pub struct Exporter {
    hub: Broadcaster,
    labels: Vec<Label>,
    lag: Recorded,
    append_times: Recorded,
    replay_times: Recorded,
}

/// How much of a histogram has been recorded, by bucket.
type Recorded = [AtomicU64; Histogram::BUCKETS];

impl Exporter {
    /// An exporter of all that this broadcaster does, from its begin.
    ///
    /// One for each broadcaster: two for the same one record its histograms twice. If there are
    /// several broadcasters, [label](Self::label) them.
    pub fn new(hub: &Broadcaster) -> Self {
        let none = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            hub: hub.clone(),
            labels: Vec::new(),
            lag: none(),
            append_times: none(),
            replay_times: none(),
        }
    }

    /// Adds a label to every metric: which broadcaster it is, say.
    pub fn label(mut self, name: impl Into<SharedString>, value: impl Into<SharedString>) -> Self {
        self.labels.push(Label::new(name, value));
        self
    }

    /// Tells the recorder what each metric is: once, after the recorder is installed.
    pub fn describe() {
        metrics::with_recorder(|recorder| {
            for metric in METRICS {
                let describe = match metric.kind {
                    Kind::Counter => Recorder::describe_counter,
                    Kind::Gauge => Recorder::describe_gauge,
                    Kind::Histogram => Recorder::describe_histogram,
                };
                let unit = Some(metric.unit);
                describe(recorder, metric.name.into(), unit, metric.help.into());
            }
        });
    }

    /// Brings the recorder up to now: [at an interval](crate) of some seconds, and just before a page for
    /// Prometheus is rendered.
    ///
    /// It costs some microseconds, a walk over the topics, and one call of the recorder for each
    /// number that has come to a histogram since: as many as streams that lagged were read and as
    /// the backend was asked.
    /// What a histogram has recorded while no recorder was installed is lost.
    pub fn update(&self) {
        let stats = self.hub.stats();
        metrics::with_recorder(|recorder| {
            let target = Target {
                recorder,
                labels: &self.labels,
            };
            self.update_broadcaster(&target, &stats);
            if let Some(backend) = &stats.backend {
                self.update_backend(&target, backend);
            }
        });
    }

    fn update_broadcaster(&self, target: &Target<'_>, stats: &Stats) {
        target.set(&table::SUBSCRIBERS, stats.subscribers);
        target.count(&table::OPENED, stats.opened);
        target.count_by_reason(&table::ENDED, &stats.ended);
        target.count_by_reason(&table::REFUSED, &stats.refused);
        target.count(&table::PUBLISHED, stats.published);
        target.count(&table::DELIVERED, stats.delivered);
        target.count(&table::DELIVERED_BYTES, stats.delivered_bytes);
        target.count(&table::REPLAYED, stats.replayed);
        target.count_by_reason(&table::GAPS, &stats.gaps);
        target.record(&table::LAG, None, &stats.lag, &self.lag, 1.0);
        target.count(&table::KEEP_ALIVES, stats.keep_alives);
        let drain = stats.drain.as_ref();
        target.set(
            &table::DRAIN_STREAMS,
            drain.map_or(0, |drain| drain.streams),
        );
        target.set(&table::DRAIN_OPEN, drain.map_or(0, |drain| drain.open));
        let topics = || stats.topics.iter().map(|(_, topic)| topic);
        target.set(&table::TOPICS, stats.topics.len());
        target.set(&table::HISTORY_RECORDS, topics().map(|t| t.records).sum());
        target.set(&table::HISTORY_BYTES, topics().map(|t| t.bytes).sum());
    }

    fn update_backend(&self, target: &Target<'_>, stats: &BackendStats) {
        target.set(&table::BACKEND_READY, usize::from(stats.is_ready));
        target.count(&table::BACKEND_READS, stats.reads);
        target.count(&table::BACKEND_RECORDS, stats.records_read);
        for (operation, errors) in [
            ("append", stats.append_failures),
            ("replay", stats.failures),
            ("tail", stats.interruptions),
        ] {
            target.count_of(&table::BACKEND_ERRORS, Some(operation), errors);
        }
        for (operation, times, recorded) in [
            ("append", &stats.append_times, &self.append_times),
            ("replay", &stats.read_times, &self.replay_times),
        ] {
            // From microseconds to seconds.
            let (metric, label) = (&table::BACKEND_LATENCY, Some(operation));
            target.record(metric, label, times, recorded, 1e6);
        }
    }
}

/// Where it all goes.
struct Target<'a> {
    recorder: &'a dyn Recorder,
    labels: &'a [Label],
}

const METADATA: Metadata<'static> = Metadata::new("fanfare", Level::INFO, Some(module_path!()));

// Beyond 2^53 a number is not exact any more, and nobody minds.
#[allow(clippy::cast_precision_loss)]
impl Target<'_> {
    fn key(&self, metric: &Metric, label: Option<&'static str>) -> Key {
        let own = metric.label.zip(label);
        let own = own.map(|(name, value)| Label::from_static_parts(name, value));
        let labels = self.labels.iter().cloned().chain(own);
        Key::from_parts(metric.name, labels.collect::<Vec<_>>())
    }

    fn set(&self, metric: &Metric, value: usize) {
        let gauge = self
            .recorder
            .register_gauge(&self.key(metric, None), &METADATA);
        gauge.set(value as f64);
    }

    fn count(&self, metric: &Metric, total: u64) {
        self.count_of(metric, None, total);
    }

    fn count_by_reason<R: Reason>(&self, metric: &Metric, tally: &Tally<R>) {
        for (reason, total) in tally.iter() {
            self.count_of(metric, Some(reason.as_str()), total);
        }
    }

    fn count_of(&self, metric: &Metric, label: Option<&'static str>, total: u64) {
        let key = self.key(metric, label);
        self.recorder
            .register_counter(&key, &METADATA)
            .absolute(total);
    }

    /// Records what has come since; of each number the bound of its bucket, divided by `unit`.
    fn record(
        &self,
        metric: &Metric,
        label: Option<&'static str>,
        histogram: &Histogram,
        recorded: &Recorded,
        unit: f64,
    ) {
        let key = self.key(metric, label);
        let target = self.recorder.register_histogram(&key, &METADATA);
        for ((bound, count), recorded) in histogram.buckets().zip(recorded) {
            // The larger of the two, since another update may be on its way with newer counts.
            let before = recorded.fetch_max(count, Ordering::Relaxed);
            let new = count.saturating_sub(before);
            let value = bound.unwrap_or(BEYOND) as f64 / unit;
            target.record_many(value, usize::try_from(new).unwrap_or(usize::MAX));
        }
    }
}

/// What stands for a number beyond the last bound: the bound that would come next.
const BEYOND: u64 = 1 << 24;
