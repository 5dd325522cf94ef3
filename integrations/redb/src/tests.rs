//! Disks that fail: the power goes, there is no room, the file is not what it was.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::history::{
    Append, BoxFuture, BoxStream, History, HistoryError, Page, Retention, TailItem,
};
use fanfare_core::{Event, EventId, LastEventId, Record, Topics};
use futures_lite::future::{block_on, poll_once};
use futures_lite::StreamExt;
use redb::ReadableTable;

use crate::store::Opening;
use crate::{Durability, OpenError, Redb};
use disk::{Disk, Random};

mod disk;

fn event(text: impl Into<String>) -> Append {
    event_of("a", text)
}

fn event_of(topic: &'static str, text: impl Into<String>) -> Append {
    Append::new(topic.into(), &Event::data(text.into()))
}

/// Appends so many at once.
fn append_together(history: &Redb, topic: &'static str, count: usize) -> Vec<EventId> {
    let append = |n: usize| history.append(event_of(topic, n.to_string()));
    let mut appending: Vec<BoxFuture<'_, _>> = (0..count).map(append).collect();
    let first = |append: &mut BoxFuture<'_, _>| block_on(poll_once(append));
    let answered: Vec<_> = appending.iter_mut().map(first).collect();
    let stored = appending.into_iter().zip(answered);
    stored
        .map(|(append, answered)| answered.unwrap_or_else(|| block_on(append)))
        .collect::<Result<_, _>>()
        .expect("stored")
}

/// What is found in the end.
#[track_caller]
fn in_the_end<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < until, "waited for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn next_of(tail: &mut BoxStream<'_, TailItem>) -> TailItem {
    let item = in_the_end("the tail", || block_on(poll_once(tail.next())));
    item.expect("goes on")
}

fn page(history: &Redb, topics: &'static str, after: &LastEventId) -> Result<Page, HistoryError> {
    block_on(history.replay(&Topics::from(topics), after, 1_000))
}

fn all(history: &Redb) -> BTreeMap<EventId, String> {
    let (mut last, mut all) = (LastEventId::none(), BTreeMap::new());
    loop {
        let page = block_on(history.replay(&Topics::all(), &last, 1_000)).expect("read");
        if page.records.is_empty() {
            return all;
        }
        let text = |record: &Record| record.message().expect("has data").data;
        all.extend(page.records.iter().map(|r| (r.id(), text(r))));
        last = page.last.into();
    }
}

#[test]
fn the_power_may_fail_at_any_time() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut disk = Disk::default();
    let mut acknowledged = BTreeMap::new();
    for round in 0..60 {
        let history = disk.open(Durability::EveryPublish).expect("opens");
        let found = all(&history);
        for (id, text) in &acknowledged {
            assert_eq!(found.get(id), Some(text), "round {round}: {id}");
        }
        let answered = Mutex::new(Vec::new());
        let enough = 1 + random.below(60);
        let (left, survived) = thread::scope(|scope| {
            for publisher in 0..3 {
                let (history, answered) = (&history, &answered);
                scope.spawn(move || {
                    for n in 0..30 {
                        let text = format!("{round}/{publisher}/{n}");
                        let id = block_on(history.append(event(&*text))).expect("stored");
                        answered.lock().expect("not poisoned").push((id, text));
                    }
                });
            }
            // The power fails when so many were answered, in the middle of what comes next.
            loop {
                let before = answered.lock().expect("not poisoned").clone();
                if before.len() >= enough {
                    return (disk.after_power_failure(&mut random), before);
                }
                thread::yield_now();
            }
        });
        for (id, text) in survived {
            assert!(!found.contains_key(&id), "round {round}: {id} is repeated");
            acknowledged.insert(id, text);
        }
        disk = left;
    }
}

