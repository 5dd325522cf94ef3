//! [`Reader`]: the thread that reads pages, each from one state of the file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use fanfare_core::history::{HistoryError, Page, MAX_PAGE_BYTES};
use fanfare_core::{EventId, Gap, GapReason, LastEventId, Record, Topic, Topics};
use futures_channel::oneshot;
use redb::{Range, ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::committer::Pending;
use crate::foreign;
use crate::queue::{Queue, Size, Taken};
use crate::store::{
    begin_read, decode, open_read, record, Meta, Problem, Store, Window, WindowRow, INDEX, META,
    ORDER, TOPICS,
};

/// The most topics of a pattern whose records are looked up by topic. Of more, all records are looked
/// at, ...
const MERGE: usize = 64;

/// ... so many before others have their turn, or as many as there are topics.
const SCAN: usize = 4_096;

const ONE: Size = Size {
    count: 1,
    bytes: usize::MAX,
};

/// What the thread is asked for.
#[derive(Debug)]
pub(crate) enum Query {
    Page(Ask),
    Stretch(Follow),
}

/// A page that somebody asks for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) topics: Topics,
    pub(crate) after: LastEventId,
    pub(crate) limit: usize,
    pub(crate) answer: oneshot::Sender<Result<Page, HistoryError>>,
}

/// What a tail asks for that is behind.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) after: EventId,
    pub(crate) limit: usize,
    /// When to try again what has failed.
    pub(crate) not_before: Option<Instant>,
    pub(crate) answer: oneshot::Sender<Result<Stretch, HistoryError>>,
}

/// A part of the log that a tail follows.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Every record after this place ...
    pub(crate) start: EventId,
    pub(crate) records: Vec<Record>,
    /// ... up to this one.
    pub(crate) last: EventId,
}

#[derive(Debug)]
pub(crate) struct Reader {
    store: Arc<Store>,
    queries: Arc<Queue<Query>>,
    /// Where the committer is called to open the file again.
    appends: Arc<Queue<Pending>>,
    /// What is to be tried again, and when.
    delayed: Vec<(Instant, Follow)>,
}

