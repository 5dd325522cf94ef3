//! Disks that fail: the power goes, there is no room, the file is not what it was.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fanfare_core::history::{
    Append, BoxFuture, BoxStream, History, HistoryError, Page, Retention, TailItem,
};
use fanfare_core::{Event, EventId, LastEventId, Record, Topic, Topics};
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
    let until = Instant::now() + Duration::from_secs(60);
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
            let publishers = [0, 1, 2].map(|publisher| {
                let (history, answered) = (&history, &answered);
                scope.spawn(move || {
                    for n in 0..30 {
                        let text = format!("{round}/{publisher}/{n}");
                        let id = block_on(history.append(event(&*text))).expect("stored");
                        answered.lock().expect("not poisoned").push((id, text));
                    }
                })
            });
            // The power fails when so many were answered, in the middle of what comes next.
            loop {
                // Looked at first: a publisher that has ended adds no more answers.
                let is_over = publishers.iter().all(ScopedJoinHandle::is_finished);
                let before = answered.lock().expect("not poisoned").clone();
                if before.len() >= enough {
                    return (disk.after_power_failure(&mut random), before);
                }
                assert!(!is_over, "only {} of {enough} were answered", before.len());
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
        let error = in_the_end("an error", || store("full".to_owned()).err());
        assert!(error.is_retryable(), "{error}");
        disk.is_full.store(false, Ordering::SeqCst);
        let again = in_the_end("the recovery", || store("after".to_owned()).ok());
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
    let last = in_the_end("the recovery", || {
        block_on(history.append(event("last"))).ok()
    });
    stored.push(last);
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
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
    in_the_end("a topic to be forgotten", || match append("c") {
        Ok(id) => Some(id),
        Err(HistoryError::TooManyTopics { limit: 2 }) => None,
        Err(error) => panic!("{error}"),
    });
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

#[test]
fn a_read_that_fails_stops_neither_reading_nor_publishing() {
    let disk = Disk::uncached();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    for n in 0..20 {
        append_together(&history, "a", 100);
        disk.is_unreadable.store(true, Ordering::SeqCst);
        let failed = page(&history, "a", &LastEventId::none()).expect_err("it cannot be read");
        assert!(failed.is_retryable(), "{failed}");
        disk.is_unreadable.store(false, Ordering::SeqCst);
        if n % 2 == 0 {
            block_on(history.append(event("x"))).expect("there is nothing wrong any more");
        } else {
            in_the_end("a page", || page(&history, "a", &LastEventId::none()).ok());
        }
    }
}

#[test]
fn a_tail_says_that_the_disk_refuses_and_that_it_takes_again() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let mut tail = history.tail(None);
    assert!(matches!(next_of(&mut tail), TailItem::Start(_)));
    for _ in 0..3 {
        disk.is_full.store(true, Ordering::SeqCst);
        block_on(history.append(event("x"))).expect_err("there is no room");
        let item = next_of(&mut tail);
        assert!(matches!(item, TailItem::Interrupted(_)), "{item:?}");
        disk.is_full.store(false, Ordering::SeqCst);
        // Without anybody's doing.
        let item = next_of(&mut tail);
        assert!(matches!(item, TailItem::Resumed), "{item:?}");
        let id = block_on(history.append(event("x"))).expect("there is room");
        let item = next_of(&mut tail);
        assert!(
            matches!(&item, TailItem::Record(record) if record.id() == id),
            "{item:?}"
        );
    }
}

#[test]
fn what_waits_is_bounded() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let fill = |text: &str| {
        disk.is_held.store(true, Ordering::SeqCst);
        let mut waiting = Vec::new();
        let refused = (0..100_000).find_map(|_| {
            let mut append = history.append(event(text));
            let answered = block_on(poll_once(&mut append));
            if answered.is_none() {
                waiting.push(append);
            }
            answered
        });
        disk.is_held.store(false, Ordering::SeqCst);
        assert!(
            matches!(refused, Some(Err(HistoryError::Unavailable(_)))),
            "{refused:?}"
        );
        let count = waiting.len();
        for append in waiting {
            block_on(append).expect("what waited is stored");
        }
        count
    };
    // Besides what the thread has taken already.
    assert!(fill("x") >= 65_536);
    let large = fill(&"x".repeat(1 << 20));
    assert!((63..90).contains(&large), "{large} of a mebibyte");
}

#[test]
fn a_topic_over_a_lowered_limit_is_trimmed_though_nobody_publishes_to_it() {
    let disk = Disk::default();
    let many = Retention::new().records(100_000);
    let history = disk.open_retaining(many, Durability::EveryPublish);
    let history = history.expect("opens");
    let (old, other) = (
        append_together(&history, "a", 9_000),
        append_together(&history, "b", 500),
    );
    drop(history);
    let few = Retention::new().records(10);
    let history = disk.open_retaining(few, Durability::EveryPublish);
    let history = history.expect("opens");
    in_the_end("ten of each", || (all(&history).len() == 20).then_some(()));
    let left: Vec<_> = all(&history).into_keys().collect();
    assert_eq!(left, [&old[8_990..], &other[490..]].concat());
    let page = page(&history, "a", &old[0].into()).expect("read");
    assert_eq!(page.gap.expect("it was evicted").to, old[8_989]);
}

