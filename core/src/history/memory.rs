//! [`Memory`]: the bounded window that is always there, in front of any backend.

use std::collections::btree_map::BTreeMap;
use std::collections::{vec_deque, BinaryHeap, HashMap, VecDeque};
use std::future::ready;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_core::Stream;

use super::{Batch, View};
use super::{BoxFuture, BoxStream, History, HistoryError, Page, Retention};
use crate::event::Event;
use crate::gap::{Gap, GapReason};
use crate::id::{EventId, LastEventId};
use crate::record::{Draft, Record};
use crate::sync::{Mutex, Ordering};
use crate::timer::{ThreadTimer, Timer};
use crate::topic::{Topic, Topics};
use crate::wait::Sleeper;

/// The largest batch that several records are joined to, in bytes.
const MAX_BATCH: usize = 32 * 1024;

/// How many topics there can be at once, unless the application says otherwise.
pub(crate) const DEFAULT_MAX_TOPICS: usize = 100_000;

/// The log in memory: one order, a bounded window per topic.
///
/// A [`Broadcaster`](crate::Broadcaster) owns one; on its own it is the smallest [`History`].
/// Places are sequence numbers from 1 within an epoch that starts with it.
#[derive(Debug)]
pub struct Memory {
    epoch: u64,
    retention: Retention,
    max_topics: usize,
    timer: Arc<dyn Timer>,
    log: Mutex<Log>,
}

/// What the lock guards. Lock order: the log, then a view's batches or waiters.
#[derive(Debug, Default)]
struct Log {
    closed: bool,
    /// The newest record's place; 0 before the first.
    last: u64,
    windows: HashMap<Topic, Window>,
    /// Where each topic's newest record is, for the topics that have one: a wide selection
    /// finds what is new without asking every topic. Invariant: one entry per window that is
    /// not empty.
    recency: BTreeMap<u64, Topic>,
    views: HashMap<Topics, Arc<View>>,
    /// The views that a new topic may belong to.
    wide_views: Vec<Arc<View>>,
    /// The newest record that was evicted from a topic which has left no memory behind. A
    /// client that stopped before it may have missed something of any topic we do not know.
    forgotten: u64,
    /// What views that are gone have delivered: records and bytes.
    delivered: (u64, u64),
}

/// One topic's records.
#[derive(Debug)]
struct Window {
    records: VecDeque<Stored>,
    bytes: usize,
    last: u64,
    evicted: u64,
    /// Everyone who follows the topic; copied only when it changes under a publisher's hands.
    views: Arc<Vec<Arc<View>>>,
}

#[derive(Debug)]
struct Stored {
    place: u64,
    /// When it came, where age matters.
    at: Option<Instant>,
    bytes: Bytes,
}

