//! [`Memory`]: the bounded window that is always there, in front of any backend.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::log::{Log, BASE};
use super::tail::{MemoryTail, TailItem};
use super::view::{self, Batch, View};
use super::{Append, BoxFuture, BoxStream, History, HistoryError, Page, Retention, MAX_PAGE_BYTES};
use crate::gap::{Gap, GapReason};
use crate::id::{EventId, LastEventId};
use crate::record::{Draft, Record};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::timer::{ThreadTimer, Timer};
use crate::topic::{Topic, Topics};
use crate::wait::Sleeper;

/// The largest batch that several records are joined to, in bytes.
pub(crate) const MAX_BATCH: usize = 32 * 1024;

/// The log in memory: one order, a bounded window per topic.
///
/// A [`Broadcaster`](crate::Broadcaster) owns one; on its own it is the smallest [`History`].
/// Places are sequence numbers from 1 within an epoch that starts with it.
#[derive(Debug)]
pub struct Memory {
    /// Of the ids that it assigns; `None` if a backend assigns them, and feeds it.
    epoch: Option<u64>,
    limits: Limits,
    timer: Arc<dyn Timer>,
    log: Mutex<Log>,
    /// How often a backend's log has started anew.
    lives: AtomicU64,
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
    /// The id of its place.
    pub(crate) at: EventId,
    /// Whether it begins with what comes from now on.
    pub(crate) is_live: bool,
    /// What it is to read from the backend first: what comes after this.
    pub(crate) behind: Option<LastEventId>,
    /// In this life of the backend's log.
    pub(crate) life: u64,
}

/// Where a cursor that has read from the backend goes on.
pub(crate) struct Joined {
    pub(crate) place: u64,
    /// It has everything up to this id, which is not here yet.
    pub(crate) skip: Option<EventId>,
    /// In this life of the log.
    pub(crate) life: u64,
}

