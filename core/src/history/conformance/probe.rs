//! Short ways for a check to append, to read everything, and to follow a tail.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread;

use super::{block_on, ensure, Failure};
use crate::event::Event;
use crate::gap::Gap;
use crate::history::{Append, BoxStream, History, HistoryError, Page, TailItem};
use crate::id::{EventId, LastEventId};
use crate::record::Record;
use crate::topic::{Topic, Topics};

/// One event for a topic, which its text tells from others.
pub(super) fn event_of(topic: &'static str, text: impl fmt::Display + Copy) -> Append {
    Append::new(topic.into(), &Event::data(text.to_string()))
}

pub(super) fn append(history: &impl History, append: Append) -> Result<EventId, Failure> {
    Ok(block_on(history.append(append))??)
}

/// Appends one event after another to a topic.
pub(super) fn append_many(
    history: &impl History,
    topic: &'static str,
    texts: std::ops::Range<usize>,
) -> Result<Vec<EventId>, Failure> {
    texts
        .map(|text| append(history, event_of(topic, text)))
        .collect()
}

/// Appends so many events at once, of which a history may store several together. In the order of
/// their ids.
pub(super) fn append_together(
    history: &impl History,
    topics: &[&'static str],
    count: usize,
) -> Result<Vec<(EventId, Topic)>, Failure> {
    let mut appending: Vec<_> = (0..count)
        .map(|n| {
            let topic = topics[n % topics.len()];
            let append = history.append(event_of(topic, n));
            (append, Topic::from(topic), None)
        })
        .collect();
    block_on(poll_fn(|cx| {
        let mut is_done = true;
        for (append, _, appended) in &mut appending {
            if appended.is_none() {
                match append.as_mut().poll(cx) {
                    Poll::Ready(id) => *appended = Some(id),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }))?;
    let mut stored = Vec::with_capacity(count);
    for (_, topic, appended) in appending {
        if let Some(id) = appended {
            stored.push((id?, topic));
        }
    }
    stored.sort_by_key(|(id, _)| *id);
    Ok(stored)
}

pub(super) fn replay(
    history: &impl History,
    topics: &Topics,
    after: &LastEventId,
    limit: usize,
) -> Result<Page, Failure> {
    let page = block_on(history.replay(topics, after, limit))??;
    let count = page.records.len();
    ensure(count <= limit, || {
        format!("a page of {limit} holds {count}")
    })?;
    let order: Vec<_> = page.records.iter().map(Record::id).collect();
    ensure(grows(&order), || {
        format!("a page is out of order: {order:?}")
    })?;
    ensure(order.last() <= Some(&page.last), || {
        format!("a page ends at {} with the record {order:?}", page.last)
    })?;
    let foreign = page.records.iter().find(|r| !topics.matches(r.topic()));
    ensure(foreign.is_none(), || {
        format!("{topics} brought {foreign:?}")
    })?;
    Ok(page)
}

/// Everything of `topics` after a place, read in pages, and the gap in front of it.
pub(super) fn read_all(
    history: &impl History,
    topics: &Topics,
    after: &LastEventId,
    limit: usize,
) -> Result<(Option<Gap>, Vec<Record>), Failure> {
    let Page {
        gap,
        mut records,
        mut last,
        ..
    } = replay(history, topics, after, limit)?;
    loop {
        let page = replay(history, topics, &last.into(), limit)?;
        ensure(page.gap.is_none(), || {
            format!("a page that goes on at {last} has a gap: {:?}", page.gap)
        })?;
        if page.records.is_empty() && page.last == last {
            return Ok((gap, records));
        }
        ensure(page.last > last, || {
            format!("a page after {last} ends at {}: no progress", page.last)
        })?;
        records.extend(page.records);
        last = page.last;
    }
}

/// [`read_all`] without a gap.
pub(super) fn read_whole(
    history: &impl History,
    topics: &Topics,
    after: &LastEventId,
) -> Result<Vec<Record>, Failure> {
    let (gap, records) = read_all(history, topics, after, 1_000)?;
    ensure(gap.is_none(), || {
        format!("{topics} after {after:?} has a gap: {gap:?}")
    })?;
    Ok(records)
}

/// What a client that was at `after` is told before the records.
pub(super) fn gap_after(
    history: &impl History,
    topics: &Topics,
    after: &LastEventId,
) -> Result<Gap, Failure> {
    let (gap, _) = read_all(history, topics, after, 1_000)?;
    gap.ok_or_else(|| Failure::new(format!("{topics} after {after:?} has no gap")))
}

pub(super) fn ids(records: &[Record]) -> Vec<EventId> {
    records.iter().map(Record::id).collect()
}

pub(super) fn grows(ids: &[EventId]) -> bool {
    ids.windows(2).all(|pair| pair[0] < pair[1])
}

pub(super) fn same(found: &[EventId], expected: &[EventId], what: &str) -> Result<(), Failure> {
    ensure(found == expected, || {
        let at = found.iter().zip(expected).position(|(f, e)| f != e);
        let at = at.unwrap_or_else(|| found.len().min(expected.len()));
        format!(
            "{what}: {} records where {} are expected; the first that differs is number {at}: {:?}, \
             expected {:?}",
            found.len(),
            expected.len(),
            found.get(at),
            expected.get(at)
        )
    })
}

/// What a record must be, that was stored as `append` and given `id`.
pub(super) fn record_of(id: EventId, append: &Append) -> Record {
    Record::from_block(id, append.topic().clone(), append.block())
}

/// A tail that has said where it starts.
pub(super) struct Follower<'a> {
    stream: BoxStream<'a, TailItem>,
    pub(super) start: EventId,
    pub(super) seen: Vec<Record>,
}

impl<'a> Follower<'a> {
    pub(super) fn open(history: &'a impl History, after: Option<EventId>) -> Result<Self, Failure> {
        let mut stream = history.tail(after);
        match next_item(&mut stream)? {
            Some(TailItem::Start(start)) => Ok(Self {
                stream,
                start,
                seen: Vec::new(),
            }),
            other => Err(Failure::new(format!(
                "a tail begins with {other:?}, not with where it starts"
            ))),
        }
    }

    /// The next record; `None` at the end. A new start is a failure, since nothing was evicted.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        match next_item(&mut self.stream)? {
            None => Ok(None),
            Some(TailItem::Record(record)) => {
                let last = self.seen.last().map_or(self.start, Record::id);
                ensure(record.id() > last, || {
                    format!("a tail brings {} after {last}", record.id())
                })?;
                self.seen.push(record.clone());
                Ok(Some(record))
            }
            Some(other) => Err(Failure::new(format!("a tail brings {other:?}"))),
        }
    }

    /// Follows the tail up to and including a record.
    pub(super) fn until(&mut self, last: EventId) -> Result<(), Failure> {
        while self.seen.last().map_or(self.start, Record::id) < last {
            let record = self.next()?;
            ensure(record.is_some(), || {
                format!("a tail ends before {last}, which is stored")
            })?;
        }
        Ok(())
    }
}

/// The next item; the engine's absences are not the matter here.
fn next_item(stream: &mut BoxStream<'_, TailItem>) -> Result<Option<TailItem>, Failure> {
    loop {
        match block_on(poll_fn(|cx| stream.as_mut().poll_next(cx)))? {
            Some(TailItem::Interrupted(_) | TailItem::Resumed) => {}
            item => return Ok(item),
        }
    }
}

/// Appends from so many threads at once, so many each, to topics in turn. Returns the ids of each
/// thread, with what it appended.
pub(super) fn append_from_threads(
    history: &impl History,
    threads: usize,
    each: usize,
) -> Result<Vec<Vec<(EventId, Append)>>, Failure> {
    const TOPICS: [&str; 3] = ["a", "b.c", "b.d"];
    let appender = |thread: usize| {
        (0..each)
            .map(|n| {
                let event = event_of(TOPICS[(thread + n) % 3], &format!("{thread}/{n}"));
                Ok((append(history, event.clone())?, event))
            })
            .collect::<Result<Vec<_>, Failure>>()
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || appender(thread)))
            .collect();
        running
            .into_iter()
            .map(|thread| {
                let ended = thread.join();
                ended.map_err(|_| Failure::new("an append panicked"))?
            })
            .collect()
    })
}

pub(super) fn last_of(ids: &[EventId]) -> Result<EventId, Failure> {
    ids.last()
        .copied()
        .ok_or_else(|| Failure::new("nothing was appended"))
}

pub(super) fn is_closed<T>(result: &Result<T, HistoryError>) -> bool {
    matches!(result, Err(HistoryError::Closed))
}

pub(super) fn topic(text: &str) -> Result<Topic, Failure> {
    Topic::new(text).map_err(|error| Failure::new(error.to_string()))
}

/// The waker of a task that nobody polls again.
pub(super) fn nobody() -> Waker {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    Waker::from(Arc::new(Nobody))
}