impl Reader {
    pub(crate) fn new(
        store: Arc<Store>,
        queries: Arc<Queue<Query>>,
        appends: Arc<Queue<Pending>>,
    ) -> Self {
        Self {
            store,
            queries,
            appends,
            delayed: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) {
        loop {
            if let Some(due) = self.take_due() {
                self.follow(due);
                continue;
            }
            match self.queries.take(ONE, self.earliest()) {
                Taken::Items(queries) => queries.into_iter().for_each(|query| self.look_at(query)),
                // The file has been opened again: what has failed is tried at once.
                Taken::Call => self
                    .delayed
                    .iter_mut()
                    .for_each(|(at, _)| *at = Instant::now()),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn earliest(&self) -> Option<Instant> {
        self.delayed.iter().map(|(at, _)| *at).min()
    }

    fn take_due(&mut self) -> Option<Follow> {
        let now = Instant::now();
        let due = self.delayed.iter().position(|(at, _)| *at <= now)?;
        Some(self.delayed.swap_remove(due).1)
    }

    fn look_at(&mut self, query: Query) {
        match query {
            Query::Page(ask) => self.page(ask),
            Query::Stretch(follow) => match follow.not_before {
                Some(at) => self.delayed.push((at, follow)),
                None => self.follow(follow),
            },
        }
    }

    fn page(&self, ask: Ask) {
        // Whoever has dropped its future does not ask any more.
        if !ask.answer.is_canceled() {
            let page = self.read(|log| log.page(&ask.topics, &ask.after, ask.limit));
            foreign::answer(ask.answer, page);
        }
    }

    fn follow(&self, follow: Follow) {
        // As above.
        if !follow.answer.is_canceled() {
            let stretch = self.read(|log| log.stretch(follow.after, follow.limit));
            foreign::answer(follow.answer, stretch);
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Log<'_>) -> Result<T, Problem>) -> Result<T, HistoryError> {
        let answer = self.store.with(|database| {
            let transaction = begin_read(database)?;
            let meta = Meta::read(&open_read(&transaction, META)?)?;
            let meta = meta.ok_or_else(|| Problem::damaged("the file says nothing of its log"))?;
            f(&Log {
                store: &self.store,
                transaction,
                meta,
            })
        });
        if self.store.has_failed() {
            self.appends.call();
        }
        answer.map_err(Problem::into_history_error)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        foreign::drop_each(self.queries.end());
        foreign::drop_each(self.delayed.drain(..));
    }
}

/// One state of the file.
struct Log<'a> {
    store: &'a Store,
    transaction: ReadTransaction,
    meta: Meta,
}

/// What a client has that stopped somewhere: everything up to `place`; of holes up to `told` it is
/// told.
struct Begin {
    place: u64,
    told: u64,
    gap: Option<Gap>,
}

impl Log<'_> {
    fn page(&self, topics: &Topics, after: &LastEventId, limit: usize) -> Result<Page, Problem> {
        let selection = self.select(topics)?;
        let Begin { place, mut gap, .. } = self.judge(after, selection.gone);
        let (records, last) = self.records(topics, &selection, place, limit)?;
        // The beginning of what is left has a hole only behind records, as a quiet topic's may be
        // that are older than a loud one's.
        let first = records.first().map(|record| record.id().minor);
        if after.is_none() && first.is_some_and(|first| first < selection.gone) {
            let to = self.store.id(selection.gone);
            gap = Some(Gap::new(GapReason::Expired, None, to));
        }
        Ok(Page::new(gap, records, self.store.id(last)))
    }

    fn stretch(&self, after: EventId, limit: usize) -> Result<Stretch, Problem> {
        let selection = Selection {
            gone: self.meta.gone(),
            records: Records::Among(SCAN),
        };
        let begin = self.judge(&after.into(), selection.gone);
        let start = begin.place.max(begin.told);
        let (records, last) = self.records(&Topics::all(), &selection, start, limit)?;
        Ok(Stretch {
            start: self.store.id(start),
            records,
            last: self.store.id(last),
        })
    }

    /// Where a client is that stopped at `after`, given up to where something may be missing.
    fn judge(&self, after: &LastEventId, gone: u64) -> Begin {
        let told = |reason, place, told: u64| Begin {
            place,
            told,
            gap: Some(Gap::new(reason, after.as_str(), self.store.id(told))),
        };
        if after.is_none() {
            return Begin {
                place: 0,
                told: 0,
                gap: None,
            };
        }
        let Some(id) = after.id() else {
            return told(GapReason::Unparsable, 0, gone);
        };
        let place = id.minor;
        if id.major != self.store.epoch() {
            return told(GapReason::Epoch, 0, gone);
        }
        if place > self.meta.last {
            return told(GapReason::Ahead, 0, gone);
        }
        if let Some(end) = self.meta.skipped_to(place) {
            return told(GapReason::Expired, place, gone.max(end));
        }
        if place < gone {
            return told(GapReason::Expired, place, gone);
        }
        Begin {
            place,
            told: 0,
            gap: None,
        }
    }

    fn select(&self, topics: &Topics) -> Result<Selection, Problem> {
        if *topics == Topics::all() {
            return Ok(Selection {
                gone: self.meta.gone(),
                records: Records::Among(SCAN),
            });
        }
        let known = open_read(&self.transaction, TOPICS)?;
        match topics.listed() {
            Some(listed) => self.select_listed(&known, listed),
            None => self.select_matching(&known, topics),
        }
    }

    fn select_listed(&self, known: &KnownTopics, listed: &[Topic]) -> Result<Selection, Problem> {
        let (mut evicted, mut numbers) = (0, Vec::new());
        for topic in listed {
            if let Some(row) = known.get(topic.as_str())? {
                let window = Window::from_row(row.value());
                evicted = evicted.max(window.evicted);
                numbers.push(window.number);
            }
        }
        let all_known = numbers.len() == listed.len();
        Ok(Selection {
            gone: self.meta.gone_of(evicted, all_known),
            records: Records::Of(numbers),
        })
    }

    fn select_matching(&self, known: &KnownTopics, topics: &Topics) -> Result<Selection, Problem> {
        let (mut evicted, mut numbers, mut matching, mut count) = (0, Vec::new(), 0, 0);
        for row in known.iter()? {
            let (name, row) = row?;
            count += 1;
            let topic = Topic::new(name.value()).map_err(Problem::damaged)?;
            if topics.matches(&topic) {
                let window = Window::from_row(row.value());
                evicted = evicted.max(window.evicted);
                matching += 1;
                if matching <= MERGE {
                    numbers.push(window.number);
                }
            }
        }
        let records = if matching <= MERGE {
            Records::Of(numbers)
        } else {
            // To have looked at all topics is to pay for something.
            Records::Among(SCAN.max(count))
        };
        Ok(Selection {
            gone: self.meta.gone_of(evicted, false),
            records,
        })
    }

    /// At most `limit` records after a place, and the place up to which those are all.
    fn records(
        &self,
        topics: &Topics,
        selection: &Selection,
        place: u64,
        limit: usize,
    ) -> Result<(Vec<Record>, u64), Problem> {
        let page = Pages {
            records: Vec::new(),
            size: 0,
            limit,
            place,
        };
        match &selection.records {
            Records::Of(numbers) => self.merge(numbers, page),
            Records::Among(count) => self.pick(topics, *count, page),
        }
    }

    /// The records of some topics, which are looked up.
    fn merge(&self, numbers: &[u32], mut page: Pages) -> Result<(Vec<Record>, u64), Problem> {
        let order = open_read(&self.transaction, ORDER)?;
        let index = open_read(&self.transaction, INDEX)?;
        for next in Merge::new(&index, numbers, page.place)? {
            let next = next?;
            if page.is_full() {
                return Ok(page.end());
            }
            let value = order.get(next)?;
            let value = value.ok_or_else(|| Problem::damaged("a topic's record is missing"))?;
            page.push(record(self.store.id(next), value.value())?);
        }
        Ok(page.end_of(&self.meta))
    }

    /// Those of the next so many records that are wanted.
    fn pick(
        &self,
        topics: &Topics,
        count: usize,
        mut page: Pages,
    ) -> Result<(Vec<Record>, u64), Problem> {
        let order = open_read(&self.transaction, ORDER)?;
        let range = (Bound::Excluded(page.place), Bound::Unbounded);
        for (looked_at, entry) in order.range::<u64>(range)?.enumerate() {
            let (next, value) = entry?;
            if page.is_full() || looked_at >= count {
                return Ok(page.end());
            }
            let (_, topic, block) = decode(value.value())?;
            if topics.matches(&topic) {
                let id = self.store.id(next.value());
                page.push(Record::from_block(id, topic, block));
            }
            page.place = next.value();
        }
        Ok(page.end_of(&self.meta))
    }
}

type KnownTopics = ReadOnlyTable<&'static str, WindowRow>;

/// What a selection of topics stands for.
struct Selection {
    /// The newest place up to which something of it may be missing.
    gone: u64,
    records: Records,
}

/// How its records are found.
enum Records {
    /// Looked up by the numbers of its topics, which are few.
    Of(Vec<u32>),
    /// Among all others, of which so many are looked at.
    Among(usize),
}

/// A page that is being filled.
struct Pages {
    records: Vec<Record>,
    size: usize,
    limit: usize,
    /// Everything up to here was looked at.
    place: u64,
}

impl Pages {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.size >= MAX_PAGE_BYTES
    }

    fn push(&mut self, record: Record) {
        self.place = record.id().minor;
        self.size += record.bytes().len();
        self.records.push(record);
    }

    fn end(self) -> (Vec<Record>, u64) {
        (self.records, self.place)
    }

    /// The end of the log.
    fn end_of(self, meta: &Meta) -> (Vec<Record>, u64) {
        (self.records, meta.last.max(self.place))
    }
}

/// The places of several topics in one order.
struct Merge<'a> {
    sources: Vec<Range<'a, (u32, u64), u64>>,
    /// The next place of each source.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<'a> Merge<'a> {
    fn new(
        index: &'a impl ReadableTable<(u32, u64), u64>,
        numbers: &[u32],
        place: u64,
    ) -> Result<Self, Problem> {
        let mut merge = Self {
            sources: Vec::with_capacity(numbers.len()),
            next: BinaryHeap::new(),
        };
        for (source, number) in numbers.iter().enumerate() {
            let after = (*number, place.saturating_add(1));
            let range = index.range(after..=(*number, u64::MAX))?;
            merge.sources.push(range);
            merge.advance(source)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, source: usize) -> Result<(), Problem> {
        if let Some(entry) = self.sources.get_mut(source).and_then(Iterator::next) {
            let (_, place) = entry?.0.value();
            self.next.push(Reverse((place, source)));
        }
        Ok(())
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<u64, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((place, source)) = self.next.pop()?;
        Some(self.advance(source).map(|()| place))
    }
}
