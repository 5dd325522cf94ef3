//! [`TailItem`], what a history's tail brings, and the tail of [`Memory`].

use std::collections::{vec_deque, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::memory::{Begin, Memory};
use super::view::View;
use super::HistoryError;
use crate::id::EventId;
use crate::record::Record;
use crate::topic::Topics;
use crate::wait::Sleeper;

/// What a [tail](super::History::tail) brings.
#[derive(Debug)]
#[non_exhaustive]
pub enum TailItem {
    /// Every record after this place follows. It comes first; when it comes again, what lies
    /// between the last record and this place may be missing, and this place may be an earlier
    /// one: the log has begun a new life.
    Start(EventId),
    /// The next record.
    Record(Record),
    /// The engine is away. Nothing is missing yet.
    Interrupted(HistoryError),
    /// It is back, and nothing is missing.
    Resumed,
}

/// How many records a [`MemoryTail`] reads at once.
const TAIL_PAGE: usize = 256;

/// Every record of a [`Memory`] as it appears.
#[derive(Debug)]
pub struct MemoryTail<'a> {
    memory: &'a Memory,
    /// `None` once the history is closed and read to its end.
    follows: Option<(Arc<View>, Sleeper)>,
    place: u64,
    /// Where it starts anew, to be said next.
    start: Option<u64>,
    page: vec_deque::IntoIter<Record>,
}

impl<'a> MemoryTail<'a> {
    pub(super) fn new(memory: &'a Memory, begin: &Begin) -> Self {
        let mut tail = Self {
            memory,
            follows: None,
            place: 0,
            start: None,
            page: VecDeque::new().into_iter(),
        };
        if let Ok(start) = memory.start(Topics::all(), begin) {
            tail.follows = Some((start.view, Sleeper::default()));
            tail.place = start.place.max(start.told);
            tail.start = Some(tail.place);
        }
        tail
    }

    fn end(&mut self) {
        if let Some((view, mut sleeper)) = self.follows.take() {
            self.memory.leave(&view, &mut sleeper);
        }
    }
}

impl Stream for MemoryTail<'_> {
    type Item = TailItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(start) = this.start.take() {
                return Poll::Ready(Some(TailItem::Start(this.memory.id_of(start))));
            }
            if let Some(record) = this.page.next() {
                return Poll::Ready(Some(TailItem::Record(record)));
            }
            let Some((view, sleeper)) = &mut this.follows else {
                return Poll::Ready(None);
            };
            // Marked before the look, which so cannot find old news.
            view.waiters().mark(sleeper, cx.waker());
            let (records, last, evicted, closed) = this.memory.read_all(this.place, TAIL_PAGE);
            // Of a hole it is told even if there are records left in front of it: they are the
            // hole's too.
            this.start = (evicted > this.place).then_some(evicted);
            let found_nothing = records.is_empty() && last <= this.place && this.start.is_none();
            this.place = last;
            this.page = VecDeque::from(records).into_iter();
            if found_nothing {
                if !closed {
                    return Poll::Pending;
                }
                this.end();
            }
        }
    }
}

impl Drop for MemoryTail<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
