//! Disks that fail: the power goes, there is no room, the file is not what it was.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fanfare_core::history::{Append, History, HistoryError, Retention, TailItem};
use fanfare_core::{Event, EventId, LastEventId, Record, Topics};
use futures_lite::future::block_on;
use futures_lite::StreamExt;

use crate::{Durability, OpenError, Redb};

/// A disk in memory.
#[derive(Clone, Debug, Default)]
struct Disk {
    file: Arc<Mutex<File>>,
    is_full: Arc<AtomicBool>,
}

/// What a file holds, and what of it would outlive the power.
#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync.
    writes: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().expect("not poisoned")
    }

    fn change(&self, write: Write) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = self.file();
        write.apply(&mut file.now);
        file.writes.push(write);
        Ok(())
    }

    /// The disk after a power failure: of what was not synced, each write is there, is torn, or is
    /// not.
    fn after_power_failure(&self, random: &mut Random) -> Self {
        let file = self.file();
        let mut left = file.synced.clone();
        for write in &file.writes {
            match (random.below(3), write) {
                (0, _) => {}
                (1, Write::Bytes(at, bytes)) => {
                    let sectors = random.below(bytes.len() / 512 + 1);
                    Write::Bytes(*at, bytes[..sectors * 512].to_vec()).apply(&mut left);
                }
                _ => write.apply(&mut left),
            }
        }
        Self::of(left)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.file().synced.clone_from(&bytes);
        disk.file().now = bytes;
        disk
    }

    fn open(&self, durability: Durability) -> Result<Redb, OpenError> {
        let disk = self.clone();
        let open = move || redb::Builder::new().create_with_backend(disk.clone());
        let retention = Retention::new().records(100_000);
        let builder = Redb::builder("a disk in memory").retention(retention);
        builder.durability(durability).open_with(Box::new(open))
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("fits");
        let file = self.file();
        let bytes = file.now.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Write::Length(usize::try_from(len).expect("fits")))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = self.file();
        let File { synced, writes, .. } = &mut *file;
        for write in writes.drain(..) {
            write.apply(synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("fits");
        self.change(Write::Bytes(at, data.to_vec()))
    }
}

/// Tries again and again until there is something, for as long as even a busy machine takes.
#[track_caller]
fn in_time<T>(what: &str, attempt: impl FnMut(u32) -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    let mut tries = (0..).take_while(|_| Instant::now() < until);
    let found = tries.find_map(attempt);
    found.unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn event(text: impl Into<String>) -> Append {
    Append::new("a".into(), &Event::data(text.into()))
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
        let error = in_time("an error", |n| store(format!("full {n}")).err());
        assert!(error.is_retryable(), "{error}");
        disk.is_full.store(false, Ordering::SeqCst);
        let again = in_time("the recovery", |n| store(format!("after {n}")).ok());
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
    let last = in_time("the recovery", |_| {
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
    in_time("a topic to be forgotten", |_| match append("c") {
        Ok(id) => Some(id),
        Err(HistoryError::TooManyTopics { limit: 2 }) => None,
        Err(error) => panic!("{error}"),
    });
}