impl Memory {
    /// An empty log, in an epoch later than every earlier one.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self::with(Limits::new(retention), Arc::new(ThreadTimer))
    }

    pub(crate) fn with(limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self::of(Some(new_epoch()), limits, timer)
    }

    /// The window in front of a backend, which assigns the ids.
    pub(crate) fn in_front(limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self::of(None, limits, timer)
    }

    fn of(epoch: Option<u64>, limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self {
            epoch,
            limits,
            timer,
            log: Mutex::new(Log::new(epoch)),
            lives: AtomicU64::new(0),
        }
    }

    /// The id at a place of a record that is here.
    pub(super) fn id_of(&self, place: u64) -> EventId {
        self.log.lock().id(place)
    }

    /// How often the backend's log has started anew: what was read from one life says nothing of
    /// the next.
    pub(crate) fn life(&self) -> u64 {
        self.lives.load(Ordering::Acquire)
    }

    /// Whether a backend has said where its log stands; always, if there is none.
    pub(crate) fn has_begun(&self) -> bool {
        self.epoch.is_some() || self.life() > 0
    }

    /// The backend's log continues after this place, and what is here does not connect to it. Wakes
    /// nobody.
    pub(crate) fn restart(&self, id: EventId) {
        let mut log = self.log.lock();
        log.restart(id);
        // Before anybody can read the log: a cursor that finds the new life's places has to see
        // that it is one.
        self.lives.fetch_add(1, Ordering::Release);
    }

    /// Takes the next records of the backend's log and wakes those who follow their topics.
    pub(crate) fn feed(&self, records: &[Record]) {
        let now = self.age().map(|_| self.timer.now());
        let mut log = self.log.lock();
        self.expire(&mut log, now);
        let mut followers: Vec<Arc<View>> = Vec::new();
        for record in records {
            // What a backend brings twice is there already.
            if record.id() <= log.last_id() {
                continue;
            }
            let views = log.feed(record, now, &self.limits);
            followers.extend(views.iter().cloned());
        }
        drop(log);
        // Each once, however many of the records are for it.
        followers.sort_unstable_by_key(Arc::as_ptr);
        followers.dedup_by(|one, other| Arc::ptr_eq(one, other));
        view::wake(&Arc::new(followers), &*self.timer);
    }

    /// Where a cursor goes on that has everything of a view up to an id, by what the backend said
    /// in this life; `None`: more is missing here.
    pub(crate) fn join(&self, view: &View, id: EventId, life: u64) -> Option<Joined> {
        let log = self.log.lock();
        if !self.has_begun() || life != self.life() {
            return None;
        }
        if id >= log.last_id() {
            let skip = (id > log.last_id()).then_some(id);
            let place = view.tail();
            return Some(Joined { place, skip, life });
        }
        let (place, evicted) = (log.place_of(id), view.evicted());
        // What the log knows to be gone may be of topics that are none of this view's.
        let is_here = place >= evicted || id >= log.evicted(view.topics()).id;
        is_here.then(|| Joined {
            place: place.max(evicted).min(view.tail()),
            skip: None,
            life,
        })
    }

    /// Where a client stopped, if that is still here: the place of its id.
    fn find(&self, log: &Log, topics: &Topics, id: EventId) -> Option<u64> {
        if !self.has_begun() {
            return None;
        }
        let place = log.place_of(id);
        let evicted = log.evicted(topics);
        // Only what is certainly of this log: the backend judges all else.
        let is_known = id == log.last_id() || id == evicted.id || log.id(place) == id;
        (is_known && id >= evicted.id).then_some(place.max(evicted.place))
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(crate) fn age(&self) -> Option<Duration> {
        self.limits.retention.age
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
            return Ok(log.id(stored));
        }
        self.expire(&mut log, now);
        if !log.make_room(topic, &self.limits) {
            return Err(HistoryError::TooManyTopics {
                limit: self.limits.topics,
            });
        }
        let place = log.last + 1;
        let id = log.id(place);
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
        let is_fed = self.epoch.is_none();
        let mut behind = None;
        let (place, told, gap) = match begin {
            Begin::Now => (view.tail(), 0, None),
            Begin::Oldest if is_fed => {
                behind = Some(LastEventId::none());
                (0, 0, None)
            }
            Begin::After(last) if is_fed => {
                let known = last.id().and_then(|id| self.find(&log, view.topics(), id));
                behind = known.is_none().then(|| last.clone());
                (known.unwrap_or(0), 0, None)
            }
            Begin::Oldest => Self::oldest(&log, view.topics()),
            Begin::After(last) => self.judge(&log, view.topics(), last),
        };
        // Nothing of this view lies between its tail and a later place: cursors that mean the
        // same stand at the same number, and so share what they are sent.
        let place = place.min(view.tail());
        let at = match begin {
            Begin::Now if is_fed => log.last_id(),
            Begin::After(last) if is_fed => last.id().unwrap_or_else(|| log.before_all()),
            _ => log.id(place),
        };
        Ok(Start {
            view,
            place,
            told,
            gap,
            at,
            is_live: matches!(begin, Begin::Now),
            behind,
            life: self.life(),
        })
    }

    /// The beginning of what is left, for a client that has seen nothing: a hole only if there
    /// are records in front of it, as a quiet topic's may be before a loud one's.
    fn oldest(log: &Log, topics: &Topics) -> (u64, u64, Option<Gap>) {
        let evicted = log.evicted(topics);
        let has_hole = log
            .oldest(topics)
            .is_some_and(|oldest| oldest < evicted.place);
        let gap = has_hole.then(|| Gap::new(GapReason::Expired, None, evicted.id));
        (0, evicted.place, gap)
    }

    /// What a client that stopped at `after` has, and what it must be told: its place, the
    /// holes up to where it is told of, and how.
    fn judge(&self, log: &Log, topics: &Topics, after: &LastEventId) -> (u64, u64, Option<Gap>) {
        let evicted = log.evicted(topics);
        let told = |reason, place: u64| {
            let gap = Gap::new(reason, after.as_str(), evicted.id);
            (place, evicted.place, Some(gap))
        };
        match after.id() {
            None => told(GapReason::Unparsable, 0),
            Some(id) if Some(id.major) != self.epoch => told(GapReason::Epoch, 0),
            Some(id) if id.minor > log.last => told(GapReason::Ahead, 0),
            Some(id) if id.minor < evicted.place => told(GapReason::Expired, id.minor),
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
                last: log.id(to),
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

    /// The end of a view, and the id after which it is complete.
    pub(crate) fn latest(&self, view: &View) -> (u64, EventId) {
        let log = self.log.lock();
        let tail = view.tail();
        (tail, log.id(tail))
    }

    /// The newest place of a view that is gone, and its id.
    pub(crate) fn newest_evicted(&self, view: &View) -> (u64, EventId) {
        let log = self.log.lock();
        let evicted = view.evicted();
        let id = match self.epoch {
            Some(_) => log.id(evicted),
            None => log.evicted(view.topics()).id,
        };
        (evicted, id)
    }

    /// Where a cursor begins that was opened before the backend had been heard of, once it has.
    pub(crate) fn base(&self) -> (u64, EventId) {
        (BASE, self.log.lock().before_all())
    }

    /// At most `limit` records of `topics` after `after`; from the oldest if it names no place.
    pub(crate) fn page(&self, topics: &Topics, after: &LastEventId, limit: usize) -> Page {
        let now = self.age().map(|_| self.timer.now());
        let mut log = self.log.lock();
        self.expire(&mut log, now);
        let (place, _, gap) = if after.is_none() {
            Self::oldest(&log, topics)
        } else {
            self.judge(&log, topics, after)
        };
        let (records, last) = Self::read(&log, topics, place, limit);
        Page { gap, records, last }
    }

    /// The same of a log that a backend feeds, if all of it is here; else the backend has it.
    pub(crate) fn page_if_here(
        &self,
        topics: &Topics,
        after: &LastEventId,
        limit: usize,
    ) -> Option<Page> {
        let log = self.log.lock();
        let place = self.find(&log, topics, after.id()?)?;
        let (records, last) = Self::read(&log, topics, place, limit);
        Some(Page::new(None, records, last))
    }

    /// What a reader of everything finds after a place: records, the place up to which those are
    /// all, the newest evicted place, and whether the log is closed.
    pub(super) fn read_all(&self, place: u64, limit: usize) -> (Vec<Record>, u64, u64, bool) {
        let log = self.log.lock();
        let evicted = log.evicted(&Topics::all()).place;
        let (records, last) = Self::read(&log, &Topics::all(), place.max(evicted), limit);
        (records, last.minor, evicted, log.closed)
    }

    /// At most `limit` records after a place, and the id up to which those are all.
    fn read(log: &Log, topics: &Topics, place: u64, limit: usize) -> (Vec<Record>, EventId) {
        let mut pending = log.after(topics, place);
        let mut records = Vec::new();
        let mut size = 0;
        loop {
            let Some((next, topic, bytes)) = pending.next() else {
                let stopped_at = pending.stopped_at().map(|place| log.id(place));
                return (records, stopped_at.unwrap_or_else(|| log.last_id()));
            };
            if records.len() >= limit || size >= MAX_PAGE_BYTES {
                let last = records.last().map(Record::id);
                return (records, last.unwrap_or_else(|| log.id(place)));
            }
            size += bytes.len();
            records.push(Record::new(log.id(next), topic.clone(), bytes.clone()));
        }
    }

    pub(crate) fn last(&self) -> EventId {
        self.log.lock().last_id()
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

    /// Wakes at most so many subscribers.
    pub(crate) fn wake_some(&self, limit: usize) {
        let views: Vec<_> = self.log.lock().views().cloned().collect();
        let mut left = limit;
        for view in views {
            if left == 0 {
                return;
            }
            left -= view.waiters().wake_some(left);
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
                oldest: ends.map(|(oldest, _)| log.id(oldest)),
                newest: ends.map(|(_, newest)| log.id(newest)),
                subscribers: window.subscribers(),
            };
            (topic.clone(), stats)
        });
        let (delivered, delivered_bytes) = log.delivered();
        MemoryStats {
            topics: topics.collect(),
            last: log.last_id(),
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
