//! What a history in Redis costs, beside a bare loop on the same client library: one publisher and
//! 64, to one topic and to 100; and a page of 800 records.
//!
//! Not criterion's: a publish waits for the server, so that what counts is how many go into one call.
//! The bare loop adds to one stream, cut at about 10,000 records, in pipelines of as many events as
//! there are publishers: no topics, no gaps, no keys. A second one adds each event to a stream of its
//! topic as well, cut at as many records as the history retains.
//!
//! They take short turns, so that what else the machine does befalls all of them; of the ratios of
//! each round the median is told. Processor time is the server's and this process's per event.
//!
//! It starts a `redis-server` of its own, without persistence, and takes about two minutes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use fanfare_benches::{sorted, TEXT};
use fanfare_core::history::{Append, History};
use fanfare_core::{Event, LastEventId, Topic, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::block_on;
use redis::Connection;

const TURN: Duration = Duration::from_millis(500);

/// The first is not counted: it connects, and fills what is then cut.
const ROUNDS: usize = 16;

const RECORDS: usize = 1_000;

/// What is read: in a log with more than that.
const PAGE: usize = 800;

fn main() {
    let server = Server::start();
    println!("load average {}", load_average());
    for publishers in [1, 64] {
        for topics in [1, 100] {
            compare(&server, publishers, &fanfare_benches::topics(topics));
        }
    }
    read_pages(&server);
    println!("load average {}", load_average());
}

/// Lets the history and the bare loops take turns.
fn compare(server: &Server, publishers: usize, topics: &[Topic]) {
    let history = open(server, &format!("{publishers}x{}", topics.len()));
    let mut connection = server.connection();
    let (mut ours, mut single, mut double) = (Meter::new(), Meter::new(), Meter::new());
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        if round == 1 {
            (ours, single, double) = (Meter::new(), Meter::new(), Meter::new());
            took.clear();
        }
        ours.turn(server, || publish(&history, publishers, topics, &mut took));
        single.turn(server, || bare(&mut connection, publishers, &[]));
        double.turn(server, || bare(&mut connection, publishers, topics));
    }
    took.sort_unstable();
    println!(
        "{publishers:>2} publishers, {:>3} topics: {ours}, p50 {:.0?}, p99 {:.0?}\n    \
         single stream: {single}, ratio {}\n    two streams:   {double}, ratio {}",
        topics.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        ours.beside(&single),
        ours.beside(&double),
    );
}

/// What one of them did in its turns.
struct Meter {
    /// Events per second.
    rates: Vec<f64>,
    events: usize,
    /// The server's processor time and ours.
    spent: (Duration, Duration),
}

impl Meter {
    fn new() -> Self {
        Self {
            rates: Vec::new(),
            events: 0,
            spent: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// Does the work, which says how many events it has stored.
    fn turn(&mut self, server: &Server, work: impl FnOnce() -> usize) {
        let before = (server.processor_time(), processor_time());
        let start = Instant::now();
        let events = work();
        self.rates
            .push(events as f64 / start.elapsed().as_secs_f64());
        self.events += events;
        self.spent.0 += server.processor_time() - before.0;
        self.spent.1 += processor_time() - before.1;
    }

    /// The median of the ratios of rounds, and the quarters between which half of them are.
    fn beside(&self, other: &Self) -> String {
        let rounds = self.rates.iter().zip(&other.rates);
        let ratios = sorted(rounds.map(|(ours, theirs)| ours / theirs));
        let at = |quarter: usize| ratios[ratios.len() * quarter / 4];
        format!("{:.2} ({:.2}-{:.2})", at(2), at(1), at(3))
    }
}

impl std::fmt::Display for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rates = sorted(self.rates.iter().copied());
        let each = |spent: Duration| spent.div_f64(self.events as f64);
        let (there, here) = (each(self.spent.0), each(self.spent.1));
        let median = rates[rates.len() / 2];
        write!(f, "{median:.0}/s, server {there:.2?}, here {here:.2?}")
    }
}

