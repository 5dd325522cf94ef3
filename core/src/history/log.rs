//! [`Log`]: the records of all topics in one order, a bounded window per topic, and who follows
//! which.

use std::collections::btree_map::{self, BTreeMap};
use std::collections::{vec_deque, BinaryHeap, HashMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::keys::Keys;
use super::memory::Limits;
use super::View;
use crate::id::EventId;
use crate::record::Record;
use crate::sync::Ordering;
use crate::topic::{Topic, Topics};

/// How many records a wide selection looks at before it lets go of the lock.
const SCAN: usize = 2_048;

/// What the memory's lock guards. Lock order: the log, then a view's batches or waiters.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) closed: bool,
    ids: Ids,
    /// An id before all of this log's: an epoch's beginning, or where a backend's log stood when it
    /// was first heard of, which is place [`BASE`].
    before_all: EventId,
    /// The newest record's place; 0 before the first.
    pub(super) last: u64,
    windows: HashMap<Topic, Window>,
    /// Every record in the one order: what wide selections read, and where the oldest is found.
    /// Invariant: the same records as in the windows.
    order: BTreeMap<u64, Entry>,
    /// The bytes of all records.
    bytes: usize,
    /// How many topics have records.
    occupied: usize,
    views: HashMap<Topics, Arc<View>>,
    /// The views that a new topic may belong to.
    wide_views: Vec<Arc<View>>,
    /// The newest record that was evicted from a topic which has left no memory behind. A
    /// client that stopped before it may have missed something of any topic we do not know.
    forgotten: Mark,
    /// What views that are gone have delivered: records and bytes.
    delivered: (u64, u64),
    /// The places of appends that may be repeated.
    pub(super) keys: Keys<u64>,
}

/// The place of the hole in front of the first record of a log that a backend feeds. A cursor before
/// it came before the backend had been heard of.
pub(super) const BASE: u64 = 1;

/// Which id stands at which place.
#[derive(Debug)]
enum Ids {
    /// This log assigns them: an epoch, and the place.
    Assigned { epoch: u64 },
    /// A backend assigns them: those of the records that are here, and the newest.
    Fed {
        places: BTreeMap<u64, EventId>,
        last: EventId,
    },
}

/// A place and the id that stands, or stood, at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) place: u64,
    pub(super) id: EventId,
}

#[derive(Debug)]
pub(super) struct Entry {
    topic: Topic,
    /// When it came, where age matters.
    at: Option<Instant>,
    bytes: Bytes,
}

/// One topic's records.
#[derive(Debug)]
pub(super) struct Window {
    records: VecDeque<Stored>,
    bytes: usize,
    last: u64,
    evicted: Mark,
    /// Everyone who follows the topic; copied only when it changes under a publisher's hands.
    views: Arc<Vec<Arc<View>>>,
}

#[derive(Debug)]
struct Stored {
    place: u64,
    bytes: Bytes,
}

impl Log {
    /// A log that assigns ids of an epoch, or one that a backend feeds.
    pub(super) fn new(epoch: Option<u64>) -> Self {
        let before_all = EventId::new(epoch.unwrap_or(0), 0);
        let ids = match epoch {
            Some(epoch) => Ids::Assigned { epoch },
            None => Ids::Fed {
                places: BTreeMap::new(),
                last: before_all,
            },
        };
        Self {
            closed: false,
            ids,
            before_all,
            last: 0,
            windows: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            occupied: 0,
            views: HashMap::new(),
            wide_views: Vec::new(),
            forgotten: Mark {
                place: 0,
                id: before_all,
            },
            delivered: (0, 0),
            keys: Keys::default(),
        }
    }

    /// An id before all others.
    pub(super) fn before_all(&self) -> EventId {
        self.before_all
    }

    /// The id at the place of a record that is here.
    pub(super) fn id(&self, place: u64) -> EventId {
        match &self.ids {
            Ids::Assigned { epoch } => EventId::new(*epoch, place),
            Ids::Fed { places, last } => places.get(&place).copied().unwrap_or(*last),
        }
    }

    /// The newest id: of a record, or where a backend says that its log continues.
    pub(super) fn last_id(&self) -> EventId {
        match &self.ids {
            Ids::Assigned { epoch } => EventId::new(*epoch, self.last),
            Ids::Fed { last, .. } => *last,
        }
    }

