//! Clients that others wrote: each is shown a stream, and tells what it saw.
//!
//! Those in JavaScript and Python are programs in `clients/`, as a user of each would write them. They
//! print what they see, a line of JSON for each event. `cargo xtask tools` installs the packages.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use fanfare_core::{Decoded, Decoder};
use futures_util::StreamExt;
use serde_json::Value;
use sse_stream::SseByteStream;
use tokio::runtime::{Builder, Runtime};

use crate::demo::Captured;
use crate::DEADLINE;

/// A client that follows a stream. It is ended when this is dropped.
#[derive(Debug)]
pub struct Client {
    seen: Receiver<Outcome>,
    // Where it runs: either of the two. Dropping that ends the client.
    _process: Option<Process>,
    _runtime: Option<Runtime>,
}

/// An event as a client shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// The event's id, or empty.
    pub id: String,
    /// The event's name, which is `message` if it has none.
    pub event: String,
    /// The event's data.
    pub data: String,
}

/// An event, or why there will be no more.
type Outcome = Result<Seen, String>;

#[derive(Debug)]
struct Process {
    child: Child,
    stderr: Captured,
}

impl Client {
    /// `curl -N`, which shows the stream's bytes as they come. [`Decoder`] reads them here.
    ///
    /// # Panics
    ///
    /// If curl is not installed.
    #[must_use]
    #[track_caller]
    pub fn curl(url: &str) -> Self {
        let mut command = Command::new("curl");
        command
            .args(["--no-buffer", "--silent", "--show-error", "--fail"])
            .args(["--header", "Accept: text/event-stream", url]);
        Self::start(command, event_stream)
    }

    /// reqwest, its bytes read by the crate `sse-stream`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn reqwest(url: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime of one thread can be made");
        let (sender, seen) = mpsc::channel();
        let url = url.to_owned();
        runtime.spawn(async move {
            let outcome = follow(&url, &sender).await;
            if let Err(error) = outcome {
                let _ = sender.send(Err(error.to_string()));
            }
        });
        Self {
            seen,
            _process: None,
            _runtime: Some(runtime),
        }
    }

    /// A program of `clients/npm`, given the stream's address and the names of the events that it
    /// has to listen for: an `EventSource` shows no others.
    ///
    /// # Panics
    ///
    /// If node or the packages are not installed.
    #[must_use]
    #[track_caller]
    pub fn node(program: &str, url: &str, names: &[&str]) -> Self {
        let packages = installed("npm", include_str!("../clients/npm/package-lock.json"));
        let path = source("npm").join(program);
        let program = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut command = Command::new("node");
        command
            // Read from standard input, a program finds packages in the folder it is started in.
            .args(["--input-type=module", "-", url])
            .args(names)
            .current_dir(packages)
            .stdin(program);
        Self::start(command, json_lines)
    }

    /// A program of `clients/pypi`, given the stream's address.
    ///
    /// # Panics
    ///
    /// If Python or the packages are not installed.
    #[must_use]
    #[track_caller]
    pub fn python(program: &str, url: &str) -> Self {
        let packages = installed("pypi", include_str!("../clients/pypi/requirements.txt"));
        let mut command = Command::new(packages.join("bin/python3"));
        command
            // Else it would leave its bytecode among the sources.
            .args(["-B".as_ref(), source("pypi").join(program).as_os_str()])
            .arg(url);
        Self::start(command, json_lines)
    }

    #[track_caller]
    fn start(
        mut command: Command,
        read: impl FnOnce(ChildStdout, &Sender<Outcome>) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let mut child = command
            // A proxy of the machine's is not asked for what is on the machine.
            .env("no_proxy", "127.0.0.1")
            .env("NO_PROXY", "127.0.0.1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.get_program().to_string_lossy();
                panic!("{program} did not start: {error}; {INSTALL}")
            });
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = Captured::from(child.stderr.take().expect("it is piped"));
        let (sender, seen) = mpsc::channel();
        thread::spawn(move || {
            if let Err(error) = read(stdout, &sender) {
                let _ = sender.send(Err(error));
            }
        });
        Self {
            seen,
            _process: Some(Process { child, stderr }),
            _runtime: None,
        }
    }

    /// Waits for the next event that the client shows.
    ///
    /// # Panics
    ///
    /// If there is none, or the client ended.
    #[track_caller]
    pub fn event(&self) -> Seen {
        match self.seen.recv_timeout(DEADLINE) {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => panic!("the client failed: {error}"),
            Err(RecvTimeoutError::Timeout) => panic!("the client shows nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the client ended"),
        }
    }

    /// Waits for all events up to the one with the given id, that one included.
    ///
    /// # Panics
    ///
    /// If it does not come.
    #[track_caller]
    pub fn up_to(&self, id: &str) -> Vec<Seen> {
        let mut events = vec![self.event()];
        while events.last().is_some_and(|event| event.id != id) {
            events.push(self.event());
        }
        events
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the client's standard error:\n{}", self.stderr.take());
        }
    }
}

