//! [`Memory`]: the bounded window that is always there, in front of any backend.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::log::Log;
use super::tail::{MemoryTail, TailItem};
use super::view::{self, Batch, View};
use super::{Append, BoxFuture, BoxStream, History, HistoryError, Page, Retention};
use crate::gap::{Gap, GapReason};
use crate::id::{EventId, LastEventId};
use crate::record::{Draft, Record};
use crate::sync::Mutex;
use crate::timer::{ThreadTimer, Timer};
use crate::topic::{Topic, Topics};
use crate::wait::Sleeper;

/// The largest batch that several records are joined to, in bytes.
const MAX_BATCH: usize = 32 * 1024;

/// The most bytes of one page, but for a single record that is larger.
const MAX_PAGE: usize = 4 << 20;

/// The log in memory: one order, a bounded window per topic.
///
/// A [`Broadcaster`](crate::Broadcaster) owns one; on its own it is the smallest [`History`].
/// Places are sequence numbers from 1 within an epoch that starts with it.
#[derive(Debug)]
pub struct Memory {
    epoch: u64,
    limits: Limits,
    timer: Arc<dyn Timer>,
    log: Mutex<Log>,
}

/// What a log may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of each topic.
    pub(crate) retention: Retention,
    /// How many topics.
    pub(crate) topics: usize,
    /// How many bytes in all.
    pub(crate) bytes: usize,
}

impl Limits {
    /// What a careful operator would choose, but for the retention; see the builder.
    pub(crate) const fn new(retention: Retention) -> Self {
        Self {
            retention,
            topics: 16_384,
            bytes: 256 << 20,
        }
    }
}

/// What a cursor gets when no batch was there for it.
pub(crate) enum Fill {
    Batch(Batch),
    /// Retention has evicted records that the cursor had not been told of.
    Evicted,
    /// There is nothing for it up to here, and more to look at.
    Skipped(u64),
    /// There is nothing left up to the tail that is given.
    Nothing(u64),
}

/// Where a cursor is to begin.
#[derive(Clone, Debug)]
pub(crate) enum Begin {
    /// At the tail.
    Now,
    /// With everything that is left.
    Oldest,
    /// Strictly after the place that a client says it stopped at.
    After(LastEventId),
}

/// Where a cursor begins.
pub(crate) struct Start {
    pub(crate) view: Arc<View>,
    /// It has everything up to here, ...
    pub(crate) place: u64,
    /// ... but for holes that it is told of, up to here.
    pub(crate) told: u64,
    pub(crate) gap: Option<Gap>,
}