/// What a cursor gets when no batch was there for it.
pub(crate) enum Fill {
    Batch(Batch),
    /// Retention has evicted records that the cursor had not been told of, up to here.
    Evicted,
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
        Self::with(retention, DEFAULT_MAX_TOPICS, Arc::new(ThreadTimer))
    }

    pub(crate) fn with(retention: Retention, max_topics: usize, timer: Arc<dyn Timer>) -> Self {
        Self {
            epoch: new_epoch(),
            retention,
            max_topics,
            timer,
            log: Mutex::default(),
        }
    }

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    pub(crate) fn id(&self, place: u64) -> EventId {
        EventId::new(self.epoch, place)
    }

    /// Appends an encoded event and wakes those who follow its topic.
    pub(crate) fn append_draft(
        &self,
        topic: &Topic,
        draft: Draft,
    ) -> Result<EventId, HistoryError> {
        let at = self.now_if_aging();
        let mut guard = self.log.lock();
        let log = &mut *guard;
        if log.closed {
            return Err(HistoryError::Closed);
        }
        // Topics that are only followed do not count: whoever may subscribe could use them up.
        let is_new = log
            .windows
            .get(topic)
            .map_or(true, |window| window.records.is_empty());
        if is_new && log.recency.len() >= self.max_topics {
            return Err(HistoryError::TooManyTopics {
                limit: self.max_topics,
            });
        }
        let place = log.last + 1;
        let id = self.id(place);
        let bytes = draft.seal(id);
        let window = log.window(topic);
        let before = window.last;
        window.push(Stored { place, at, bytes });
        window.trim(&self.retention);
        if let Some(now) = at {
            window.expire(&self.retention, now, 1);
        }
        let views = Arc::clone(&window.views);
        log.last = place;
        log.recency.remove(&before);
        log.recency.insert(place, topic.clone());
        for view in views.iter() {
            view.set_tail(place);
        }
        // Wake after the unlock: whoever wakes reads the log next.
        drop(guard);
        for view in views.iter() {
            view.wake(&*self.timer);
        }
        Ok(id)
    }

    /// Where a cursor over `topics` begins.
    pub(crate) fn start(&self, topics: Topics, begin: &Begin) -> Result<Start, HistoryError> {
        let mut log = self.log.lock();
        if log.closed {
            return Err(HistoryError::Closed);
        }
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
        let first = log.after(topics, 0).next().map(|(_, stored)| stored.place);
        let gap = first
            .filter(|first| *first < evicted)
            .map(|_| Gap::new(GapReason::Expired, None, self.id(evicted)));
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
    pub(crate) fn leave(&self, view: &Arc<View>, sleeper: &Sleeper) {
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
        let Some((_, first)) = pending.next() else {
            return Fill::Nothing(view.tail());
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
        let Some((_, second)) = pending.next() else {
            return batch(first.place, 1, first.bytes.clone());
        };
        // More than one: joined, so that each framework is handed one piece.
        let mut size = first.bytes.len();
        let mut picked = vec![first];
        let mut next = Some(second);
        while let Some(stored) = next {
            size += stored.bytes.len();
            if size > MAX_BATCH {
                cut_where_others_cut(&mut picked, place);
                break;
            }
            picked.push(stored);
            next = pending.next().map(|(_, stored)| stored);
        }
        let to = picked.last().map_or(place, |stored| stored.place);
        if let [only] = picked[..] {
            return batch(to, 1, only.bytes.clone());
        }
        let mut joined = Vec::with_capacity(picked.iter().map(|stored| stored.bytes.len()).sum());
        for stored in &picked {
            joined.extend_from_slice(&stored.bytes);
        }
        batch(to, picked.len() as u64, joined.into())
    }

    /// At most `limit` records of `topics` after `after`; from the oldest if it names no place.
    pub(crate) fn page(&self, topics: &Topics, after: &LastEventId, limit: usize) -> Page {
        let log = self.log.lock();
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

    /// At most `limit` records after a place, and the place up to which those are all.
    fn read(&self, log: &Log, topics: &Topics, place: u64, limit: usize) -> (Vec<Record>, u64) {
        let mut pending = log.after(topics, place);
        let mut last = place;
        let records = pending.by_ref().take(limit).map(|(topic, stored)| {
            last = stored.place;
            Record::new(self.id(stored.place), topic.clone(), stored.bytes.clone())
        });
        let records = records.collect();
        if pending.next().is_none() {
            last = log.last;
        }
        (records, last)
    }

    /// Refuses everything from now on; wakes nobody. `false`: it was closed already.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.log.lock().closed, true)
    }

    /// Wakes every subscriber.
    pub(crate) fn wake_all(&self) {
        let views: Vec<_> = self.log.lock().views.values().cloned().collect();
        for view in views {
            view.waiters().wake_all();
        }
    }

    /// Evicts what is too old, forgets topics that nobody follows and that hold nothing, and
    /// lets go of batches. Returns whether a later call can have anything to do.
    pub(crate) fn sweep(&self) -> bool {
        let now = self.timer.now();
        let mut guard = self.log.lock();
        let log = &mut *guard;
        if self.retention.age.is_some() {
            for window in log.windows.values_mut() {
                let last = window.last;
                window.expire(&self.retention, now, 0);
                if window.records.is_empty() {
                    log.recency.remove(&last);
                }
            }
            log.forget_unused(&Topics::all());
        }
        for view in log.views.values() {
            view.forget_batches();
        }
        self.retention.age.is_some() && !log.recency.is_empty()
    }

    pub(crate) fn has_subscribers(&self, topic: &Topic) -> bool {
        let log = self.log.lock();
        match log.windows.get(topic) {
            Some(window) => window.subscribers() > 0,
            // A new topic would belong to these.
            None => log
                .wide_views
                .iter()
                .any(|view| view.topics().matches(topic)),
        }
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let log = self.log.lock();
        let mut delivered = log.delivered;
        for view in log.views.values() {
            let (records, bytes) = view.delivered();
            delivered = (delivered.0 + records, delivered.1 + bytes);
        }
        let topics = log.windows.iter().map(|(topic, window)| {
            let stats = TopicStats {
                records: window.records.len(),
                bytes: window.bytes,
                oldest: window.records.front().map(|stored| self.id(stored.place)),
                newest: window.records.back().map(|stored| self.id(stored.place)),
                subscribers: window.subscribers(),
            };
            (topic.clone(), stats)
        });
        MemoryStats {
            topics: topics.collect(),
            last: self.id(log.last),
            published: log.last,
            delivered: delivered.0,
            delivered_bytes: delivered.1,
        }
    }

    /// The clock is only asked where age matters.
    fn now_if_aging(&self) -> Option<Instant> {
        self.retention.age.map(|_| self.timer.now())
    }
}

impl Log {
    /// A topic's window; a new one takes its place in every view that it belongs to.
    fn window(&mut self, topic: &Topic) -> &mut Window {
        if !self.windows.contains_key(topic) {
            let views = self
                .wide_views
                .iter()
                .filter(|view| view.topics().matches(topic));
            let window = Window::new(self.forgotten, views.cloned().collect());
            self.windows.insert(topic.clone(), window);
        }
        let forgotten = self.forgotten;
        // The entry is there; `or_insert_with` says so without a panic to reach.
        self.windows
            .entry(topic.clone())
            .or_insert_with(|| Window::new(forgotten, Vec::new()))
    }

    /// The view of a selection, with one more subscriber.
    fn join(&mut self, topics: Topics) -> Arc<View> {
        let view = match self.views.get(&topics) {
            Some(view) => Arc::clone(view),
            None => self.new_view(topics),
        };
        view.subscribers.fetch_add(1, Ordering::Relaxed);
        view
    }

    fn new_view(&mut self, topics: Topics) -> Arc<View> {
        if let Some(listed) = topics.listed() {
            for topic in listed {
                self.window(topic);
            }
        }
        let evicted = self.evicted(&topics);
        let tail = self
            .following(&topics)
            .map(|(_, window)| window.last)
            .max()
            .unwrap_or(0);
        let view = Arc::new(View::new(topics.clone(), tail, evicted));
        if topics.listed().is_none() {
            self.wide_views.push(Arc::clone(&view));
        }
        self.for_each_window(&topics, |window| {
            Arc::make_mut(&mut window.views).push(Arc::clone(&view));
        });
        self.views.insert(topics, Arc::clone(&view));
        view
    }

    /// Returns the view if that was its last subscriber, to be dropped outside the lock.
    fn leave(&mut self, view: &Arc<View>) -> Option<Arc<View>> {
        if view.subscribers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return None;
        }
        let topics = view.topics();
        let delivered = view.delivered();
        self.delivered = (
            self.delivered.0 + delivered.0,
            self.delivered.1 + delivered.1,
        );
        self.wide_views.retain(|other| !Arc::ptr_eq(other, view));
        self.for_each_window(topics, |window| {
            Arc::make_mut(&mut window.views).retain(|other| !Arc::ptr_eq(other, view));
        });
        self.forget_unused(topics);
        self.views.remove(topics)
    }

    /// Topics that nobody follows and whose history is gone leave no memory behind.
    fn forget_unused(&mut self, topics: &Topics) {
        let forgotten = &mut self.forgotten;
        let mut keep = |window: &Window| {
            let unused = window.records.is_empty() && window.views.is_empty();
            if unused {
                *forgotten = window.evicted.max(*forgotten);
            }
            !unused
        };
        match topics.listed() {
            Some(listed) => {
                for topic in listed {
                    if !self.windows.get(topic).map_or(true, &mut keep) {
                        self.windows.remove(topic);
                    }
                }
            }
            None => self.windows.retain(|_, window| keep(window)),
        }
        if self.windows.capacity() > 64 && self.windows.capacity() / 4 > self.windows.len() {
            self.windows.shrink_to_fit();
        }
    }

    fn for_each_window(&mut self, topics: &Topics, mut f: impl FnMut(&mut Window)) {
        match topics.listed() {
            Some(listed) => {
                for topic in listed {
                    if let Some(window) = self.windows.get_mut(topic) {
                        f(window);
                    }
                }
            }
            None => {
                for (topic, window) in &mut self.windows {
                    if topics.matches(topic) {
                        f(window);
                    }
                }
            }
        }
    }

    /// The windows of a selection.
    fn following<'a>(
        &'a self,
        topics: &'a Topics,
    ) -> Box<dyn Iterator<Item = (&'a Topic, &'a Window)> + 'a> {
        match topics.listed() {
            Some(listed) => Box::new(listed.iter().filter_map(|t| self.windows.get_key_value(t))),
            None => Box::new(
                self.windows
                    .iter()
                    .filter(|(topic, _)| topics.matches(topic)),
            ),
        }
    }

    /// The newest place of a selection that is gone.
    fn evicted(&self, topics: &Topics) -> u64 {
        let evicted = self
            .following(topics)
            .map(|(_, window)| window.evicted)
            .max()
            .unwrap_or(0);
        let all_known = topics
            .listed()
            .is_some_and(|listed| listed.iter().all(|topic| self.windows.contains_key(topic)));
        if all_known {
            evicted
        } else {
            evicted.max(self.forgotten)
        }
    }

    /// The records of a selection after a place, in order.
    fn after<'a>(&'a self, topics: &'a Topics, place: u64) -> Pending<'a> {
        let mut pending = Pending::default();
        if let Some(listed) = topics.listed() {
            for topic in listed {
                if let Some((topic, window)) = self.windows.get_key_value(topic) {
                    pending.add(topic, window, place);
                }
            }
        } else {
            for topic in self.recency.range(place + 1..).map(|(_, topic)| topic) {
                if topics.matches(topic) {
                    if let Some(window) = self.windows.get(topic) {
                        pending.add(topic, window, place);
                    }
                }
            }
        }
        pending
    }
}

