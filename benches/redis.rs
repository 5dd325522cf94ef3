//! What a history in Redis costs, beside a bare loop on the same client library: one publisher and
//! 64, to one topic and to 100; and a page of 1,000 records.
//!
//! Not criterion's: a publish waits for the server, so that what counts is how many go into one call.
//! The bare loop adds to one stream, cut at about 10,000 records, in pipelines of as many events as
//! there are publishers: no topics, no gaps, no keys. A second one adds each event to a stream of its
//! topic as well, cut at as many records as the history retains.
//!
//! It starts a `redis-server` of its own, without persistence.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use fanfare_benches::TEXT;
use fanfare_core::history::{Append, History};
use fanfare_core::{Event, LastEventId, Topic, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::block_on;

const RUN: Duration = Duration::from_secs(3);
const RECORDS: usize = 1_000;

/// What is read: in a log with more than that.
const PAGE: usize = 800;

fn main() {
    let server = Server::start();
    for publishers in [1, 64] {
        let before = server.processor_time();
        let bare_log = bare(&server, publishers, &[]);
        let bare_spent = server.processor_time() - before;
        for topics in [1, 100] {
            let topics = named(topics);
            let bare_topics = bare(&server, publishers, &topics);
            let history = open(&server, &format!("{publishers}x{}", topics.len()));
            let before = server.processor_time();
            let (rate, p50, p99) = publish(&history, publishers, &topics);
            let spent = server.processor_time() - before;
            println!(
                "{publishers:>2} publishers, {:>3} topics: {rate:.0}/s, p50 {p50:.0?}, \
                 p99 {p99:.0?}; bare loop {bare_log:.0}/s, {:.2}; with topics {bare_topics:.0}/s, \
                 {:.2}; the server's processor time per event {:.2?}, in the bare loop {:.2?}",
                topics.len(),
                rate / bare_log,
                rate / bare_topics,
                spent.div_f64(rate * RUN.as_secs_f64()),
                bare_spent.div_f64(bare_log * RUN.as_secs_f64()),
            );
        }
    }
    let history = open(&server, "64x100");
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

fn named(count: usize) -> Vec<Topic> {
    let topic = |n| Topic::new(format!("quotes.{n}")).expect("is a topic");
    (0..count).map(topic).collect()
}

/// Events per second, and the median and the 99th percentile of a publish.
fn publish(
    history: &RedisHistory,
    publishers: usize,
    topics: &[Topic],
) -> (f64, Duration, Duration) {
    let executor = LocalExecutor::new();
    let start = Instant::now();
    let tasks: Vec<_> = (0..publishers)
        .map(|publisher| {
            executor.spawn(async move {
                let mut took = Vec::new();
                let mut in_turn = topics.iter().cycle().skip(publisher);
                while start.elapsed() < RUN {
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
    let mut took = Vec::new();
    block_on(executor.run(async {
        for task in tasks {
            took.extend(task.await);
        }
    }));
    let rate = took.len() as f64 / start.elapsed().as_secs_f64();
    took.sort_unstable();
    (rate, took[took.len() / 2], took[took.len() * 99 / 100])
}

/// Events per second.
fn bare(server: &Server, group: usize, topics: &[Topic]) -> f64 {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let block = format!("data: {TEXT}\n\n");
    let (start, mut stored) = (Instant::now(), 0);
    let mut in_turn = topics.iter().cycle();
    while start.elapsed() < RUN {
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
        let _: Vec<String> = pipeline.query(&mut connection).expect("stored");
        stored += group;
    }
    stored as f64 / start.elapsed().as_secs_f64()
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

    /// What it has used so far. Other work on the machine touches it less than it does the rates.
    fn processor_time(&self) -> Duration {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_connection().expect("a connection");
        let info: String = redis::cmd("INFO")
            .arg("cpu")
            .query(&mut connection)
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
