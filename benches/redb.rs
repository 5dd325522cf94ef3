//! What a history in a directory costs, beside a bare loop on the same engine: one publisher and 64,
//! with a sync at every publish and at intervals; and what a large log costs to open.
//!
//! Not criterion's: a publish waits for the disk, so that what counts is how many go into one sync.
//! The bare loop makes the same transactions of the same tables with nothing around them, in groups
//! of as many events as there are publishers, and encodes nothing.
//!
//! With an argument, it fills a log of so many records and opens it, anew and after a kill.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use fanfare_benches::{topics, TEXT};
use fanfare_core::history::{Append, History, Retention};
use fanfare_core::{Event, EventId, Topic, Topics};
use fanfare_redb::{Durability, Redb};
use futures_lite::future::block_on;
use redb::{Database, ReadableTable, TableDefinition};

const INTERVAL: Duration = Duration::from_millis(100);
const RUN: Duration = Duration::from_secs(3);
const RECORDS: usize = 1_000;
const TOPICS: usize = 100;

fn main() {
    let records = std::env::args().find_map(|argument| argument.parse().ok());
    match records {
        Some(records) => large(records),
        None => {
            for publishers in [1, 64] {
                for durability in [Durability::EveryPublish, Durability::Interval(INTERVAL)] {
                    let (rate, p50, p99) = history(publishers, durability);
                    let bare = bare(publishers, durability);
                    println!(
                        "{publishers:>2} publishers, {durability:?}: {rate:.0}/s, p50 {p50:?}, \
                         p99 {p99:?}; bare loop {bare:.0}/s; {:.2}",
                        rate / bare
                    );
                }
            }
        }
    }
}

/// Events per second, and the median and the 99th percentile of a publish.
fn history(publishers: usize, durability: Durability) -> (f64, Duration, Duration) {
    let directory = tempfile::tempdir().expect("a directory");
    let builder = Redb::builder(directory.path()).retention(RECORDS);
    let history = builder.durability(durability).open().expect("opens");
    let topics = topics(TOPICS);
    let executor = LocalExecutor::new();
    let start = Instant::now();
    let tasks: Vec<_> = (0..publishers)
        .map(|publisher| {
            let (history, topics) = (&history, &topics);
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

const ORDER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("order");
const INDEX: TableDefinition<'_, (u32, u64), u64> = TableDefinition::new("index");
const TOPIC: TableDefinition<'_, &str, (u32, u64, u64, u64)> = TableDefinition::new("topics");
const META: TableDefinition<'_, (), [u64; 11]> = TableDefinition::new("meta");

/// Events per second, stored in groups and evicted by nothing but the engine's own calls.
fn bare(group: usize, durability: Durability) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let mut builder = redb::Builder::new();
    builder.set_cache_size(32 << 20);
    let database = builder.create(directory.path().join("bare.redb"));
    let database = database.expect("opens");
    let topics = topics(TOPICS);
    let value = format!("a time, a topic and a block {TEXT}\n\n");
    let (start, mut place, mut synced) = (Instant::now(), 0u64, Instant::now());
    let keep = (RECORDS * TOPICS) as u64;
    while start.elapsed() < RUN {
        let is_durable = durability == Durability::EveryPublish || synced.elapsed() >= INTERVAL;
        if is_durable {
            synced = Instant::now();
        }
        commit(
            &database, is_durable, &topics, &mut place, group, &value, keep,
        );
    }
    place as f64 / start.elapsed().as_secs_f64()
}

fn commit(
    database: &Database,
    is_durable: bool,
    topics: &[Topic],
    place: &mut u64,
    group: usize,
    value: &str,
    keep: u64,
) {
    let mut transaction = database.begin_write().expect("begins");
    if is_durable {
        transaction.set_quick_repair(true);
    } else {
        let none = redb::Durability::None;
        transaction.set_durability(none).expect("is allowed");
    }
    {
        let mut order = transaction.open_table(ORDER).expect("opens");
        let mut index = transaction.open_table(INDEX).expect("opens");
        let mut rows = transaction.open_table(TOPIC).expect("opens");
        let mut meta = transaction.open_table(META).expect("opens");
        for _ in 0..group {
            *place += 1;
            let number = (*place % TOPICS as u64) as u32;
            order.insert(*place, value.as_bytes()).expect("stored");
            index.insert((number, *place), 1).expect("stored");
            if *place > keep {
                let mut range = index.range((number, 0)..).expect("read");
                let oldest = range.next().map(|entry| entry.expect("read").0.value());
                drop(range);
                let oldest = oldest.expect("there is one");
                index.remove(oldest).expect("removed");
                order.remove(oldest.1).expect("removed");
            }
            let topic = topics[number as usize].as_str();
            rows.insert(topic, (number, 0, 0, 0)).expect("stored");
        }
        meta.insert((), [*place; 11]).expect("stored");
    }
    transaction.commit().expect("committed");
}

/// A log of so many records, and what it costs to open.
fn large(records: usize) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("log");
    let open = |directory: &Path| {
        let retention = Retention::new().records(records).bytes(usize::MAX);
        let builder = Redb::builder(directory).retention(retention);
        let interval = Durability::Interval(Duration::from_secs(1));
        builder.durability(interval).open().expect("opens")
    };
    let history = open(&directory);
    let topics = topics(TOPICS);
    let executor = LocalExecutor::new();
    let start = Instant::now();
    let tasks: Vec<_> = (0..1_000)
        .map(|publisher| {
            let (history, topics) = (&history, &topics);
            executor.spawn(async move {
                for n in 0..records / 1_000 {
                    let topic = topics[(publisher + n) % TOPICS].clone();
                    let append = Append::new(topic, &Event::data(TEXT));
                    history.append(append).await.expect("stored");
                }
            })
        })
        .collect();
    block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    println!("{records} records stored in {:.1?}", start.elapsed());
    // As a kill leaves it, once what was appended is on disk.
    std::thread::sleep(Duration::from_secs(2));
    let killed = root.path().join("killed");
    fs::create_dir(&killed).expect("made");
    let file = "history.redb";
    fs::copy(directory.join(file), killed.join(file)).expect("copied");
    // What opening it syncs is to be its own.
    let copy = fs::OpenOptions::new().write(true).open(killed.join(file));
    let copy = copy.expect("there");
    copy.sync_all().expect("on disk");
    drop(executor);
    drop(history);
    for (how, directory) in [("closed", &directory), ("killed", &killed)] {
        let start = Instant::now();
        let history = open(directory);
        let opened = start.elapsed();
        let all = Topics::all();
        let none = fanfare_core::LastEventId::none();
        let page = block_on(history.replay(&all, &none, 1)).expect("read");
        let first = page.records[0].id();
        let middle = EventId::new(first.major, first.minor + records as u64 / 2);
        for topics in [&all, &Topics::from("quotes.7"), &Topics::from("*.7")] {
            let start = Instant::now();
            let page = block_on(history.replay(topics, &middle.into(), 100)).expect("read");
            println!(
                "{how}: opened in {opened:.1?}; {} records of {topics} from the middle in {:.1?}",
                page.records.len(),
                start.elapsed()
            );
        }
    }
    let size = fs::metadata(directory.join(file)).expect("there").len() >> 20;
    println!("{size} MiB on disk");
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let most = status.lines().find(|line| line.starts_with("VmHWM"));
        println!("most memory of all of this: {}", most.unwrap_or("?"));
    }
}
