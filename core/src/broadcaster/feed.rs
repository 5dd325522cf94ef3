//! The thread that reads a backend's tail into the window: one for each broadcaster that has a
//! backend, whatever reads or publishes.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::hub::Hub;
use crate::history::{BoxStream, HistoryError, TailItem};
use crate::id::EventId;
use crate::record::Record;
use crate::sync::Ordering;
use crate::trace;

/// How many records are fed under one lock.
const FEED: usize = 256;

/// How long a close or a drain waits for events that were published and have not come back by the tail.
pub(super) const LAST_EVENTS: Duration = Duration::from_millis(500);

/// The pause before a tail that has ended by itself, or has panicked, is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Starts the thread. It ends with the broadcaster.
///
/// If the system refuses a thread, the broadcaster is there and never ready, as if its engine was
/// away.
pub(super) fn start(hub: &Arc<Hub>, backend: &Arc<Backend>) {
    if cfg!(loom) {
        // A model has its own threads, and its log no tail.
        return;
    }
    let (weak, of_thread) = (Arc::downgrade(hub), Arc::clone(backend));
    // Held until the thread is noted, which it is before it can be forgotten.
    let mut feeder = backend.feeder.lock();
    let spawned = thread::Builder::new()
        .name("fanfare-history".to_owned())
        .spawn(move || {
            Feeder {
                hub: weak,
                backend: of_thread,
                closing_since: None,
                was_ready: None,
            }
            .run();
        });
    match spawned {
        Ok(handle) => *feeder = Some(handle.thread().clone()),
        Err(_) => backend.note_heard_of(),
    }
}

struct Feeder {
    /// It does not keep the broadcaster alive.
    hub: Weak<Hub>,
    backend: Arc<Backend>,
    closing_since: Option<Instant>,
    /// Whether the tail was being read when that was last noted.
    was_ready: Option<bool>,
}

/// Whether to go on.
#[derive(PartialEq)]
enum Then {
    GoOn,
    Stop,
}

impl Feeder {
    fn run(mut self) {
        // Until it is known where the log stands, from now on; after that, from there on.
        let mut after = None;
        loop {
            let history = Arc::clone(&self.backend.history);
            let followed = catch_unwind(AssertUnwindSafe(|| {
                let mut tail = history.tail(after);
                self.follow(&mut tail)
            }));
            let stop = matches!(followed, Ok(Then::Stop));
            if stop {
                self.backend.is_ready.store(false, Ordering::Release);
            } else {
                self.interrupted(&HistoryError::Unavailable("its tail has ended".into()));
            }
            if stop || self.rest(Some(REOPEN)) == Then::Stop {
                break;
            }
            let hub = self.hub.upgrade();
            let begun = hub.filter(|hub| hub.memory.has_begun());
            after = begun.map(|hub| hub.memory.last());
        }
        *self.backend.feeder.lock() = None;
        if let Some(hub) = self.hub.upgrade().filter(|_| self.backend.is_closing()) {
            hub.finish_close();
        }
    }

    /// Reads the tail until it ends or the broadcaster does.
    fn follow(&mut self, tail: &mut BoxStream<'_, TailItem>) -> Then {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut records: Vec<Record> = Vec::new();
        loop {
            let item = match tail.as_mut().poll_next(&mut cx) {
                Poll::Ready(Some(TailItem::Record(record))) => {
                    records.push(record);
                    if records.len() < FEED {
                        continue;
                    }
                    None
                }
                other => Some(other),
            };
            // Whatever else comes, comes after these.
            let Some(hub) = self.hub.upgrade() else {
                return Then::Stop;
            };
            if !records.is_empty() {
                hub.memory.feed(&records);
                records.clear();
                Hub::keep_sweeping(&hub);
            }
            match item {
                None | Some(Poll::Ready(Some(TailItem::Record(_)))) => {}
                Some(Poll::Ready(Some(TailItem::Start(id)))) => self.restart(&hub, id),
                Some(Poll::Ready(Some(TailItem::Interrupted(error)))) => self.interrupted(&error),
                Some(Poll::Ready(Some(TailItem::Resumed))) => self.resumed(),
                Some(Poll::Ready(None)) => return Then::GoOn,
                Some(Poll::Pending) => {
                    drop(hub);
                    if self.rest(None) == Then::Stop {
                        return Then::Stop;
                    }
                    continue;
                }
            }
            drop(hub);
            // A close does not wait for a tail that always has more.
            if self.is_over() {
                return Then::Stop;
            }
        }
    }

    fn restart(&mut self, hub: &Hub, id: EventId) {
        // A tail that was opened again goes on where the last one stopped.
        if !hub.memory.has_begun() || id != hub.memory.last() {
            self.backend.restart(&hub.memory, id);
        }
        self.resumed();
    }

    fn interrupted(&mut self, error: &HistoryError) {
        self.backend.is_ready.store(false, Ordering::Release);
        // Once, however often it is tried to go on.
        if self.was_ready.replace(false) != Some(false) {
            self.backend.note_interruption();
            trace::unavailable(error);
        }
    }

    fn resumed(&mut self) {
        self.backend.is_ready.store(true, Ordering::Release);
        self.backend.note_heard_of();
        self.backend.renew();
        if self.was_ready.replace(true) != Some(true) {
            trace::available();
        }
    }

    /// Sleeps until somebody calls, or for so long.
    fn rest(&mut self, limit: Option<Duration>) -> Then {
        if self.is_over() {
            return Then::Stop;
        }
        let limit = match (self.closing_since, limit) {
            // Not for longer than the last events are waited for.
            (Some(_), _) => Some(LAST_EVENTS / 10),
            (None, limit) => limit,
        };
        match limit {
            Some(limit) => thread::park_timeout(limit),
            None => thread::park(),
        }
        Then::GoOn
    }

    /// Whether the broadcaster is gone, or closing and all that it has published has come.
    fn is_over(&mut self) -> bool {
        let Some(hub) = self.hub.upgrade() else {
            return true;
        };
        if !self.backend.is_closing() {
            return false;
        }
        let since = *self.closing_since.get_or_insert_with(Instant::now);
        let is_ready = self.backend.is_ready.load(Ordering::Acquire);
        self.backend.has_caught_up(&hub.memory) || !is_ready || since.elapsed() >= LAST_EVENTS
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
