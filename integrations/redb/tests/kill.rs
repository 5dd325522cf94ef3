//! A process is killed while it publishes, again and again: what it acknowledged is there, in order,
//! once; no id is ever handed out again.
//!
//! The publisher is this program again, which runs [`publisher`] alone. With a sync at every
//! publish, it is killed 50 times in the middle of 10,000 publishes. With a sync at intervals, what
//! it acknowledged last may be missing, and then a returning client is told.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use fanfare_core::history::{Append, History, Retention};
use fanfare_core::{Event, EventId, GapReason, LastEventId, Record, Topics};
use fanfare_redb::{Durability, Redb};
use futures_lite::future::block_on;

const PUBLISHES: usize = 10_000;
const PUBLISHERS: usize = 8;
const INTERVAL: Durability = Durability::Interval(Duration::from_millis(30));

/// What the publisher is told: the directory, the durability and the round.
const TOLD: [&str; 3] = ["KILL_DIRECTORY", "KILL_DURABILITY", "KILL_ROUND"];

/// The publisher, which nobody has told anything when all tests run: then there is nothing to do.
#[test]
fn publisher() {
    if let [Ok(directory), Ok(durability), Ok(round)] = TOLD.map(env::var) {
        publish(Path::new(&directory), durability_of(&durability), &round);
    }
}

fn durability_of(word: &str) -> Durability {
    match word {
        "interval" => INTERVAL,
        _ => Durability::EveryPublish,
    }
}

fn open(directory: &Path, durability: Durability) -> Redb {
    let retention = Retention::new().records(10_000_000).bytes(usize::MAX);
    let builder = Redb::builder(directory).retention(retention);
    builder.durability(durability).open().expect("opens")
}

/// The child: publishes, and writes the id and the text of each that was acknowledged.
fn publish(directory: &Path, durability: Durability, round: &str) {
    let history = open(directory, durability);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let history = &history;
            scope.spawn(move || {
                for n in 0..PUBLISHES / PUBLISHERS {
                    let text = format!("{round}/{publisher}/{n}");
                    let topic = ["a", "b.c", "b.d"][n % 3].into();
                    let append = Append::new(topic, &Event::data(text.clone()));
                    let id = block_on(history.append(append)).expect("stored");
                    let line = format!("{id} {text}\n");
                    // The harness has standard output for itself.
                    let written = io::stderr().write_all(line.as_bytes());
                    written.expect("the parent reads");
                }
            });
        }
    });
}

/// Runs a child, kills it after so many acknowledgements, and returns all that it wrote.
fn kill_after(
    acknowledged: usize,
    directory: &Path,
    durability: &str,
    round: usize,
) -> BTreeMap<EventId, String> {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "publisher", "--nocapture"])
        .env(TOLD[0], directory)
        .env(TOLD[1], durability)
        .env(TOLD[2], round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let out = BufReader::new(child.stderr.take().expect("piped"));
    let mut seen = BTreeMap::new();
    for line in out.lines() {
        let line = line.expect("text");
        let (id, text) = line.split_once(' ').expect("an id and a text");
        let id = id.parse().expect("an id");
        let twice = seen.insert(id, text.to_owned());
        assert_eq!(twice, None, "{id} was acknowledged twice");
        if seen.len() == acknowledged {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    assert!(
        (acknowledged..PUBLISHES).contains(&seen.len()),
        "killed in the middle, after {} of {PUBLISHES}",
        seen.len()
    );
    seen
}

fn records_after(history: &Redb, after: Option<EventId>) -> Vec<Record> {
    let mut last = after.map_or_else(LastEventId::none, LastEventId::from);
    let mut all = Vec::new();
    loop {
        let page = block_on(history.replay(&Topics::all(), &last, 4_000)).expect("read");
        if page.records.is_empty() {
            return all;
        }
        all.extend(page.records);
        last = page.last.into();
    }
}

fn text_of(record: &Record) -> String {
    record.message().expect("has data").data
}

/// So many that no two rounds are alike, the same in every run.
fn sizes() -> impl Iterator<Item = usize> {
    (1usize..).map(|n| 1 + n * 7_919 % 6_000)
}

#[test]
fn every_acknowledged_id_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut newest = None;
    let mut texts = std::collections::HashSet::new();
    for (round, size) in (0..50).zip(sizes()) {
        let acknowledged = kill_after(size, directory.path(), "every", round);
        let first = acknowledged.keys().next().copied();
        assert!(
            first > newest,
            "{first:?} repeats what was before {newest:?}"
        );
        let history = open(directory.path(), Durability::EveryPublish);
        let records = records_after(&history, newest);
        let order: Vec<_> = records.iter().map(Record::id).collect();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "in order");
        let stored: BTreeMap<_, _> = records.iter().map(|r| (r.id(), text_of(r))).collect();
        for (id, text) in &acknowledged {
            assert_eq!(stored.get(id), Some(text), "{id} was acknowledged");
        }
        for text in stored.values() {
            assert!(texts.insert(text.clone()), "{text} is stored twice");
        }
        newest = order.last().copied().max(newest);
        // Nobody who was there misses anything, and nobody is told so.
        for id in [first, newest].into_iter().flatten() {
            let page = block_on(history.replay(&Topics::all(), &id.into(), 1)).expect("read");
            assert_eq!(page.gap, None, "after {id}");
        }
    }
    let history = open(directory.path(), Durability::EveryPublish);
    let all = records_after(&history, None);
    assert_eq!(all.len(), texts.len(), "all of all rounds");
}

#[test]
fn what_is_missing_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut newest = None;
    for (round, size) in (0..10).zip(sizes()) {
        let acknowledged = kill_after(size, directory.path(), "interval", round);
        let first = acknowledged.keys().next().copied();
        assert!(
            first > newest,
            "{first:?} repeats what was before {newest:?}"
        );
        let history = open(directory.path(), INTERVAL);
        let stored: BTreeMap<_, _> = records_after(&history, newest)
            .iter()
            .map(|record| (record.id(), text_of(record)))
            .collect();
        // What is there is the beginning of what was acknowledged, without a hole.
        let last_stored = stored.keys().next_back().copied();
        for (id, text) in acknowledged
            .iter()
            .take_while(|(id, _)| Some(**id) <= last_stored)
        {
            assert_eq!(
                stored.get(id),
                Some(text),
                "{id} is before the last that is stored"
            );
        }
        for id in acknowledged.keys() {
            let last = (*id).into();
            let page = block_on(history.replay(&Topics::all(), &last, 1)).expect("read");
            let gap = page.gap.expect("something may be missing");
            assert_eq!(gap.reason, GapReason::Expired);
            assert!(gap.to >= *id);
        }
        let next = Append::new("a".into(), &Event::data(format!("{round}/next")));
        let next = block_on(history.append(next)).expect("stored");
        assert!(Some(&next) > acknowledged.keys().next_back(), "a new id");
        newest = Some(next);
    }
}