#[test]
fn what_is_old_goes_though_the_clock_was_ahead() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Redb::open(directory.path()).expect("opens"));
    {
        // As if it had been open while the clock was a year ahead.
        let database = redb::Database::open(directory.path().join("history.redb"));
        let transaction = database.expect("opens").begin_write().expect("begins");
        {
            let mut meta = transaction.open_table(crate::store::META).expect("opens");
            let mut row = meta.get(()).expect("read").expect("there").value();
            row[10] = 4_000_000_000_000;
            meta.insert((), row).expect("written");
        }
        transaction.commit().expect("committed");
    }
    let retention = Retention::new().age(Duration::from_millis(100));
    let builder = Redb::builder(directory.path()).retention(retention);
    let history = builder.open().expect("opens");
    block_on(history.append(event("x"))).expect("stored");
    in_the_end("its end", || all(&history).is_empty().then_some(()));
}

#[test]
fn the_rare_records_of_a_pattern_come_in_one_page() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let mut rare = append_together(&history, "rare.a", 1);
    append_together(&history, "loud", 10_000);
    rare.extend(append_together(&history, "rare.b", 1));
    let last = append_together(&history, "loud", 1)[0];
    let page = page(&history, "rare.*", &LastEventId::none()).expect("read");
    let found: Vec<_> = page.records.iter().map(Record::id).collect();
    assert_eq!((found, page.last), (rare, last));
}

/// Of which there are too many to look their records up by topic.
#[test]
fn the_records_of_a_pattern_that_many_topics_match_are_found_among_all() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let mut expect = Vec::new();
    for round in 0..3 {
        for topic in 0..100 {
            let topic = Topic::new(format!("many.{topic}")).expect("a topic");
            let append = Append::new(topic, &Event::data(round.to_string()));
            expect.push(block_on(history.append(append)).expect("stored"));
        }
        append_together(&history, "loud", 3_000);
    }
    let (mut found, mut last) = (Vec::new(), LastEventId::none());
    loop {
        let page = page(&history, "many.*", &last).expect("read");
        if last.id() == Some(page.last) {
            break;
        }
        found.extend(page.records.iter().map(Record::id));
        last = page.last.into();
    }
    assert_eq!(found, expect);
}

/// A waker that does what a test wishes, once.
struct Once(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Once {
    fn waker(call: impl FnOnce() + Send + 'static) -> Waker {
        Waker::from(Arc::new(Self(Mutex::new(Some(Box::new(call))))))
    }
}

impl Wake for Once {
    fn wake(self: Arc<Self>) {
        let call = self.0.lock().expect("not poisoned").take();
        if let Some(call) = call {
            call();
        }
    }
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let mut tails: Vec<_> = (0..10).map(|_| history.tail(None)).collect();
    for tail in &mut tails {
        assert!(matches!(next_of(tail), TailItem::Start(_)));
        let waker = Once::waker(|| panic!("of a tail"));
        let polled = tail.as_mut().poll_next(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let mut other = history.tail(None);
    assert!(matches!(next_of(&mut other), TailItem::Start(_)));
    let panics = || Once::waker(|| panic!("of who asked"));
    disk.is_held.store(true, Ordering::SeqCst);
    let mut append = history.append(event("x"));
    let waker = panics();
    let polled = append.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    disk.is_held.store(false, Ordering::SeqCst);
    let id = block_on(append).expect("it is stored");
    assert!(matches!(next_of(&mut other), TailItem::Record(record) if record.id() == id));
    for n in 0..20 {
        let (topics, none) = (Topics::all(), LastEventId::none());
        let mut replay = history.replay(&topics, &none, 10);
        let waker = panics();
        let _ = replay.as_mut().poll(&mut Context::from_waker(&waker));
        let page = block_on(history.replay(&topics, &none, 100)).expect("it reads on");
        assert_eq!(page.records.len(), n + 1);
        block_on(history.append(event("x"))).expect("it stores on");
    }
}

/// As when a task has nothing left but its waker.
#[test]
fn a_waker_may_drop_the_history_that_calls_it() {
    let disk = Disk::default();
    let history = disk.open(Durability::EveryPublish).expect("opens");
    let task: BoxFuture<'static, _> = Box::pin(async move { history.append(event("x")).await });
    let task = Arc::new(Mutex::new(Some(task)));
    let (ended, end) = std::sync::mpsc::channel();
    let of_waker = Arc::clone(&task);
    let waker = Once::waker(move || {
        let task = of_waker.lock().expect("not poisoned").take();
        drop(task);
        let _ = ended.send(());
    });
    disk.is_held.store(true, Ordering::SeqCst);
    if let Some(task) = &mut *task.lock().expect("not poisoned") {
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    disk.is_held.store(false, Ordering::SeqCst);
    let ended = end.recv_timeout(Duration::from_secs(20));
    ended.expect("it does not wait for itself");
}