impl Memory {
    /// An empty log, in an epoch later than every earlier one.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self::with(Limits::new(retention), Arc::new(ThreadTimer))
    }

    pub(crate) fn with(limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self {
            epoch: new_epoch(),
            limits,
            timer,
            log: Mutex::default(),
        }
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(crate) fn age(&self) -> Option<Duration> {
        self.limits.retention.age
    }

    pub(crate) fn id(&self, place: u64) -> EventId {
        EventId::new(self.epoch, place)
    }

    /// Appends an encoded event and wakes those who follow its topic.
    pub(crate) fn append_draft(
        &self,
        topic: &Topic,
        key: Option<&str>,
        draft: Draft,
    ) -> Result<EventId, HistoryError> {
        self.append_with(topic, key, |id| draft.seal(id))
    }

    fn append_with(
        &self,
        topic: &Topic,
        key: Option<&str>,
        seal: impl FnOnce(EventId) -> Bytes,
    ) -> Result<EventId, HistoryError> {
        let now = self.age().map(|_| self.timer.now());
        let mut log = self.log.lock();
        if log.closed {
            return Err(HistoryError::Closed);
        }
        if let Some(stored) = key.and_then(|key| log.keys.get(key)) {
            return Ok(self.id(stored));
        }
        self.expire(&mut log, now);
        if !log.make_room(topic, &self.limits) {
            return Err(HistoryError::TooManyTopics {
                limit: self.limits.topics,
            });
        }
        let place = log.last + 1;
        let id = self.id(place);
        if let Some(key) = key {
            log.keys.insert(key, place);
        }
        let views = log.push(topic, place, now, seal(id), &self.limits);
        // Wake after the unlock: whoever wakes reads the log next.
        drop(log);
        view::wake(&views, &*self.timer);
        Ok(id)
    }

    /// Evicts what is too old.
    fn expire(&self, log: &mut Log, now: Option<Instant>) {
        let limits = now.zip(self.age());
        if let Some(before) = limits.and_then(|(now, age)| now.checked_sub(age)) {
            log.expire(before);
        }
    }

    /// Where a cursor over `topics` begins.
    pub(crate) fn start(&self, topics: Topics, begin: &Begin) -> Result<Start, HistoryError> {
        let now = self.age().map(|_| self.timer.now());
        let mut log = self.log.lock();
        if log.closed {
            return Err(HistoryError::Closed);
        }
        self.expire(&mut log, now);
        let view = log.join(topics);
        let (place, told, gap) = match begin {
            Begin::Now => (view.tail(), 0, None),
            Begin::Oldest => self.oldest(&log, view.topics(), view.evicted()),
            Begin::After(last) => self.judge(last, log.last, view.evicted()),
        };
        // Nothing of this view lies between its tail and a later place: cursors that mean the
        // same stand at the same number, and so share what they are sent.
        let place = place.min(view.tail());
        Ok(Start {
            view,
            place,
            told,
            gap,
        })
    }

    /// The beginning of what is left, for a client that has seen nothing: a hole only if there
    /// are records in front of it, as a quiet topic's may be before a loud one's.
    fn oldest(&self, log: &Log, topics: &Topics, evicted: u64) -> (u64, u64, Option<Gap>) {
        let has_hole = log.oldest(topics).is_some_and(|oldest| oldest < evicted);
        let gap = has_hole.then(|| Gap::new(GapReason::Expired, None, self.id(evicted)));
        (0, evicted, gap)
    }

    /// What a client that stopped at `after` has, and what it must be told: its place, the
    /// holes up to where it is told of, and how.
    fn judge(&self, after: &LastEventId, last: u64, evicted: u64) -> (u64, u64, Option<Gap>) {
        let told = |reason, place: u64| {
            let gap = Gap::new(reason, after.as_str(), self.id(evicted));
            (place, evicted, Some(gap))
        };
        match after.id() {
            None => told(GapReason::Unparsable, 0),
            Some(id) if id.major != self.epoch => told(GapReason::Epoch, 0),
            Some(id) if id.minor > last => told(GapReason::Ahead, 0),
            Some(id) if id.minor < evicted => told(GapReason::Expired, id.minor),
            Some(id) => (id.minor, 0, None),
        }
    }

    /// The counterpart of [`start`](Self::start): the last to leave a view takes it down.
    pub(crate) fn leave(&self, view: &Arc<View>, sleeper: &mut Sleeper) {
        view.waiters().leave(sleeper);
        let mut log = self.log.lock();
        let gone = log.leave(view);
        drop(log);
        drop(gone);
    }

    /// What comes after `place` for a cursor over `view` that was told of holes up to `told`.
    pub(crate) fn fill(&self, view: &View, place: u64, told: u64) -> Fill {
        let log = self.log.lock();
        let evicted = view.evicted();
        if evicted > place.max(told) {
            return Fill::Evicted;
        }
        let mut pending = log.after(view.topics(), place);
        let Some((first, _, bytes)) = pending.next() else {
            return pending
                .stopped_at()
                .map_or_else(|| Fill::Nothing(view.tail()), Fill::Skipped);
        };
        let is_whole = evicted <= place && told <= place;
        let batch = |to, records, bytes| {
            Fill::Batch(Batch {
                from: place,
                to,
                is_whole,
                records,
                bytes,
            })
        };
        let Some(second) = pending.next() else {
            return batch(first, 1, bytes.clone());
        };
        // More than one: joined, so that each framework is handed one piece.
        let mut size = bytes.len();
        let mut picked = vec![(first, bytes)];
        let mut next = Some(second);
        while let Some((place_of_next, _, bytes)) = next {
            size += bytes.len();
            if size > MAX_BATCH {
                cut_where_others_cut(&mut picked, place);
                break;
            }
            picked.push((place_of_next, bytes));
            next = pending.next();
        }
        let to = picked.last().map_or(place, |(place, _)| *place);
        if let [(_, only)] = picked[..] {
            return batch(to, 1, only.clone());
        }
        let mut joined = Vec::with_capacity(picked.iter().map(|(_, bytes)| bytes.len()).sum());
        for (_, bytes) in &picked {
            joined.extend_from_slice(bytes);
        }
        batch(to, picked.len() as u64, joined.into())
    }

    /// At most `limit` records of `topics` after `after`; from the oldest if it names no place.
    pub(crate) fn page(&self, topics: &Topics, after: &LastEventId, limit: usize) -> Page {
        let now = self.age().map(|_| self.timer.now());
        let mut log = self.log.lock();
        self.expire(&mut log, now);
        let evicted = log.evicted(topics);
        let (place, _, gap) = if after.is_none() {
            self.oldest(&log, topics, evicted)
        } else {
            self.judge(after, log.last, evicted)
        };
        let (records, last) = self.read(&log, topics, place, limit);
        Page {
            gap,
            records,
            last: self.id(last),
        }
    }

    /// What a reader of everything finds after a place: records, the place up to which those are
    /// all, the newest evicted place, and whether the log is closed.
    pub(super) fn read_all(&self, place: u64, limit: usize) -> (Vec<Record>, u64, u64, bool) {
        let log = self.log.lock();
        let evicted = log.evicted(&Topics::all());
        let (records, last) = self.read(&log, &Topics::all(), place.max(evicted), limit);
        (records, last, evicted, log.closed)
    }

    /// At most `limit` records after a place, and the place up to which those are all.
    fn read(&self, log: &Log, topics: &Topics, place: u64, limit: usize) -> (Vec<Record>, u64) {
        let mut pending = log.after(topics, place);
        let mut records = Vec::new();
        let mut size = 0;
        loop {
            let Some((next, topic, bytes)) = pending.next() else {
                return (records, pending.stopped_at().unwrap_or(log.last));
            };
            if records.len() >= limit || size >= MAX_PAGE {
                let last = records
                    .last()
                    .map_or(place, |record: &Record| record.id().minor);
                return (records, last);
            }
            size += bytes.len();
            records.push(Record::new(self.id(next), topic.clone(), bytes.clone()));
        }
    }

    pub(crate) fn last(&self) -> EventId {
        self.id(self.log.lock().last)
    }

    /// Refuses everything from now on; wakes nobody. `false`: it was closed already.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.log.lock().closed, true)
    }

    /// Wakes every subscriber.
    pub(crate) fn wake_all(&self) {
        let views: Vec<_> = self.log.lock().views().cloned().collect();
        for view in views {
            view.waiters().wake_all();
        }
    }

    /// Evicts what is too old and lets go of batches. Returns whether a later call can have
    /// anything to do.
    pub(crate) fn sweep(&self) -> bool {
        let now = self.timer.now();
        let mut log = self.log.lock();
        self.expire(&mut log, Some(now));
        for view in log.views() {
            view.forget_batches();
        }
        self.age().is_some() && !log.is_empty()
    }

    pub(crate) fn has_subscribers(&self, topic: &Topic) -> bool {
        self.log.lock().has_subscribers(topic)
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let log = self.log.lock();
        let topics = log.windows().map(|(topic, window)| {
            let ends = window.ends();
            let stats = TopicStats {
                records: window.len(),
                bytes: window.bytes(),
                oldest: ends.map(|(oldest, _)| self.id(oldest)),
                newest: ends.map(|(_, newest)| self.id(newest)),
                subscribers: window.subscribers(),
            };
            (topic.clone(), stats)
        });
        let (delivered, delivered_bytes) = log.delivered();
        MemoryStats {
            topics: topics.collect(),
            last: self.id(log.last),
            published: log.last,
            delivered,
            delivered_bytes,
        }
    }
}

