//! [`Prometheus`]: `GET /metrics`, what the broadcaster does as Prometheus reads it.

use std::fmt;
use std::io;

use fanfare::metrics::{Exporter, LAG_BUCKETS, LATENCY_BUCKETS};
use fanfare::Broadcaster;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// The page's `Content-Type`.
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process's recorder, and what feeds it.
pub(crate) struct Prometheus {
    exporter: Exporter,
    recorder: PrometheusHandle,
}

impl Prometheus {
    /// Installs the recorder: once in a process.
    pub(crate) fn install(hub: &Broadcaster) -> io::Result<Self> {
        let recorder = recorder().map_err(io::Error::other)?;
        Exporter::describe();
        Ok(Self {
            exporter: Exporter::new(hub),
            recorder,
        })
    }

    /// The page, as of now.
    pub(crate) fn page(&self) -> String {
        self.exporter.update();
        self.recorder.render()
    }
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let latency = Matcher::Full("fanfare_backend_latency_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("fanfare_lag".to_owned()), &LAG_BUCKETS)?
        .set_buckets_for_metric(latency, &LATENCY_BUCKETS)?
        .install_recorder()
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus")
            .field("exporter", &self.exporter)
            .finish_non_exhaustive()
    }
}