impl Window {
    fn new(evicted: u64, views: Vec<Arc<View>>) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            last: 0,
            evicted,
            views: Arc::new(views),
        }
    }

    fn push(&mut self, stored: Stored) {
        self.bytes += stored.bytes.len();
        self.last = stored.place;
        self.records.push_back(stored);
    }

    /// Evicts what is over the count or the bytes; the newest stays.
    fn trim(&mut self, retention: &Retention) {
        while self.records.len() > 1
            && (self.records.len() > retention.records || self.bytes > retention.bytes)
        {
            self.evict_oldest();
        }
    }

    /// Evicts what is older than the age, but for the newest `keep`.
    fn expire(&mut self, retention: &Retention, now: Instant, keep: usize) {
        let Some(age) = retention.age else { return };
        let too_old = |stored: &Stored| {
            stored
                .at
                .is_some_and(|at| now.saturating_duration_since(at) > age)
        };
        while self.records.len() > keep && self.records.front().is_some_and(too_old) {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        if let Some(oldest) = self.records.pop_front() {
            self.bytes -= oldest.bytes.len();
            self.evicted = oldest.place;
            for view in self.views.iter() {
                view.raise_evicted(oldest.place);
            }
        }
        if self.records.is_empty() {
            self.records.shrink_to_fit();
        }
    }

    fn subscribers(&self) -> usize {
        self.views
            .iter()
            .map(|view| view.subscribers.load(Ordering::Relaxed))
            .sum()
    }
}

