//! A history that does what a test says, step by step, its contract or not.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use fanfare_core::history::{Append, BoxFuture, BoxStream, History, HistoryError, Page, TailItem};
use fanfare_core::{Event, EventId, LastEventId, Record, Topic, Topics};
use futures_core::Stream;

/// What a page is, by where it begins.
type Replay = dyn Fn(&LastEventId) -> BoxFuture<'static, Result<Page, HistoryError>> + Send + Sync;

/// What a tail does next.
pub enum Does {
    Brings(TailItem),
    Ends,
    Panics,
    /// As long as somebody takes them: records without end.
    BringsForEver(EventId),
}

/// A history whose tail and pages a test decides. Clones are the same one.
#[derive(Clone)]
pub struct Script(Arc<Shared>);

struct Shared {
    replay: Box<Replay>,
    tail: Mutex<Tail>,
}

#[derive(Default)]
struct Tail {
    next: VecDeque<Does>,
    waker: Option<Waker>,
    /// Where each tail was asked to begin.
    begun: Vec<Option<EventId>>,
    /// The ids that appends are given.
    ids: VecDeque<EventId>,
}

pub fn id(minor: u64) -> EventId {
    EventId::new(7, minor)
}

pub fn record(topic: &'static str, id: EventId) -> Record {
    let append = Append::new(Topic::from_static(topic), &Event::data(topic));
    Record::from_block(id, Topic::from_static(topic), append.block())
}

impl Script {
    /// With pages by where they begin, each there at once.
    pub fn new(page: impl Fn(&LastEventId) -> Page + Send + Sync + 'static) -> Self {
        Self::with(move |after| {
            let page = page(after);
            Box::pin(async move { Ok(page) })
        })
    }

    pub fn with(
        replay: impl Fn(&LastEventId) -> BoxFuture<'static, Result<Page, HistoryError>>
            + Send
            + Sync
            + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            replay: Box::new(replay),
            tail: Mutex::default(),
        }))
    }

    fn change(&self, change: impl FnOnce(&mut Tail)) {
        let mut tail = self.0.tail.lock().expect("no test panics here");
        change(&mut tail);
        let waker = tail.waker.take();
        drop(tail);
        waker.into_iter().for_each(Waker::wake);
    }

    pub fn tail_does(&self, next: Does) {
        self.change(|tail| tail.next.push_back(next));
    }

    pub fn starts(&self, id: EventId) {
        self.tail_does(Does::Brings(TailItem::Start(id)));
    }

    /// Records come by the tail, under one lock.
    pub fn brings(&self, records: impl IntoIterator<Item = (&'static str, EventId)>) {
        let record = |(topic, id)| Does::Brings(TailItem::Record(record(topic, id)));
        self.change(|tail| tail.next.extend(records.into_iter().map(record)));
    }

    /// The next append is given this id, and does not come by the tail.
    pub fn gives(&self, id: EventId) {
        self.change(|tail| tail.ids.push_back(id));
    }

    /// Where each tail was asked to begin.
    pub fn begun(&self) -> Vec<Option<EventId>> {
        self.0
            .tail
            .lock()
            .expect("no test panics here")
            .begun
            .clone()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl History for Script {
    fn append(&self, _: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async {
            let id = self.0.tail.lock().expect("unharmed").ids.pop_front();
            id.ok_or(HistoryError::Closed)
        })
    }

    fn replay<'a>(
        &'a self,
        _: &'a Topics,
        after: &'a LastEventId,
        _: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        (self.0.replay)(after)
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        self.change(|tail| tail.begun.push(after));
        Box::pin(ScriptTail(self))
    }
}

struct ScriptTail<'a>(&'a Script);

impl Stream for ScriptTail<'_> {
    type Item = TailItem;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TailItem>> {
        let mut tail = self.0 .0.tail.lock().expect("no test panics here");
        let Some(next) = tail.next.pop_front() else {
            tail.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Does::BringsForEver(id) = next {
            let after = EventId::new(id.major, id.minor + 1);
            tail.next.push_front(Does::BringsForEver(after));
            return Poll::Ready(Some(TailItem::Record(record("a", id))));
        }
        drop(tail);
        match next {
            Does::Brings(item) => Poll::Ready(Some(item)),
            Does::Ends => Poll::Ready(None),
            _ => panic!("a tail that panics"),
        }
    }
}