/// Ends a full batch at the roundest place it covers, so that cursors which began at different
/// places soon stand at the same one and share every batch from there.
fn cut_where_others_cut(picked: &mut Vec<(u64, &Bytes)>, from: u64) {
    let Some((last, _)) = picked.last().copied() else {
        return;
    };
    // The number in `from + 1 ..= last` with the most trailing zeros: what both begin with,
    // then the first bit in which they differ, then zeros.
    let differ = (from ^ last).max(1).ilog2();
    let roundest = last >> differ << differ;
    let keep = picked.partition_point(|(place, _)| *place <= roundest);
    if keep > 0 {
        picked.truncate(keep);
    }
}

/// An epoch later than every earlier one: the microseconds since 1970, and one more than the
/// last that this process has started.
fn new_epoch() -> u64 {
    // Not the model-checked kind: it is one for all runs of a model.
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = since_1970.unwrap_or(Duration::ZERO).as_micros();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let later = |last: u64| now.max(last.saturating_add(1));
    match LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(later(last))
    }) {
        Ok(last) | Err(last) => later(last),
    }
}

/// What the log holds now.
#[derive(Debug)]
pub(crate) struct MemoryStats {
    pub(crate) topics: Vec<(Topic, TopicStats)>,
    pub(crate) last: EventId,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) delivered_bytes: u64,
}

/// What the log holds of one topic now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// How many records.
    pub records: usize,
    /// Their encoded size, in bytes.
    pub bytes: usize,
    /// The oldest record that is left.
    pub oldest: Option<EventId>,
    /// The newest record that is left.
    pub newest: Option<EventId>,
    /// How many subscribers follow the topic.
    pub subscribers: usize,
}

impl History for Memory {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async move {
            let seal = |id| Record::from_block(id, append.topic().clone(), append.block());
            self.append_with(append.topic(), append.chosen_key(), |id| {
                seal(id).bytes().clone()
            })
        })
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        Box::pin(async move { Ok(self.page(topics, after, limit)) })
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        let begin = after.map_or(Begin::Now, |id| Begin::After(id.into()));
        Box::pin(MemoryTail::new(self, &begin))
    }
}