impl fmt::Debug for Seen {
    /// Long data is cut, or a failed comparison could not be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start: String = self.data.chars().take(SHOWN_CHARS).collect();
        let Self { id, event, data } = self;
        write!(f, "{id} {event}: {start:?} ({} bytes)", data.len())
    }
}

async fn follow(url: &str, seen: &Sender<Outcome>) -> Result<(), Box<dyn std::error::Error>> {
    // A proxy of the machine's is not asked for what is on the machine.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let response = client.get(url).send().await?.error_for_status()?;
    let mut events = SseByteStream::new(response.bytes_stream());
    while let Some(event) = events.next().await {
        let event = event?;
        let _ = seen.send(Ok(Seen {
            id: event.id.unwrap_or_default(),
            event: event.event.unwrap_or_else(|| "message".to_owned()),
            data: event.data.unwrap_or_default(),
        }));
    }
    Ok(())
}

/// Reads the stream itself.
fn event_stream(stdout: ChildStdout, seen: &Sender<Outcome>) -> Result<(), String> {
    let mut decoder = Decoder::new();
    let mut reader = BufReader::new(stdout);
    loop {
        let bytes = reader.fill_buf().map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Ok(());
        }
        decoder.feed(bytes).map_err(|error| error.to_string())?;
        let read = bytes.len();
        reader.consume(read);
        for decoded in decoder.by_ref() {
            if let Decoded::Event(message) = decoded {
                let _ = seen.send(Ok(Seen {
                    id: message.last_event_id.to_string(),
                    event: message.name,
                    data: message.data,
                }));
            }
        }
    }
}

/// Reads what the programs in `clients/` print.
fn json_lines(stdout: ChildStdout, seen: &Sender<Outcome>) -> Result<(), String> {
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|error| error.to_string())?;
        let event: Value =
            serde_json::from_str(&line).map_err(|error| format!("{error} in `{line}`"))?;
        let text = |field: &str| match event[field].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("no {field} in `{line}`")),
        };
        let _ = seen.send(Ok(Seen {
            id: text("id")?,
            event: text("event")?,
            data: text("data")?,
        }));
    }
    Ok(())
}

/// The folder of the programs for the packages of a registry.
fn source(registry: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(registry)
}

/// Where `cargo xtask tools` has installed what a manifest lists: `clients` in the target folder,
/// of which a test is a few levels below. It leaves a copy of the manifest there.
#[track_caller]
fn installed(registry: &str, manifest: &str) -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let is_installed = |folder: &PathBuf| {
        fs::read_to_string(folder.join("installed")).is_ok_and(|copy| copy == manifest)
    };
    test.ancestors()
        .map(|folder| folder.join("clients").join(registry))
        .find(is_installed)
        .unwrap_or_else(|| panic!("the clients from {registry} are not installed; {INSTALL}"))
}

const INSTALL: &str = "`cargo xtask tools` installs what the tests need";
const SHOWN_CHARS: usize = 80;