/// The records of several windows merged into one order; of one window, as they are.
#[derive(Default)]
struct Pending<'a> {
    /// The only source, or the one that was met first.
    one: Option<Source<'a>>,
    /// All of them, once there are several. A live read has one and allocates nothing.
    several: BinaryHeap<Source<'a>>,
}

impl<'a> Pending<'a> {
    fn add(&mut self, topic: &'a Topic, window: &'a Window, place: u64) {
        if window.last <= place {
            return;
        }
        let start = window
            .records
            .partition_point(|stored| stored.place <= place);
        let mut records = window.records.range(start..).peekable();
        let Some(next) = records.peek().map(|stored| stored.place) else {
            return;
        };
        let source = Source {
            next,
            topic,
            records,
        };
        if self.several.is_empty() && self.one.is_none() {
            self.one = Some(source);
        } else {
            self.several.extend(self.one.take());
            self.several.push(source);
        }
    }
}

impl<'a> Iterator for Pending<'a> {
    type Item = (&'a Topic, &'a Stored);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(one) = &mut self.one {
            return one.records.next().map(|stored| (one.topic, stored));
        }
        let mut source = self.several.pop()?;
        let stored = source.records.next()?;
        if let Some(next) = source.records.peek() {
            source.next = next.place;
            self.several.push(Source { ..source });
        }
        Some((source.topic, stored))
    }
}

