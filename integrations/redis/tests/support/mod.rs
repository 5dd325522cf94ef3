//! A redis-server of a test's own, on a free port, in a folder of its own.

// Each test uses some of it.
#![allow(dead_code, unreachable_pub)]

pub mod way;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::history::{Append, History, HistoryError, TailItem};
use fanfare_core::{Event, EventId, Gap, LastEventId, Record, Topic, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::block_on;
use futures_lite::StreamExt;
use redis::Connection;
use tempfile::TempDir;

pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something to be so.
#[track_caller]
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A running server, killed when dropped.
pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    /// Of the URL, before the host: `user:password@`.
    pub login: String,
    arguments: Vec<String>,
    child: Option<Child>,
    streams: AtomicUsize,
}

impl Server {
    /// A server without persistence.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::prepare(arguments);
        server.run();
        server
    }

    /// Two nodes of a cluster: the second has every slot, which the first knows.
    pub fn cluster() -> [Self; 2] {
        let options = ["--save", "", "--cluster-enabled", "yes"];
        let nodes = [0; 2].map(|_| Self::start_with(&options));
        let [empty, full] = &nodes;
        full.command_of(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let bus = |server: &Self| (server.port + 10_000).to_string();
        empty.command_of(&[
            "CLUSTER",
            "MEET",
            "127.0.0.1",
            &full.port.to_string(),
            &bus(full),
        ]);
        for node in &nodes {
            wait_for("the cluster", || {
                let mut connection = node.connection();
                let info: String = redis::cmd("CLUSTER")
                    .arg("INFO")
                    .query(&mut connection)
                    .ok()?;
                info.contains("cluster_state:ok").then_some(())
            });
        }
        nodes
    }

    /// A server that is not there yet.
    pub fn prepare(arguments: &[&str]) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            port: free_port(),
            login: String::new(),
            arguments: arguments.iter().copied().map(str::to_owned).collect(),
            child: None,
            streams: AtomicUsize::new(0),
        }
    }

    /// Runs it as before, and with more options.
    pub fn run_with(&mut self, options: &[&str]) {
        let options = options.iter().copied().map(str::to_owned);
        self.arguments.extend(options);
        self.run();
    }

    /// Runs it, on the same port and data as before.
    pub fn run(&mut self) {
        let until = Instant::now() + DEADLINE;
        loop {
            // Of an earlier life.
            let _ = std::fs::remove_file(self.log());
            let mut child = self.command().spawn().expect("redis-server is in PATH");
            loop {
                if self.is_there() && self.answers() {
                    self.child = Some(child);
                    return;
                }
                // Its port was taken meanwhile, or is not free yet.
                if child.try_wait().expect("a child").is_some() {
                    break;
                }
                assert!(Instant::now() < until, "redis-server does not answer");
                thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < until, "redis-server does not start");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("redis-server");
        let port = self.port.to_string();
        command
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(self.folder.path())
            .args(["--logfile", "log", "--port", &port])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Whether this very process takes connections: on its port somebody else may answer.
    fn is_there(&self) -> bool {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.contains("Ready to accept connections")
    }

    /// Whether it answers at all, be it that it wants a password or TLS.
    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let address = ("127.0.0.1", self.port);
        let Ok(mut stream) = std::net::TcpStream::connect(address) else {
            return false;
        };
        if self
            .arguments
            .iter()
            .any(|argument| argument == "--tls-port")
        {
            return true;
        }
        let mut answer = [0; 64];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.write_all(b"PING\r\n");
        let read = stream.read(&mut answer).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        answer.starts_with('+') || answer.starts_with("-NOAUTH")
    }

    pub fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.login, self.port)
    }

    /// A connection for the test itself.
    pub fn connection(&self) -> Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        wait_for("a connection", || client.get_connection().ok())
    }

    /// Sends a command of the test's own.
    #[track_caller]
    pub fn command_of(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection()).expect("an answer")
    }

    /// A stream's name that nobody has used.
    pub fn new_stream(&self) -> String {
        format!("s{}", self.streams.fetch_add(1, Ordering::Relaxed))
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.expect("kill is in PATH").success());
    }

    /// It takes connections, and answers nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody has, and that the system gives nobody by itself: a server that is away must
/// find its own again.
pub fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Test processes that run at once begin at different places.
    let begin = std::process::id() as usize * 31;
    loop {
        let number = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        // Ten thousand above it is a cluster node's second one.
        let port = u16::try_from(10_000 + number % 10_000).expect("is one");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn event(topic: &'static str, text: impl std::fmt::Display) -> Append {
    Append::new(Topic::from_static(topic), &Event::data(text.to_string()))
}

pub fn append(
    history: &RedisHistory,
    topic: &'static str,
    text: impl std::fmt::Display,
) -> Result<EventId, HistoryError> {
    block_on(history.append(event(topic, text)))
}

/// Appends until it is stored.
pub fn append_surely(history: &RedisHistory, topic: &'static str, text: &str) -> EventId {
    wait_for("an append", || append(history, topic, text).ok())
}

/// What a tail brings, read on a thread of its own.
pub struct Followed {
    items: std::sync::mpsc::Receiver<TailItem>,
}

impl Followed {
    pub fn open(history: &Arc<RedisHistory>, after: Option<EventId>) -> Self {
        let (sender, items) = std::sync::mpsc::channel();
        let history = Arc::clone(history);
        thread::spawn(move || {
            let mut tail = history.tail(after);
            while let Some(item) = block_on(tail.next()) {
                if sender.send(item).is_err() {
                    break;
                }
            }
        });
        Self { items }
    }

    #[track_caller]
    pub fn next(&self) -> TailItem {
        self.items
            .recv_timeout(DEADLINE)
            .expect("another item in time")
    }

    #[track_caller]
    pub fn start(&self) -> EventId {
        match self.next() {
            TailItem::Start(id) => id,
            other => panic!("{other:?}, not a start"),
        }
    }

    #[track_caller]
    pub fn record(&self) -> Record {
        match self.next() {
            TailItem::Record(record) => record,
            other => panic!("{other:?}, not a record"),
        }
    }

    #[track_caller]
    pub fn interrupted(&self) {
        match self.next() {
            TailItem::Interrupted(_) => {}
            other => panic!("{other:?}, not an interruption"),
        }
    }

    #[track_caller]
    pub fn resumed(&self) {
        match self.next() {
            TailItem::Resumed => {}
            other => panic!("{other:?}, not that it is back"),
        }
    }
}

/// Everything of a topic after a place, and the gap in front of it.
#[track_caller]
pub fn read(
    history: &RedisHistory,
    topics: &'static str,
    after: impl Into<LastEventId>,
) -> (Option<Gap>, Vec<EventId>) {
    let (topics, after) = (Topics::from(topics), after.into());
    let page = wait_for("a page", || {
        block_on(history.replay(&topics, &after, 10_000)).ok()
    });
    (page.gap, page.records.iter().map(Record::id).collect())
}

pub fn history_at(server: &Server, stream: &str) -> Arc<RedisHistory> {
    Arc::new(builder_at(server, stream).build().expect("builds"))
}

pub fn builder_at(server: &Server, stream: &str) -> fanfare_redis::Builder {
    RedisHistory::builder(server.url()).stream(stream)
}
