//! A framework's demo as a process of its own, which can be killed and started again.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use crate::history::History;
use crate::{free_port, wait_for, Connection, Request, DEADLINE, POLL_INTERVAL};

/// A running demo. It is killed when this is dropped.
#[derive(Debug)]
pub struct Demo {
    binary: PathBuf,
    flags: Vec<String>,
    log: RequestLog,
    process: Process,
    /// Whether its history is elsewhere than in its memory.
    has_backend: bool,
    /// Where its history is kept, which goes after it.
    _history: Option<History>,
}

/// Whether a demo's framework logs every request.
#[derive(Clone, Copy, Debug)]
enum RequestLog {
    Off,
    On,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Open files, sockets among them.
    pub files: usize,
    /// Threads.
    pub threads: usize,
}

#[derive(Debug)]
struct Process {
    child: Child,
    addr: SocketAddr,
    /// Whether it speaks HTTPS.
    is_secure: bool,
    stdout: Arc<Mutex<String>>,
    stderr: Captured,
}

impl Demo {
    /// Starts the demo of a framework on a free port, of 127.0.0.1 if the flags name no other host, and
    /// waits until it listens.
    ///
    /// # Panics
    ///
    /// If the demo has not been built, or does not start to listen.
    #[track_caller]
    pub fn start(framework: &str, flags: &[&str]) -> Self {
        Self::start_on(0, framework, flags, RequestLog::Off, History::chosen())
    }

    /// Starts one whose framework logs every request, as far as it does that.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn start_with_request_log(framework: &str, flags: &[&str]) -> Self {
        Self::start_on(free_port(), framework, flags, RequestLog::On, None)
    }

    /// Starts one that is told by its flags where history is, whatever this run is about, on a port
    /// to which it can return: see [`free_port`].
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[track_caller]
    pub fn start_with_history(framework: &str, flags: &[&str]) -> Self {
        Self::start_on(free_port(), framework, flags, RequestLog::Off, None)
    }

    #[track_caller]
    fn start_on(
        port: u16,
        framework: &str,
        flags: &[&str],
        log: RequestLog,
        history: Option<History>,
    ) -> Self {
        let binary = binary(framework);
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let has_backend = history.is_some() || flags.iter().any(|flag| is_history(flag));
        flags.extend(history.iter().flat_map(History::flags));
        let process = Process::start(&binary, port, &flags, log);
        let demo = Self {
            binary,
            flags,
            log,
            process,
            has_backend,
            _history: history,
        };
        demo.wait_until_ready();
        demo
    }

    /// Runs the demo of a framework with flags that it refuses. Returns its exit status and what it
    /// wrote to standard error.
    ///
    /// # Panics
    ///
    /// If the demo has not been built, or listens.
    #[track_caller]
    pub fn refusal(framework: &str, flags: &[&str]) -> (ExitStatus, String) {
        let binary = binary(framework);
        let mut child = Command::new(&binary)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", binary.display()));
        let mut stderr = Captured::from(child.stderr.take().expect("it is piped"));
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        // Comes to the end with the process.
        let _ = stdout.read_line(&mut line);
        let _ = child.kill();
        let status = child.wait().expect("a child can be waited for");
        assert!(line.is_empty(), "the demo runs: {line}");
        (status, stderr.take())
    }

    /// Starts it again, on the same port and with the same flags.
    ///
    /// # Panics
    ///
    /// If it still runs, or does not start to listen.
    #[track_caller]
    pub fn restart(&mut self) {
        let exited = self
            .process
            .child
            .try_wait()
            .expect("the demo is our child");
        assert!(exited.is_some(), "the demo is still running");
        self.process = Process::start(&self.binary, self.addr().port(), &self.flags, self.log);
        self.wait_until_ready();
    }

    /// A history elsewhere is there a moment after the demo listens.
    #[track_caller]
    fn wait_until_ready(&self) {
        if self.has_backend {
            wait_for("the history", || {
                (self.stats()["backend"]["ready"] == true).then_some(())
            });
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.process.addr
    }

    /// The page's address.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.process.is_secure {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.addr())
    }

    /// A connection to it, for HTTP/1.1; with TLS, if the demo speaks that.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        #[cfg(feature = "tls")]
        if self.process.is_secure {
            return Connection::open_with_tls(self.addr());
        }
        Connection::open(self.addr())
    }

    /// Publishes an event over HTTP. Returns its id.
    ///
    /// # Panics
    ///
    /// If the answer is not 202 with an id.
    #[track_caller]
    pub fn publish(&self, topic: &str, data: impl AsRef<[u8]>) -> String {
        let request = Request::post(&format!("/publish/{topic}"), data);
        let response = self.connect().send(&request);
        let status = response.head.status;
        let answer = response.json();
        match answer["id"].as_str() {
            Some(id) if status == 202 => id.to_owned(),
            _ => panic!("publishing to {topic} was answered with {status}: {answer}"),
        }
    }

    /// What `GET /stats` says.
    ///
    /// # Panics
    ///
    /// If that is not JSON.
    #[must_use]
    #[track_caller]
    pub fn stats(&self) -> Value {
        self.connect().send(&Request::get("/stats")).json()
    }

    /// What the process holds at this moment; `None` on systems that have no `/proc`.
    #[must_use]
    pub fn footprint(&self) -> Option<Footprint> {
        let count = |what: &str| {
            let folder = format!("/proc/{}/{what}", self.process.child.id());
            Some(fs::read_dir(folder).ok()?.count())
        };
        Some(Footprint {
            files: count("fd")?,
            threads: count("task")?,
        })
    }

    /// The memory that the process holds at this moment, in bytes.
    ///
    /// # Panics
    ///
    /// If the process is gone, or the system has no `/proc`.
    #[must_use]
    #[track_caller]
    pub fn resident_bytes(&self) -> usize {
        self.bytes_of("VmRSS:")
    }

    /// The most memory that the process has ever held, in bytes.
    ///
    /// # Panics
    ///
    /// As [`resident_bytes`](Self::resident_bytes).
    #[must_use]
    #[track_caller]
    pub fn peak_bytes(&self) -> usize {
        self.bytes_of("VmHWM:")
    }

    #[track_caller]
    fn bytes_of(&self, line: &str) -> usize {
        let status = format!("/proc/{}/status", self.process.child.id());
        let status = fs::read_to_string(status).expect("the demo runs");
        let kilobytes = status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB"));
        let kilobytes: usize = kilobytes
            .and_then(|kilobytes| kilobytes.parse().ok())
            .unwrap_or_else(|| panic!("no {line} in: {status}"));
        kilobytes * 1024
    }

    /// Ends the process at once, as a crash would, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// If the process cannot be killed.
    #[track_caller]
    pub fn kill_9(&mut self) {
        self.process.child.kill().expect("a child can be killed");
        self.process
            .child
            .wait()
            .expect("a killed child can be waited for");
    }

    /// Asks the process to shut down, with SIGTERM.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[track_caller]
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM)
            .expect("the demo takes signals");
    }

    /// What it wrote to its standard output and its standard error, once it has ended.
    ///
    /// # Panics
    ///
    /// If it still runs.
    #[track_caller]
    pub fn output(&mut self) -> String {
        let process = &mut self.process;
        let exited = process.child.try_wait().expect("the demo is our child");
        assert!(exited.is_some(), "the demo is still running");
        let stderr = process.stderr.take();
        let stdout = process.stdout.lock();
        let stdout = stdout.unwrap_or_else(PoisonError::into_inner);
        format!("{stdout}{stderr}")
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    ///
    /// If it has not after `limit`.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self
                .process
                .child
                .try_wait()
                .expect("the demo is our child")
            {
                return status;
            }
            assert!(
                Instant::now() < until,
                "the demo still runs after {limit:?}"
            );
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Process {
    #[track_caller]
    fn start(binary: &PathBuf, port: u16, flags: &[String], log: RequestLog) -> Self {
        let mut command = Command::new(binary);
        if let RequestLog::On = log {
            command.env("DEMO_LOG_REQUESTS", "1");
        }
        let is_told = flags.iter().any(|flag| flag == "--host");
        let host = (!is_told).then_some(["--host", "127.0.0.1"]);
        let mut child = command
            .args(host.into_iter().flatten())
            .args(["--port", &port.to_string()])
            .args(flags)
            // glibc has memory for each thread, so what a crowd leaves would depend on who served it.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", binary.display()));
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = Captured::from(child.stderr.take().expect("it is piped"));

        let (sender, receiver) = mpsc::channel();
        let written = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&written);
        // The thread reads to the end, so that the demo never waits for room in its pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
                drop(kept);
                if let Some(listening) = listening(&line) {
                    let _ = sender.send(listening);
                }
            }
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok((is_secure, addr)) => Self {
                child,
                addr,
                is_secure,
                stdout: written,
                stderr,
            },
            Err(_) => {
                let _ = child.kill();
                let status = child.wait();
                let stderr = stderr.take();
                panic!("the demo does not listen ({status:?}); its standard error:\n{stderr}");
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the demo's standard error:\n{}", self.stderr.take());
        }
    }
}