fn read_pages(server: &Server) {
    let history = open(server, "64x100");
    for (what, topics) in [
        ("one topic", "quotes.7"),
        (
            "eight topics",
            "quotes.0,quotes.1,quotes.2,quotes.3,quotes.4,quotes.5,quotes.6,quotes.8",
        ),
        ("all, from the oldest", "all"),
    ] {
        let topics = Topics::try_from(topics.to_owned()).expect("a selection");
        let mut took: Vec<_> = (0..100)
            .map(|_| {
                let start = Instant::now();
                let page = block_on(history.replay(&topics, &LastEventId::none(), PAGE));
                (start.elapsed(), page.expect("read").records.len())
            })
            .collect();
        took.sort_unstable();
        let ((p50, records), (p99, _)) = (took[50], took[99]);
        println!("a page, {what}: {records} records, p50 {p50:.2?}, p99 {p99:.2?}");
    }
}

fn open(server: &Server, stream: &str) -> RedisHistory {
    let builder = RedisHistory::builder(server.url()).stream(stream);
    let history = builder.retention(RECORDS).build().expect("builds");
    // Connected before it is measured.
    let topics = Topics::all();
    block_on(history.replay(&topics, &LastEventId::none(), 1)).expect("read");
    history
}

/// How many events were published, and how long each took.
fn publish(
    history: &RedisHistory,
    publishers: usize,
    topics: &[Topic],
    took: &mut Vec<Duration>,
) -> usize {
    let executor = LocalExecutor::new();
    let start = Instant::now();
    let tasks: Vec<_> = (0..publishers)
        .map(|publisher| {
            executor.spawn(async move {
                let mut took = Vec::new();
                let mut in_turn = topics.iter().cycle().skip(publisher);
                while start.elapsed() < TURN {
                    let topic = in_turn.next().expect("endless").clone();
                    let publish = Instant::now();
                    let append = Append::new(topic, &Event::data(TEXT));
                    history.append(append).await.expect("stored");
                    took.push(publish.elapsed());
                }
                took
            })
        })
        .collect();
    let before = took.len();
    block_on(executor.run(async {
        for task in tasks {
            took.extend(task.await);
        }
    }));
    took.len() - before
}

/// How many events were stored.
fn bare(connection: &mut Connection, group: usize, topics: &[Topic]) -> usize {
    let block = format!("data: {TEXT}\n\n");
    let (start, mut stored) = (Instant::now(), 0);
    let mut in_turn = topics.iter().cycle();
    while start.elapsed() < TURN {
        let mut pipeline = redis::pipe();
        for _ in 0..group {
            let add = pipeline.cmd("XADD").arg("bare");
            add.arg(&["MAXLEN", "~", "10000", "*", "t", "quotes", "b"])
                .arg(&block);
            if let Some(topic) = in_turn.next() {
                let add = pipeline.cmd("XADD").arg(topic.as_str());
                add.arg(&["MAXLEN", "="])
                    .arg(RECORDS)
                    .arg(&["*", "b"])
                    .arg(&block);
            }
        }
        let _: Vec<String> = pipeline.query(connection).expect("stored");
        stored += group;
    }
    stored
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What this process's threads have used so far, where the system tells.
fn processor_time() -> Duration {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let nanoseconds = threads.flatten().filter_map(of_thread);
    Duration::from_nanos(nanoseconds.sum())
}

struct Server(Child, u16);

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let child = command.stdout(Stdio::null()).spawn();
        let server = Self(child.expect("redis-server is in PATH"), port);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn connection(&self) -> Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_connection().expect("a connection")
    }

    /// What it has used so far. Other work on the machine touches it less than it does the rates.
    fn processor_time(&self) -> Duration {
        let info: String = redis::cmd("INFO")
            .arg("cpu")
            .query(&mut self.connection())
            .expect("an answer");
        let of = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.expect("is told").parse().expect("seconds")
        };
        Duration::from_secs_f64(of("used_cpu_user:")) + Duration::from_secs_f64(of("used_cpu_sys:"))
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
