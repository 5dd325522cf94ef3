//! [`METRICS`]: every name that is exported, its type, unit and labels. The names are an interface.

use metrics::Unit;

/// A metric that an [`Exporter`](crate::Exporter) sets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is counted in; for what the [`Unit`]s do not know, [`Unit::Count`].
    pub unit: Unit,
    /// The label that it has besides the exporter's own.
    pub label: Option<&'static str>,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// The type of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often a number was how large.
    Histogram,
}

impl Metric {
    const fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind,
            unit: Unit::Count,
            label: None,
            help,
        }
    }

    const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    const fn by(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }
}

/// Declares each metric as a constant, and all of them as [`METRICS`].
macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal, $help:literal $(, $set:ident($value:expr))*;)+) => {
        $(
            pub(crate) const $id: Metric =
                Metric::new(Kind::$kind, $name, $help)$(.$set($value))*;
        )+

        /// Everything that an [`Exporter`](crate::Exporter) exports.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    SUBSCRIBERS: Gauge "fanfare_subscribers",
        "Streams that are open.";
    OPENED: Counter "fanfare_streams_opened_total",
        "Streams that were opened.";
    ENDED: Counter "fanfare_streams_ended_total",
        "Streams that are over, by why.", by("reason");
    REFUSED: Counter "fanfare_streams_refused_total",
        "Streams that were refused, by why.", by("reason");
    PUBLISHED: Counter "fanfare_events_published_total",
        "Events published by this process.";
    DELIVERED: Counter "fanfare_events_delivered_total",
        "Events handed to subscribers, once for each of them.";
    DELIVERED_BYTES: Counter "fanfare_delivered_bytes_total",
        "The encoded size of the events handed to subscribers.", unit(Unit::Bytes);
    REPLAYED: Counter "fanfare_events_replayed_total",
        "Events handed to subscribers before they first reached the newest.";
    GAPS: Counter "fanfare_gaps_total",
        "Gap events sent, by why.", by("reason");
    LAG: Histogram "fanfare_lag",
        "How far behind streams were that had fallen behind, in places of the log.";
    KEEP_ALIVES: Counter "fanfare_keep_alives_total",
        "Signs of life sent to subscribers.";
    DRAIN_STREAMS: Gauge "fanfare_drain_streams",
        "Streams that were open when the drain began.";
    DRAIN_OPEN: Gauge "fanfare_drain_open",
        "Of the streams that were open when the drain began, those that still are.";
    TOPICS: Gauge "fanfare_topics",
        "Topics that are known here.";
    HISTORY_RECORDS: Gauge "fanfare_history_records",
        "Events held in memory, of all topics.";
    HISTORY_BYTES: Gauge "fanfare_history_bytes",
        "The encoded size of the events held in memory, of all topics.", unit(Unit::Bytes);
    BACKEND_READY: Gauge "fanfare_backend_ready",
        "1 if the backend answers, else 0.";
    BACKEND_READS: Counter "fanfare_backend_reads_total",
        "Pages read from the backend for streams that are older than the memory.";
    BACKEND_RECORDS: Counter "fanfare_backend_records_read_total",
        "Events in the pages read from the backend.";
    BACKEND_ERRORS: Counter "fanfare_backend_errors_total",
        "What the backend failed at, by the operation.", by("operation");
    BACKEND_LATENCY: Histogram "fanfare_backend_latency_seconds",
        "How long the backend took to do or to fail, by the operation.",
        unit(Unit::Seconds), by("operation");
}