/// One window's part of a merge. Orders by its next place, the smallest first in a heap that
/// pops the greatest.
struct Source<'a> {
    next: u64,
    topic: &'a Topic,
    records: Peekable<vec_deque::Iter<'a, Stored>>,
}

impl Ord for Source<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.next.cmp(&self.next)
    }
}

impl PartialOrd for Source<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Source<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.next == other.next
    }
}

impl Eq for Source<'_> {}

/// Ends a full batch at the roundest place it covers, so that cursors which began at different
/// places soon stand at the same one and share every batch from there.
fn cut_where_others_cut(picked: &mut Vec<&Stored>, from: u64) {
    let Some(last) = picked.last().map(|stored| stored.place) else {
        return;
    };
    // The number in `from + 1 ..= last` with the most trailing zeros: what both begin with,
    // then the first bit in which they differ, then zeros.
    let differ = (from ^ last).max(1).ilog2();
    let roundest = last >> differ << differ;
    let keep = picked.partition_point(|stored| stored.place <= roundest);
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
    fn append<'a>(
        &'a self,
        topic: &'a Topic,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<EventId, HistoryError>> {
        Box::pin(async move { self.append_draft(topic, Draft::new(event)) })
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        Box::pin(ready(Ok(self.page(topics, after, limit))))
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, Result<Record, HistoryError>> {
        let begin = after.map_or(Begin::Now, |id| Begin::After(id.into()));
        Box::pin(Tail::new(self, &begin))
    }
}

/// How many records a [`Tail`] reads at once.
const TAIL_PAGE: usize = 256;

/// Every record of a [`Memory`] as it appears.
#[derive(Debug)]
pub struct Tail<'a> {
    memory: &'a Memory,
    /// `None` once the history is closed and read to its end.
    follows: Option<(Arc<View>, Sleeper)>,
    place: u64,
    told: u64,
    page: vec_deque::IntoIter<Record>,
    missed: bool,
}

impl<'a> Tail<'a> {
    fn new(memory: &'a Memory, begin: &Begin) -> Self {
        let mut tail = Self {
            memory,
            follows: None,
            place: 0,
            told: 0,
            page: VecDeque::new().into_iter(),
            missed: false,
        };
        if let Ok(start) = memory.start(Topics::all(), begin) {
            let sleeper = start.view.waiters().join();
            tail.follows = Some((start.view, sleeper));
            (tail.place, tail.told, tail.missed) = (start.place, start.told, start.gap.is_some());
        }
        tail
    }

    /// Reads on. Returns whether the history is closed.
    fn look(&mut self) -> bool {
        let log = self.memory.log.lock();
        let evicted = log.evicted(&Topics::all());
        if evicted > self.place.max(self.told) {
            self.told = evicted;
            self.missed = true;
        }
        let (records, last) = self
            .memory
            .read(&log, &Topics::all(), self.place, TAIL_PAGE);
        self.place = last;
        self.page = VecDeque::from(records).into_iter();
        log.closed
    }

    fn end(&mut self) {
        if let Some((view, sleeper)) = self.follows.take() {
            self.memory.leave(&view, &sleeper);
        }
    }
}

impl Stream for Tail<'_> {
    type Item = Result<Record, HistoryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if std::mem::take(&mut this.missed) {
                let source = "records were evicted before they were read".into();
                let error = HistoryError::Backend {
                    retryable: true,
                    source,
                };
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(record) = this.page.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            let Some((_, sleeper)) = &mut this.follows else {
                return Poll::Ready(None);
            };
            // Marked before the look, which so cannot find old news.
            sleeper.mark(cx.waker());
            let closed = this.look();
            if this.page.len() == 0 && !this.missed {
                if !closed {
                    return Poll::Pending;
                }
                this.end();
            }
        }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
