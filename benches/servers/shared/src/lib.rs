//! The servers under test, all but the framework: flags, the publish body, versions, and what the
//! native ways have in common. The interface they serve stands in `benches/README.md`.

#![forbid(unsafe_code)]

mod flags;
pub mod native;
mod versions;

use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::str::Utf8Error;
use std::task::Waker;
use std::time::{Duration, Instant};

pub use clap::{Parser, ValueEnum};
use fanfare::broadcaster::Builder;
use fanfare::history::Retention;
use fanfare::timer::{ThreadTimer, Timer, Unscheduled};
use fanfare::{Broadcaster, Event, Topic, Topics};

pub use flags::{Flags, Settings};
pub use versions::about;

/// The kinds of most servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Fanfare's integration
    Fanfare,
    /// What users of the framework write without it
    Native,
}

/// The silence after which every kind sends a sign of life: Fanfare's default and axum's.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A broadcaster with every default, but for the history that the flags ask for.
#[must_use]
pub fn broadcaster(history: usize) -> Broadcaster {
    builder(history).build()
}

/// The same, but for the publisher: it wakes everybody itself, however many they are, where it would
/// leave that to the thread behind the timer.
#[must_use]
pub fn broadcaster_waking_inline(history: usize) -> Broadcaster {
    builder(history).timer(InlineTimer).build()
}

fn builder(history: usize) -> Builder {
    // The scenarios count records, whatever their size; so do the native ways.
    let retention = Retention::new().records(history).bytes(usize::MAX);
    Broadcaster::builder().history(retention)
}

/// Makes the calls that are due at once from the caller's own thread.
#[derive(Debug)]
struct InlineTimer;

impl Timer for InlineTimer {
    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        if deadline <= self.now() {
            waker.wake();
            Ok(())
        } else {
            ThreadTimer.wake_at(deadline, waker)
        }
    }
}

/// What `topics=a,b` selects.
///
/// # Errors
///
/// Words for a 400.
pub fn topics(text: &str) -> Result<Topics, String> {
    text.parse()
        .map_err(|error: fanfare::InvalidTopic| error.to_string())
}

/// Publishes each line of a body to a broadcaster. See [`publish_lines`].
///
/// # Errors
///
/// Words for a 400.
pub fn publish(hub: &Broadcaster, topic: &str, body: &[u8]) -> Result<String, String> {
    let topic = Topic::new(topic).map_err(|error| error.to_string())?;
    let mut refused = None;
    let answer = publish_lines(body, |line| {
        if let Err(error) = hub.try_publish(&topic, Event::data(line)) {
            refused = Some(error.to_string());
        }
    });
    match refused {
        Some(words) => Err(words),
        None => answer.map_err(|error| error.to_string()),
    }
}

/// Hands each line of a body to `publish`, without a pause in between. Returns the JSON to answer
/// with: what it took.
///
/// # Errors
///
/// If the body is not UTF-8.
pub fn publish_lines(body: &[u8], publish: impl FnMut(&str)) -> Result<String, Utf8Error> {
    let lines = std::str::from_utf8(body)?.lines();
    Ok(timed(|| lines.for_each(publish)))
}

/// Does it, and returns the JSON that says how long it took.
#[must_use]
pub fn timed(publish: impl FnOnce()) -> String {
    let begin = Instant::now();
    publish();
    format!(r#"{{"nanos": {}}}"#, begin.elapsed().as_nanos())
}

/// The first value of a query's parameter, for servers whose framework does not read queries.
#[must_use]
pub fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Tells whoever has started the server that it accepts connections.
///
/// # Errors
///
/// If standard output is closed.
pub fn say_listening(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    out.flush()
}

/// The runtime for so many workers. For one it is the current-thread runtime, which is what tokio
/// recommends for one core.
#[must_use]
pub fn tokio_runtime(workers: usize) -> tokio::runtime::Builder {
    if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio_workers(workers)
    }
}

/// The multi-threaded runtime, for who is given it even for one worker.
#[must_use]
pub fn tokio_workers(workers: usize) -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers);
    builder
}

/// Runs a server until SIGTERM.
///
/// # Errors
///
/// The server's, or that the runtime could not be made.
pub fn run(
    mut runtime: tokio::runtime::Builder,
    server: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let runtime = runtime.enable_all().build()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = server => ended,
            () = fanfare::signal() => Ok(()),
        }
    });
    // Nothing that is still open is waited for: a shutdown is not what is measured.
    runtime.shutdown_background();
    ended
}