    /// The place of the newest record here that is not after an id.
    pub(super) fn place_of(&self, id: EventId) -> u64 {
        let Ids::Fed { places, .. } = &self.ids else {
            return id.minor;
        };
        // Both grow together, so the map can be searched by its values.
        let (mut low, mut high) = (0, self.last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let newest = places.range(..=middle).next_back();
            if newest.is_some_and(|(_, found)| *found > id) {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        places
            .range(..=low)
            .next_back()
            .map_or(0, |(place, _)| *place)
    }

    /// A backend's log continues after an id, which may be an earlier one: nothing that is here
    /// connects to it, so all of it goes, and there is a hole.
    pub(super) fn restart(&mut self, id: EventId) {
        if self.last == 0 {
            self.before_all = id;
        }
        while !self.order.is_empty() {
            self.evict_first();
        }
        self.last += 1;
        self.forgotten = Mark {
            place: self.last,
            id,
        };
        if let Ids::Fed { places, last } = &mut self.ids {
            places.clear();
            *last = id;
        }
        for window in self.windows.values_mut() {
            window.evicted = self.forgotten;
            window.last = self.last;
        }
        for view in self.views.values() {
            view.set_tail(self.last);
            view.raise_evicted(self.last);
        }
    }

    /// Adds a record of a backend behind all others and returns who follows its topic.
    pub(super) fn feed(
        &mut self,
        record: &Record,
        at: Option<Instant>,
        limits: &Limits,
    ) -> Arc<Vec<Arc<View>>> {
        let place = self.last + 1;
        if let Ids::Fed { places, last } = &mut self.ids {
            places.insert(place, record.id());
            *last = record.id();
        }
        let has_room = self.make_room(record.topic(), limits);
        let bytes = record.bytes().clone();
        let views = self.push(record.topic(), place, at, bytes, limits);
        if !has_room {
            // The backend has it: whoever follows the topic reads it there.
            while let Some(evicted) = self
                .windows
                .get_mut(record.topic())
                .and_then(Window::evict_oldest)
            {
                self.remove(evicted);
            }
        }
        views
    }

    /// Makes room for a record of a topic. `false`: every topic that there may be is named by
    /// somebody who follows it.
    pub(super) fn make_room(&mut self, topic: &Topic, limits: &Limits) -> bool {
        // Topics that are only followed do not count: whoever may subscribe could use them up.
        let is_new = self
            .windows
            .get(topic)
            .map_or(true, |window| window.records.is_empty());
        if !is_new || self.occupied < limits.topics {
            return true;
        }
        let is_unnamed = |topic: &Topic| {
            self.windows.get(topic).is_some_and(|window| {
                window
                    .views
                    .iter()
                    .all(|view| view.topics().listed().is_none())
            })
        };
        let oldest = self
            .order
            .values()
            .take(SCAN)
            .find(|entry| is_unnamed(&entry.topic));
        let Some(oldest) = oldest.map(|entry| entry.topic.clone()) else {
            return false;
        };
        while let Some(window) = self.windows.get_mut(&oldest) {
            let Some(first) = window.evict_oldest() else {
                break;
            };
            self.remove(first);
        }
        true
    }

    /// Adds a record behind all others and returns who follows its topic.
    pub(super) fn push(
        &mut self,
        topic: &Topic,
        place: u64,
        at: Option<Instant>,
        bytes: Bytes,
        limits: &Limits,
    ) -> Arc<Vec<Arc<View>>> {
        self.last = place;
        self.bytes += bytes.len();
        let entry = Entry {
            topic: topic.clone(),
            at,
            bytes: bytes.clone(),
        };
        self.order.insert(place, entry);
        let window = self.window(topic);
        let is_first = window.records.is_empty();
        window.push(Stored { place, bytes });
        let views = Arc::clone(&window.views);
        self.occupied += usize::from(is_first);
        for view in views.iter() {
            view.set_tail(place);
        }
        // The newest stays, whatever its size.
        while let Some(evicted) = self
            .windows
            .get_mut(topic)
            .and_then(|w| w.evict_over(limits))
        {
            self.remove(evicted);
        }
        while self.bytes > limits.bytes && self.order.len() > 1 {
            self.evict_first();
        }
        views
    }

    /// Evicts what came before the time that is given.
    pub(super) fn expire(&mut self, before: Instant) {
        let is_too_old = |entry: &Entry| entry.at.is_some_and(|at| at < before);
        while self
            .order
            .first_key_value()
            .is_some_and(|(_, entry)| is_too_old(entry))
        {
            self.evict_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn evict_first(&mut self) {
        let Some((_, entry)) = self.order.first_key_value() else {
            return;
        };
        let window = self.windows.get_mut(&entry.topic);
        match window.and_then(Window::evict_oldest) {
            Some(evicted) => self.remove(evicted),
            // Cannot be: the order and the windows hold the same records.
            None => drop(self.order.pop_first()),
        }
    }

    /// Takes out of the order what was evicted from its window.
    fn remove(&mut self, evicted: u64) {
        let Some(entry) = self.order.remove(&evicted) else {
            return;
        };
        self.bytes -= entry.bytes.len();
        let id = self.id(evicted);
        if let Ids::Fed { places, .. } = &mut self.ids {
            places.remove(&evicted);
        }
        let Some(window) = self.windows.get_mut(&entry.topic) else {
            return;
        };
        window.evicted.id = id;
        if window.records.is_empty() {
            self.occupied -= 1;
            self.forget_if_unused(&entry.topic);
        }
    }

    /// A topic that nobody follows and whose history is gone leaves no memory behind.
    fn forget_if_unused(&mut self, topic: &Topic) {
        let Some(window) = self.windows.get(topic) else {
            return;
        };
        if window.records.is_empty() && window.views.is_empty() {
            if window.evicted.place > self.forgotten.place {
                self.forgotten = window.evicted;
            }
            self.windows.remove(topic);
            if self.windows.capacity() > 64 && self.windows.capacity() / 4 > self.windows.len() {
                self.windows.shrink_to_fit();
            }
        }
    }

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
        let entry = self.windows.entry(topic.clone());
        entry.or_insert_with(|| Window::new(forgotten, Vec::new()))
    }

    /// The view of a selection, with one more subscriber.
    pub(super) fn join(&mut self, topics: Topics) -> Arc<View> {
        let view = match self.views.get(&topics) {
            Some(view) => Arc::clone(view),
            None => self.new_view(topics),
        };
        view.subscribers.fetch_add(1, Ordering::Relaxed);
        view
    }

    fn new_view(&mut self, topics: Topics) -> Arc<View> {
        for topic in topics.listed().unwrap_or_default() {
            self.window(topic);
        }
        let evicted = self.evicted(&topics).place;
        let tail = self
            .following(&topics)
            .map(|window| window.last)
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
    pub(super) fn leave(&mut self, view: &Arc<View>) -> Option<Arc<View>> {
        if view.subscribers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return None;
        }
        let topics = view.topics();
        let (records, bytes) = view.delivered();
        self.delivered = (self.delivered.0 + records, self.delivered.1 + bytes);
        self.wide_views.retain(|other| !Arc::ptr_eq(other, view));
        self.for_each_window(topics, |window| {
            Arc::make_mut(&mut window.views).retain(|other| !Arc::ptr_eq(other, view));
        });
        let left: Vec<Topic> = match topics.listed() {
            Some(listed) => listed.to_vec(),
            None => self
                .windows
                .keys()
                .filter(|topic| topics.matches(topic))
                .cloned()
                .collect(),
        };
        for topic in left {
            self.forget_if_unused(&topic);
        }
        self.views.remove(topics)
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
    fn following<'a>(&'a self, topics: &'a Topics) -> Box<dyn Iterator<Item = &'a Window> + 'a> {
        match topics.listed() {
            Some(listed) => Box::new(listed.iter().filter_map(|topic| self.windows.get(topic))),
            None => {
                let matching = self
                    .windows
                    .iter()
                    .filter(|(topic, _)| topics.matches(topic));
                Box::new(matching.map(|(_, window)| window))
            }
        }
    }

    /// The newest place of a selection that is gone.
    pub(super) fn evicted(&self, topics: &Topics) -> Mark {
        let evicted = self.following(topics).map(|window| window.evicted);
        let newest = |a: Mark, b: Mark| if b.place > a.place { b } else { a };
        let none = Mark {
            place: 0,
            id: self.before_all,
        };
        let evicted = evicted.fold(none, newest);
        let all_known = topics
            .listed()
            .is_some_and(|listed| listed.iter().all(|topic| self.windows.contains_key(topic)));
        if all_known {
            evicted
        } else {
            newest(evicted, self.forgotten)
        }
    }

    /// The oldest place of a selection that is left.
    pub(super) fn oldest(&self, topics: &Topics) -> Option<u64> {
        let oldest = |window: &Window| window.records.front().map(|stored| stored.place);
        self.following(topics).filter_map(oldest).min()
    }

    /// The records of a selection after a place, in order: all of them if topics are named, else
    /// those among the next [`SCAN`] records.
    pub(super) fn after<'a>(&'a self, topics: &'a Topics, place: u64) -> Pending<'a> {
        let Some(listed) = topics.listed() else {
            let records = self.order.range(place + 1..);
            return Pending::Wide {
                records,
                topics,
                left: SCAN,
                seen: place,
            };
        };
        let mut one = None;
        let mut several = BinaryHeap::new();
        for topic in listed {
            let known = self.windows.get_key_value(topic);
            let source = known.and_then(|(topic, window)| Source::after(topic, window, place));
            // A live read has one source and allocates nothing.
            match (source, &one) {
                (None, _) => {}
                (Some(source), None) if several.is_empty() => one = Some(source),
                (Some(source), _) => {
                    several.extend(one.take());
                    several.push(source);
                }
            }
        }
        match one {
            Some(source) => Pending::One(source),
            None => Pending::Several(several),
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.views.values()
    }

    pub(super) fn windows(&self) -> impl Iterator<Item = (&Topic, &Window)> {
        self.windows.iter()
    }

    /// Whether anybody follows a topic, or would if it were new.
    pub(super) fn has_subscribers(&self, topic: &Topic) -> bool {
        match self.windows.get(topic) {
            Some(window) => window.subscribers() > 0,
            None => self
                .wide_views
                .iter()
                .any(|view| view.topics().matches(topic)),
        }
    }

    /// Records and bytes that were handed to subscribers.
    pub(super) fn delivered(&self) -> (u64, u64) {
        let views = self.views.values().map(|view| view.delivered());
        views.fold(self.delivered, |sum, (records, bytes)| {
            (sum.0 + records, sum.1 + bytes)
        })
    }
}

impl Window {
    fn new(evicted: Mark, views: Vec<Arc<View>>) -> Self {
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

    /// Evicts the oldest record if it is over the count or the bytes; the newest stays.
    fn evict_over(&mut self, limits: &Limits) -> Option<u64> {
        let retention = &limits.retention;
        let is_over = self.records.len() > retention.records || self.bytes > retention.bytes;
        if is_over && self.records.len() > 1 {
            self.evict_oldest()
        } else {
            None
        }
    }

    fn evict_oldest(&mut self) -> Option<u64> {
        let oldest = self.records.pop_front()?;
        self.bytes -= oldest.bytes.len();
        self.evicted.place = oldest.place;
        for view in self.views.iter() {
            view.raise_evicted(oldest.place);
        }
        if self.records.is_empty() {
            self.records.shrink_to_fit();
        }
        Some(oldest.place)
    }

    pub(super) fn subscribers(&self) -> usize {
        self.views
            .iter()
            .map(|view| view.subscribers.load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest and the newest place that are left.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.records.front()?.place, self.records.back()?.place))
    }
}

/// Records in order.
pub(super) enum Pending<'a> {
    /// Of one topic.
    One(Source<'a>),
    /// Of several, merged.
    Several(BinaryHeap<Source<'a>>),
    /// Of a wide selection, picked from all records.
    Wide {
        records: btree_map::Range<'a, u64, Entry>,
        topics: &'a Topics,
        /// How many records may still be looked at.
        left: usize,
        /// The last that was.
        seen: u64,
    },
}

impl Pending<'_> {
    /// The place up to which all was looked at, once there is no next; `None`: all there is.
    pub(super) fn stopped_at(&self) -> Option<u64> {
        match self {
            Self::Wide { left: 0, seen, .. } => Some(*seen),
            _ => None,
        }
    }
}

impl<'a> Iterator for Pending<'a> {
    /// Place, topic and bytes.
    type Item = (u64, &'a Topic, &'a Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(source) => source.next(),
            Self::Several(sources) => {
                let mut source = sources.pop()?;
                let record = source.next();
                if source.next.is_some() {
                    sources.push(source);
                }
                record
            }
            Self::Wide {
                records,
                topics,
                left,
                seen,
            } => {
                while *left > 0 {
                    let (place, entry) = records.next()?;
                    *left -= 1;
                    *seen = *place;
                    if topics.matches(&entry.topic) {
                        return Some((*place, &entry.topic, &entry.bytes));
                    }
                }
                None
            }
        }
    }
}

/// One window's part of a merge. Orders by its next place, the smallest first in a heap that
/// pops the greatest.
pub(super) struct Source<'a> {
    topic: &'a Topic,
    records: Peekable<vec_deque::Iter<'a, Stored>>,
    next: Option<u64>,
}

impl<'a> Source<'a> {
    fn after(topic: &'a Topic, window: &'a Window, place: u64) -> Option<Self> {
        if window.last <= place {
            return None;
        }
        let start = window
            .records
            .partition_point(|stored| stored.place <= place);
        let mut records = window.records.range(start..).peekable();
        let next = Some(records.peek()?.place);
        Some(Self {
            topic,
            records,
            next,
        })
    }

    fn next(&mut self) -> Option<(u64, &'a Topic, &'a Bytes)> {
        let stored = self.records.next()?;
        self.next = self.records.peek().map(|next| next.place);
        Some((stored.place, self.topic, &stored.bytes))
    }
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
