//! A history that is somewhere else, as a test wishes: away, slow, trimmed, replaced, read often.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use fanfare_core::history::{
    Append, BoxFuture, BoxStream, History, HistoryError, Memory, Page, TailItem,
};
use fanfare_core::{EventId, LastEventId, Record, Retention, Topics};
use futures_core::Stream;
use futures_lite::future::block_on;

/// A log behind a network that a test can cut. Clones are the same one.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    reads: AtomicUsize,
}

struct State {
    memory: Arc<Memory>,
    /// How often the log has been replaced.
    life: usize,
    is_up: bool,
    /// Whether replays wait.
    is_held: bool,
    wakers: Vec<Waker>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

fn away() -> HistoryError {
    HistoryError::Unavailable("the network is cut".into())
}

impl Remote {
    pub fn new(retention: impl Into<Retention>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                memory: Arc::new(Memory::new(retention.into())),
                life: 0,
                is_up: true,
                is_held: false,
                wakers: Vec::new(),
            }),
            reads: AtomicUsize::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics here")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn set_up(&self, is_up: bool) {
        self.change(|state| state.is_up = is_up);
    }

    pub fn hold_replays(&self, is_held: bool) {
        self.change(|state| state.is_held = is_held);
    }

    /// The log is lost, and an empty one begins.
    pub fn replace(&self, retention: impl Into<Retention>) {
        self.replace_with(Memory::new(retention.into()));
    }

    /// The log is lost, and another is there instead.
    pub fn replace_with(&self, memory: Memory) {
        self.change(|state| {
            state.memory = Arc::new(memory);
            state.life += 1;
        });
    }

    /// How many pages were read.
    pub fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Whether nobody else has it.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// What another process appends.
    pub fn append_now(&self, append: Append) -> EventId {
        block_on(self.append(append)).expect("it is up")
    }

    fn page(state: &State, topics: &Topics, after: &LastEventId, limit: usize) -> Page {
        block_on(state.memory.replay(topics, after, limit)).expect("memory")
    }
}

impl History for Remote {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async move {
            let memory = {
                let state = self.lock();
                if !state.is_up {
                    return Err(away());
                }
                Arc::clone(&state.memory)
            };
            let id = memory.append(append).await?;
            self.change(|_| ());
            Ok(id)
        })
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        Box::pin(poll_fn(move |cx| {
            let mut state = self.lock();
            if !state.is_up {
                return Poll::Ready(Err(away()));
            }
            if state.is_held {
                state.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(Self::page(&state, topics, after, limit)))
        }))
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        Box::pin(RemoteTail {
            remote: self,
            after,
            life: usize::MAX,
            is_interrupted: false,
            records: VecDeque::new(),
        })
    }
}

struct RemoteTail<'a> {
    remote: &'a Remote,
    after: Option<EventId>,
    life: usize,
    is_interrupted: bool,
    records: VecDeque<Record>,
}

impl Stream for RemoteTail<'_> {
    type Item = TailItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TailItem>> {
        if let Some(record) = self.records.pop_front() {
            self.after = Some(record.id());
            return Poll::Ready(Some(TailItem::Record(record)));
        }
        let mut state = self.remote.lock();
        if !state.is_up {
            state.wakers.push(cx.waker().clone());
            drop(state);
            if std::mem::replace(&mut self.is_interrupted, true) {
                return Poll::Pending;
            }
            return Poll::Ready(Some(TailItem::Interrupted(away())));
        }
        let is_first = self.life == usize::MAX;
        let all = Topics::all();
        let after = match self.after {
            Some(after) if self.life == state.life || is_first => after,
            // From now on; and of a new life all that there is.
            _ if is_first => Remote::page(&state, &all, &LastEventId::none(), usize::MAX).last,
            _ => {
                let page = Remote::page(&state, &all, &LastEventId::none(), 1);
                let first = page.records.first().map_or(page.last, Record::id);
                EventId::new(first.major, 0)
            }
        };
        if self.life != state.life {
            (self.life, self.is_interrupted) = (state.life, false);
            drop(state);
            self.after = Some(after);
            return Poll::Ready(Some(TailItem::Start(after)));
        }
        if std::mem::take(&mut self.is_interrupted) {
            return Poll::Ready(Some(TailItem::Resumed));
        }
        let page = Remote::page(&state, &all, &after.into(), 100);
        if let Some(gap) = page.gap {
            drop(state);
            self.after = Some(gap.to);
            return Poll::Ready(Some(TailItem::Start(gap.to)));
        }
        if page.records.is_empty() {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.records = page.records.into();
        self.poll_next(cx)
    }
}
