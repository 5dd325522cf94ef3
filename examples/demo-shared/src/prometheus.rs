//! [`Prometheus`]: `GET /metrics`, what the broadcaster does as Prometheus reads it.

use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use fanfare::metrics::{Exporter, LAG_BUCKETS, LATENCY_BUCKETS};
use fanfare::Broadcaster;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// The page's `Content-Type`.
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often the recorder is brought up to now, whether or not somebody asks for the page. It keeps each
/// number of a histogram until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's recorder, and what feeds it.
pub(crate) struct Prometheus {
    exporter: Exporter,
    recorder: PrometheusHandle,
}

impl Prometheus {
    /// Installs the recorder: once in a process. A thread of its own keeps it up to now.
    pub(crate) fn install(hub: &Broadcaster) -> io::Result<Arc<Self>> {
        let recorder = recorder().map_err(io::Error::other)?;
        Exporter::describe();
        let prometheus = Arc::new(Self {
            exporter: Exporter::new(hub),
            recorder,
        });
        let weak = Arc::downgrade(&prometheus);
        thread::Builder::new()
            .name("upkeep".to_owned())
            .spawn(move || keep_up(&weak))?;
        Ok(prometheus)
    }

    /// The page, as of now.
    pub(crate) fn page(&self) -> String {
        self.exporter.update();
        self.recorder.render()
    }
}

/// Until there is no page any more.
fn keep_up(prometheus: &Weak<Prometheus>) {
    while let Some(prometheus) = prometheus.upgrade() {
        prometheus.exporter.update();
        prometheus.recorder.run_upkeep();
        drop(prometheus);
        thread::sleep(UPKEEP);
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
