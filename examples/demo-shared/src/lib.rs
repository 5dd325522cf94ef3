//! The demo, all but the framework: its page, its flags, its metrics and its answers.
//!
//! A framework's demo parses requests and writes responses; what it answers with is made here,
//! so that the demos differ only in what the frameworks differ in.

#![forbid(unsafe_code)]

pub mod access;
pub mod answers;
mod echo;
pub mod flags;
mod history;
pub mod metrics;
mod names;
pub mod path;
mod prometheus;
mod query;
mod reply;
#[cfg(feature = "tls")]
pub mod tls;

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use fanfare::broadcaster::KeyFull;
use fanfare::{Broadcaster, KeepAlive, LagPolicy, PublishError, WhenRefused};
use futures_lite::future::block_on;

pub use access::{Credentials, Presented};
pub use answers::{Demo, NotPublished};
pub use clap::Parser;
pub use flags::Flags;
pub use prometheus::METRICS_TYPE;
pub use reply::{check_length, Reply};

/// `GET /`, the dashboard: one page without outside resources.
pub const PAGE: &str = concat!(include_str!("page.html"), include_str!("token.html"));

/// `GET /debug`: what the broadcaster holds, looked at again and again. The same kind of page.
pub const DEBUG_PAGE: &str = concat!(include_str!("debug.html"), include_str!("token.html"));

/// The most bytes that one published event's data may have.
pub const MAX_DATA: usize = 1 << 20;

/// `Access-Control-Allow-Methods`: what scripts of other origins may do.
pub const ALLOWED_METHODS: &str = "GET, POST, DELETE";

/// `Access-Control-Allow-Headers`: what their requests may carry.
pub const ALLOWED_HEADERS: &str = "authorization, cache-control, content-type, last-event-id";

/// Why a demo that could speak HTTPS does not; for [`Flags::refuse`].
pub const BUILT_WITHOUT_TLS: &str =
    "this demo was built without TLS: build it with `--features tls`";

/// The broadcaster that the flags ask for.
///
/// # Errors
///
/// If its history cannot be kept where they say.
pub(crate) fn broadcaster(flags: &Flags) -> std::io::Result<Broadcaster> {
    let mut builder = Broadcaster::builder()
        .history(history::retention(flags))
        .keep_alive(KeepAlive::every(flags.keep_alive()))
        .retry(flags.retry())
        .on_lag(match flags.lag() {
            flags::Lag::Resume => LagPolicy::Resume,
            flags::Lag::Latest => LagPolicy::SkipToLatest,
            flags::Lag::Disconnect => LagPolicy::Disconnect,
        })
        .max_subscribers(flags.max_clients())
        .max_per_key(flags.max_per_client().unwrap_or(usize::MAX))
        .when_key_full(match flags.when_key_full() {
            flags::KeyFull::Refuse => KeyFull::Refuse,
            flags::KeyFull::EndOldest => KeyFull::EndOldest,
        })
        .when_refused(match flags.when_full() {
            flags::WhenFull::Status => WhenRefused::Status,
            flags::WhenFull::Soft => WhenRefused::Soft,
        })
        // Every line of the data grows by a field's name, and a line may be empty.
        .max_event_bytes(8 * MAX_DATA)
        // Strangers name topics here.
        .max_topics(1_000);
    if let Some(rate) = flags.connect_rate() {
        builder = builder.max_rate_per_key(rate);
    }
    if let Some(lifetime) = flags.max_lifetime() {
        builder = builder.max_lifetime(lifetime);
    }
    Ok(history::behind(builder, flags)?.build())
}

/// Publishes this machine's metrics to the topic `metrics` from a thread of its own, which needs
/// no executor, until the broadcaster is closed.
///
/// # Errors
///
/// If the system refuses the thread.
pub(crate) fn publish_metrics(demo: &Demo, every: Duration) -> std::io::Result<()> {
    let demo = demo.clone();
    let publish = move || {
        let mut sampler = metrics::Sampler::new();
        loop {
            thread::sleep(every);
            let data = match serde_json::to_string(&sampler.sample()) {
                Ok(data) => data,
                Err(error) => {
                    tracing::error!(%error, "the metrics cannot be written");
                    continue;
                }
            };
            match block_on(demo.announce_and_publish("metrics", None, data)) {
                Ok(_) => {}
                Err(NotPublished::Publish(PublishError::Closed)) => return,
                Err(error) => tracing::warn!(%error, "the metrics were not published"),
            }
        }
    };
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(publish)?;
    Ok(())
}

/// Logs to standard error, without colours where it is not a terminal. What the framework has to say is
/// logged where [each request](logs_requests) is.
pub fn log() {
    use std::io::IsTerminal as _;
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if logs_requests() {
        // Takes what comes by way of the crate `log` as well.
        log.init();
    } else if let Err(error) = tracing::subscriber::set_global_default(log.finish()) {
        eprintln!("nothing will be logged: {error}");
    }
}

/// Whether each request is to be logged, in the framework's own way: if the environment has
/// `DEMO_LOG_REQUESTS`.
#[must_use]
pub fn logs_requests() -> bool {
    std::env::var_os("DEMO_LOG_REQUESTS").is_some()
}

/// Logs a request: for a demo whose framework has no log of its own. The address has no ticket in it any
/// more.
pub fn log_request(method: impl std::fmt::Display, target: impl std::fmt::Display) {
    if logs_requests() {
        tracing::info!("{method} {target}");
    }
}

/// Says on standard output where the demo listens, for people and for tests.
///
/// # Errors
///
/// If standard output is closed.
pub fn say_listening(address: SocketAddr) -> std::io::Result<()> {
    say_url("http", address)
}

/// As [`say_listening`], of a demo that speaks HTTPS.
///
/// # Errors
///
/// If standard output is closed.
pub fn say_listening_with_tls(address: SocketAddr) -> std::io::Result<()> {
    say_url("https", address)
}

fn say_url(scheme: &str, address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {scheme}://{address}")?;
    out.flush()
}