/// Whether a flag says where history is.
fn is_history(flag: &str) -> bool {
    matches!(flag, "--data-dir" | "--redis")
}

/// Reads `listening on http://127.0.0.1:3000`, or `https`. Returns whether it is, and the address.
fn listening(line: &str) -> Option<(bool, SocketAddr)> {
    let (scheme, addr) = line.strip_prefix("listening on ")?.split_once("://")?;
    let is_secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    Some((is_secure, addr.trim_end_matches('/').parse().ok()?))
}

/// The demo's executable, which cargo puts one folder above the tests'.
#[track_caller]
fn binary(framework: &str) -> PathBuf {
    let package = format!("demo-{framework}");
    let test = env::current_exe().expect("a running test has a path");
    // A test is in target/PROFILE/deps, a program in target/PROFILE.
    let name = format!("{package}{}", env::consts::EXE_SUFFIX);
    let binary = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(&name))
        .find(|binary| binary.is_file());
    binary.unwrap_or_else(|| {
        panic!("there is no {name} beside this program: build it with `cargo build -p {package}`")
    })
}

/// What a process writes, collected as it comes.
#[derive(Debug)]
pub(crate) struct Captured(Option<JoinHandle<Vec<u8>>>);

impl Captured {
    pub(crate) fn from(mut source: impl Read + Send + 'static) -> Self {
        Self(Some(thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is kept.
            let _ = source.read_to_end(&mut bytes);
            bytes
        })))
    }

    /// All of it, once the process has ended; nothing when asked again.
    pub(crate) fn take(&mut self) -> String {
        let bytes = self
            .0
            .take()
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