#[test]
fn no_place_is_given_twice_however_many_were_given_before_the_power_failed() {
    for durability in [
        Durability::EveryPublish,
        Durability::Interval(Duration::from_millis(5)),
    ] {
        let disk = Disk::default();
        let history = disk.open(durability).expect("opens");
        let given: Vec<_> = (0..7)
            .flat_map(|_| append_together(&history, "a", 10_000))
            .collect();
        let failed = disk.after_power_failure(&mut Random(7));
        let history = failed.open(durability).expect("opens");
        let next = block_on(history.append(event("x"))).expect("stored");
        assert!(Some(&next) > given.last(), "{next} is new");
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    for durability in [
        Durability::EveryPublish,
        Durability::Interval(Duration::from_millis(5)),
    ] {
        let disk = Disk::default();
        let history = disk.open(durability).expect("opens");
        let mut stored = BTreeMap::new();
        let mut store = |text: String| {
            let answer = block_on(history.append(event(&*text)));
            if let Ok(id) = answer {
                let twice = stored.insert(id, text);
                assert_eq!(twice, None, "{id} was handed out twice");
            }
            answer
        };
        for n in 0..50 {
            store(format!("before {n}")).expect("stored");
        }
        disk.is_full.store(true, Ordering::SeqCst);
        // With a sync at intervals, some fit into memory before anybody notices.
        let error = (0..).find_map(|n| store(format!("full {n}")).err());
        let error = error.expect("there is an error in the end");
        assert!(error.is_retryable(), "{error}");
        disk.is_full.store(false, Ordering::SeqCst);
        let again = (0..).find_map(|n| store(format!("after {n}")).ok());
        let again = again.expect("it recovers in the end");
        let found = all(&history);
        assert!(found.contains_key(&again));
        if durability == Durability::EveryPublish {
            for (id, text) in &stored {
                assert_eq!(found.get(id), Some(text));
            }
        } else {
            // What was answered and not synced may be missing; whoever was there is told.
            let lost: Vec<_> = stored.keys().filter(|id| !found.contains_key(id)).collect();
            for id in lost {
                let page = block_on(history.replay(&Topics::all(), &(*id).into(), 1));
                assert!(page.expect("read").gap.is_some(), "{id} is missing");
            }
        }
    }
}

#[test]
fn a_tail_outlives_a_full_disk() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let mut tail = history.tail(None);
    let is_start = matches!(block_on(tail.next()), Some(TailItem::Start(_)));
    assert!(is_start, "it says where it starts");
    let mut stored = Vec::new();
    for n in 0..30 {
        disk.is_full.store(n % 10 == 5, Ordering::SeqCst);
        stored.extend(block_on(history.append(event(n.to_string()))));
        disk.is_full.store(false, Ordering::SeqCst);
    }
    let last = (0..).find_map(|_| block_on(history.append(event("last"))).ok());
    stored.extend(last);
    let mut seen = Vec::new();
    while seen.last() != last.as_ref() {
        match block_on(tail.next()).expect("goes on") {
            TailItem::Record(record) => seen.push(record.id()),
            TailItem::Interrupted(_) | TailItem::Resumed => {}
            other => panic!("nothing is missing, and yet: {other:?}"),
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "in order");
    assert!(stored.iter().all(|id| seen.contains(id)), "every one");
}

#[test]
fn one_history_has_a_directory_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = Redb::open(directory.path()).expect("opens");
    let second = Redb::open(directory.path());
    assert!(matches!(second, Err(OpenError::Locked)), "{second:?}");
    first.close();
    first.close();
    Redb::open(directory.path()).expect("opens when the first is closed");
}

#[test]
fn what_is_no_history_is_said_to_be_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history.redb");
    fs::write(&file, "no history").expect("written");
    let opened = Redb::open(directory.path());
    assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
    fs::remove_file(&file).expect("removed");

    let history = Redb::open(directory.path()).expect("opens");
    for n in 0..200 {
        block_on(history.append(event(n.to_string()))).expect("stored");
    }
    drop(history);
    let whole = fs::read(&file).expect("read");
    for part in [1, 100, 4_096, whole.len() / 2] {
        fs::write(&file, &whole[..part]).expect("written");
        let opened = Redb::open(directory.path());
        let is_damaged = matches!(opened, Err(OpenError::Damaged(_)));
        assert!(is_damaged, "cut after {part} bytes: {opened:?}");
    }
    fs::write(&file, whole).expect("written");
    Redb::open(directory.path()).expect("opens");

    let in_a_file = Redb::open(file.join("below"));
    assert!(matches!(in_a_file, Err(OpenError::Io(_))), "{in_a_file:?}");
}

#[test]
fn topics_are_limited_and_forgotten_when_they_are_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let retention = Retention::new().age(Duration::from_millis(100));
    let builder = Redb::builder(directory.path()).retention(retention);
    let history = builder.max_topics(2).open().expect("opens");
    let append = |topic: &'static str| {
        block_on(history.append(Append::new(topic.into(), &Event::data("x"))))
    };
    append("a").expect("stored");
    append("b").expect("stored");
    // As soon as one of them is old; before, there are too many.
    let third = (0..).find_map(|_| match append("c") {
        Ok(id) => Some(id),
        Err(HistoryError::TooManyTopics { limit: 2 }) => None,
        Err(error) => panic!("{error}"),
    });
    assert!(third.is_some());
}

/// While a file could not be used, somebody has put another in its place.
#[test]
fn another_file_is_not_taken_for_the_one_that_failed() {
    let other = Disk::default();
    let history = other.open(Durability::EveryPublish).expect("opens");
    append_together(&history, "a", 20);
    drop(history);

    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    append_together(&history, "a", 10);
    let older = disk.content();
    for foreign in [Vec::new(), other.content(), older] {
        let stored = append_together(&history, "a", 10);
        disk.is_full.store(true, Ordering::SeqCst);
        block_on(history.append(event("full"))).expect_err("there is no room");
        let whole = disk.content();
        disk.replace(foreign);
        disk.is_full.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            let refused = block_on(history.append(event("x"))).expect_err("it is another");
            assert!(!refused.is_retryable(), "{refused}");
        }
        disk.replace(whole);
        let next = block_on(history.append(event("next"))).expect("it is back");
        assert!(Some(&next) > stored.last(), "{next} is new");
        let found = all(&history);
        assert!(stored.iter().all(|id| found.contains_key(id)));
    }
}

#[test]
fn a_file_that_is_gone_is_not_made_anew_when_it_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history.redb");
    let open = crate::builder::opener(file.clone(), 1 << 20);
    open(Opening::Again).expect_err("there is none");
    assert!(!file.exists());
    fs::write(&file, "").expect("written");
    open(Opening::Again).expect_err("it is empty");
    drop(open(Opening::First).expect("it is made"));
    open(Opening::Again).expect("it is there");
}
