//! [`Process`]: a server under test, from its start to its end.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};
use rustix::thread::{sched_setaffinity, CpuSet};
use serde::Deserialize;

use crate::figures::{Pinned, Server};
use crate::load::Failure;
use crate::peers;
use crate::proc::{Cpu, Memory};
use crate::wire::http;
use crate::wire::Malformed;

/// A server that can be started.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What it is called in the report.
    pub server: Server,
    /// The program.
    pub program: PathBuf,
    /// What it is to serve: its first argument.
    pub kind: String,
    /// Whether it publishes each line of a body as an event of its own.
    pub publishes_lines: bool,
    /// Whether its ids can be compared, whatever the topics of the stream.
    pub has_usual_ids: bool,
}

impl Contender {
    /// The same program, called `name` in the report and serving `kind`.
    #[must_use]
    pub fn under_another_name(self, name: &str, kind: &str) -> Self {
        let server = Server {
            kind: name.to_owned(),
            ..self.server
        };
        Self {
            server,
            kind: kind.to_owned(),
            ..self
        }
    }
}

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Worker threads.
    pub workers: usize,
    /// Records kept per topic.
    pub history: usize,
    /// Events that a channel holds for who is behind, if not as many.
    pub channel: Option<usize>,
    /// Where it runs and where the load does.
    pub pinned: Option<Pinned>,
    /// Whether it may run where the load does as well.
    pub shares: bool,
}

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Kept open, so that writing to it does not end the server.
    _stdout: BufReader<ChildStdout>,
}

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

impl Process {
    /// Starts a server and waits until it listens. This thread then runs on the load's processor.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not say that it listens.
    pub fn start(contender: &Contender, settings: Settings) -> Result<Self, Failure> {
        let channel = settings.channel.map(|events| events.to_string());
        let mut command = Command::new(&contender.program);
        command
            .arg(&contender.kind)
            .args(["--port", "0"])
            .args(["--workers", &settings.workers.to_string()])
            .args(["--history", &settings.history.to_string()])
            .args(channel.iter().flat_map(|events| ["--channel", events]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // A process begins on the processors of the thread that starts it, and so do its threads.
        if let Some(pinned) = settings.pinned {
            let shared = settings.shares.then_some(pinned.load);
            run_on([pinned.server].into_iter().chain(shared))?;
        }
        let child = command.spawn();
        if let Some(pinned) = settings.pinned {
            run_on([pinned.load])?;
        }
        let mut child = child.map_err(|error| {
            Failure::Server(format!("{}: {error}", contender.program.display()))
        })?;
        let (address, stdout) = child.stdout.take().and_then(listening_on).ok_or_else(|| {
            // Whatever keeps it from listening, it is of no more use.
            let _ = child.kill();
            let _ = child.wait();
            Failure::Server("it did not say that it listens".to_owned())
        })?;
        Ok(Self {
            child,
            address,
            _stdout: stdout,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it has used.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn cpu(&self) -> io::Result<Cpu> {
        Cpu::of(self.pid())
    }

    /// Its memory.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn memory(&self) -> io::Result<Memory> {
        Memory::of(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Reads standard output until it says where the server listens.
fn listening_on(stdout: ChildStdout) -> Option<(SocketAddr, BufReader<ChildStdout>)> {
    let (found, finding) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
            let address = line.trim().strip_prefix("listening on http://");
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                // Who does not wait any longer does not want it.
                let _ = found.send((address, stdout));
                return;
            }
            line.clear();
        }
    });
    finding.recv_timeout(START).ok()
}

/// Keeps this thread on these processors.
fn run_on(processors: impl IntoIterator<Item = usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(processor);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// How many streams are open at a server.
///
/// # Errors
///
/// It does not say.
pub fn subscribers(address: SocketAddr) -> Result<usize, Failure> {
    let text = get(address, "/subscribers")?;
    peers::subscribers(&text).ok_or_else(|| Failure::Server(format!("/subscribers: {text:?}")))
}

/// The versions of what a server is made of.
///
/// # Errors
///
/// It does not say.
pub fn versions(address: SocketAddr) -> Result<BTreeMap<String, String>, Failure> {
    #[derive(Deserialize)]
    struct About {
        versions: BTreeMap<String, String>,
    }
    let text = get(address, "/about")?;
    let about: About = serde_json::from_str(&text)
        .map_err(|error| Failure::Server(format!("/about: {error}: {text:?}")))?;
    Ok(about.versions)
}

/// The body of an answer.
fn get(address: SocketAddr, path: &str) -> Result<String, Failure> {
    let wrong = |malformed: Malformed| Failure::Server(format!("{path}: {malformed}"));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    // Not every server closes the connection, so the answer's own end counts.
    let (status, text) = loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer)?;
        response.extend_from_slice(&buffer[..length]);
        let mut text = Vec::new();
        if let Some(mut head) = http::head(&response).map_err(wrong)? {
            head.body
                .read(&response[head.length..], |piece| {
                    text.extend_from_slice(piece);
                    Ok::<_, Malformed>(())
                })
                .map_err(wrong)?;
            if head.body.is_at_end() || length == 0 {
                break (head.status, text);
            }
        }
        if length == 0 {
            return Err(wrong(Malformed::new("half a response", &response)));
        }
    };
    if status != 200 {
        return Err(Failure::Server(format!("{path}: status {status}")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
