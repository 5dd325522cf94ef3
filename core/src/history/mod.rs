//! [`History`], the replay store: the trait, what it takes and hands out, and [`Memory`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;

use crate::gap::Gap;
use crate::id::{EventId, LastEventId};
use crate::record::Record;
use crate::topic::Topics;

// In the order in which an event travels.
mod append;
mod error;
mod memory;
mod keys;
mod log;
mod view;
mod tail;
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;

pub use append::Append;
pub use error::HistoryError;
pub(crate) use memory::{Begin, Fill, Joined, Limits, Start, MAX_BATCH};
pub use memory::{Memory, TopicStats};
pub use tail::{MemoryTail, TailItem};
pub(crate) use view::{Batch, View};

/// A future on the heap, so that [`History`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream on the heap, so that [`History`] can be a trait object.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// An ordered log of encoded events that can be read again.
///
/// # Contract
///
/// **Order.** A log has one order for all its topics, and ids are that order: numbers that only
/// grow. No id becomes visible, to [`replay`](Self::replay) or [`tail`](Self::tail), before
/// every smaller one; a reader that has seen an id has nothing to come back for. An id is handed
/// out once: not even a log that has lost records hands it out again.
///
/// **Append.** The history assigns the id. When the future is ready with it, the record is
/// stored as durably as the backend was asked to store it, and will be replayed and tailed
/// until retention evicts it. With an error the caller has no id, and [`HistoryError`] says
/// whether trying again can help, and whether it can store the event twice.
///
/// **Contiguity or a gap.** [`replay`](Self::replay) returns, in order, every record of the
/// topics after the place it was asked for, or a [`Gap`] that names the hole, followed by every
/// record that is left. An id from an earlier life of the log, from its future, or from
/// elsewhere is recognised by the history that is asked, and is never an error: only the
/// history can judge an id.
///
/// **Tail.** [`tail`](Self::tail) says where it starts, then brings every record behind that place
/// in order. Where it cannot promise that, since records were evicted before they were read, or the
/// log began a new life, it says where it starts anew. It outlives the engine's absence: it reports
/// the interruption, tries again by itself with growing pauses, and goes on behind the last record
/// that it brought.
///
/// **Retention** is per topic, by count, bytes and age ([`Retention`]), so that a loud topic
/// cannot evict a quiet one's records. The newest record of a topic is evicted by age alone.
///
/// **Any runtime.** A [`Broadcaster`](crate::Broadcaster) polls the tail on a thread of its own, and
/// the other futures on whatever thread asks. A backend whose engine needs a runtime brings it
/// along.
///
/// **Cancellation.** Every future may be dropped at any point. An append whose future is
/// dropped has either happened or not; it never half happens.
///
/// **Panics.** None, whatever it is asked.
///
/// ```
/// use fanfare_core::history::{Append, History, Memory, Retention};
/// use fanfare_core::{Event, LastEventId, Topic, Topics};
///
/// # futures_lite::future::block_on(async {
/// let history: Box<dyn History> = Box::new(Memory::new(Retention::new()));
/// let quote = |price| Append::new(Topic::from_static("prices"), &Event::data(price));
/// let first = history.append(quote("1.07")).await?;
/// let second = history.append(quote("1.08")).await?;
///
/// let page = history.replay(&Topics::all(), &LastEventId::from(first), 100).await?;
/// assert_eq!(page.records.len(), 1);
/// assert_eq!(page.records[0].id(), second);
/// assert_eq!(page.gap, None);
/// # Ok::<(), fanfare_core::history::HistoryError>(())
/// # }).unwrap();
/// ```
pub trait History: fmt::Debug + Send + Sync + 'static {
    /// Stores an event and returns the id that it was given.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>>;

    /// At most `limit` records of `topics` strictly after `after`; from the oldest that is
    /// retained if `after` names no place.
    ///
    /// A page may end earlier, and should before it takes more than [`MAX_PAGE_BYTES`]: it is held in memory
    /// for as long as the clients take that it is sent to.
    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>>;

    /// Every record of every topic after `after`, in order, as they appear, from every process
    /// that appends; from now on if `after` is `None`.
    ///
    /// The stream ends when the history is closed.
    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem>;
}

const _: Option<&dyn History> = None;

impl<H: History + ?Sized> History for Arc<H> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        (**self).append(append)
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        (**self).replay(topics, after, limit)
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        (**self).tail(after)
    }
}

/// The most bytes of one page, in which a single record that is larger still has its place: 256 KiB.
pub const MAX_PAGE_BYTES: usize = 256 << 10;

/// How many keyed appends a history remembers at least, for ten minutes: see [`Append::key`].
pub const REMEMBERED_KEYS: usize = 10_000;

/// How long to wait after a failure, if so many before it came in a row: growing pauses, from 50 ms to
/// 5 s. The core's and that of the histories beside it.
#[doc(hidden)]
#[must_use]
pub fn retry_pause(failures: u32) -> Duration {
    let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

/// A part of a history, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The hole in front of the records, if there is one.
    pub gap: Option<Gap>,
    /// The records.
    pub records: Vec<Record>,
    /// The place to ask for next. Nothing of these topics is left between the last record and
    /// it.
    pub last: EventId,
}

impl Page {
    /// A page that a history of your own hands out.
    #[must_use]
    pub fn new(gap: Option<Gap>, records: Vec<Record>, last: EventId) -> Self {
        Self { gap, records, last }
    }

    /// Its beginning: at most so many records, and at least one, so that paging leads on.
    pub(crate) fn cut(&self, limit: usize) -> Self {
        let records: Vec<Record> = self.records.iter().take(limit.max(1)).cloned().collect();
        let is_cut = records.len() < self.records.len();
        let last = records.last().filter(|_| is_cut).map(Record::id);
        Self::new(self.gap.clone(), records, last.unwrap_or(self.last))
    }
}

/// How much of each topic a history retains. Whatever limit is met first evicts the oldest.
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::history::Retention;
///
/// let retention = Retention::new().records(500).bytes(1 << 20).age(Duration::from_secs(600));
/// # let _ = retention;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Retention {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Option<Duration>,
}

impl Retention {
    /// 1,000 records, 1 MiB, of any age: a client that was away for a moment misses nothing, and
    /// a thousand busy topics fit into a gigabyte.
    pub const fn new() -> Self {
        Self {
            records: 1_000,
            bytes: 1 << 20,
            age: None,
        }
    }

    /// At most this many records per topic; at least 1, since a record must be readable to be
    /// delivered at all.
    pub const fn records(mut self, records: usize) -> Self {
        self.records = if records == 0 { 1 } else { records };
        self
    }

    /// At most this many encoded bytes per topic. The newest record stays, whatever its size.
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Nothing older than this. Kept with a slack of at most a quarter of it.
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// How many records per topic: for a history of your own, as are the other two.
    #[must_use]
    pub const fn max_records(&self) -> usize {
        self.records
    }

    /// How many encoded bytes per topic.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.bytes
    }

    /// How old a record can be, if that matters.
    #[must_use]
    pub const fn max_age(&self) -> Option<Duration> {
        self.age
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

impl From<usize> for Retention {
    /// So many records per topic.
    fn from(records: usize) -> Self {
        Self::new().records(records)
    }
}
