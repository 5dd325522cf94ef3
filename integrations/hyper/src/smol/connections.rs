//! [`Connections`]: how those that are open learn that they are to end.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use fanfare_server::http1::Phase;

/// The open connections of one server.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A [`Phase`], which only moves on.
    phase: AtomicU8,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next_key: u64,
    /// Every open connection, and its task once it was polled.
    tasks: HashMap<u64, Option<Waker>>,
    /// Who waits for fewer to be open, and than how many.
    waiting: Option<(usize, Waker)>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            phase: AtomicU8::new(Phase::Serve as u8),
            open: Mutex::default(),
        }))
    }

    /// Counts a connection as open until the result is dropped.
    pub(super) fn join(&self) -> Connection {
        let mut open = self.0.open();
        let key = open.next_key;
        open.next_key += 1;
        open.tasks.insert(key, None);
        Connection {
            shared: Arc::clone(&self.0),
            key,
            task: None,
        }
    }

    /// Tells every connection, the open ones and those to come.
    pub(super) fn enter(&self, phase: Phase) {
        self.0.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Who joined the tasks before this lock is woken; who joins later sees the phase.
        let tasks: Vec<Waker> = self.0.open().tasks.values().flatten().cloned().collect();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Completes when fewer than so many are open. For one task at a time.
    pub(super) async fn fewer_than(&self, count: usize) {
        poll_fn(|cx| {
            let mut open = self.0.open();
            if open.tasks.len() < count {
                return Poll::Ready(());
            }
            let before = open.waiting.replace((count, cx.waker().clone()));
            drop(open);
            drop(before);
            Poll::Pending
        })
        .await;
    }
}

impl Shared {
    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Acquire);
        let is_it = |known: &Phase| *known as u8 == phase;
        let earlier = [Phase::Serve, Phase::Finish].into_iter().find(is_it);
        earlier.unwrap_or(Phase::End)
    }

    /// Each step leaves it whole, so a panic elsewhere does not spoil it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among the open ones.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    key: u64,
    /// Whom the next phase wakes.
    task: Option<Waker>,
}

impl Connection {
    /// What to do now. The task is woken when that changes.
    ///
    /// Called whenever the connection is polled, that is for every event: it takes the lock only
    /// the first time, and when the task changes.
    pub(super) fn phase(&mut self, cx: &Context<'_>) -> Phase {
        let is_known = |task: &Waker| task.will_wake(cx.waker());
        if !self.task.as_ref().is_some_and(is_known) {
            let task = cx.waker().clone();
            let before = self
                .shared
                .open()
                .tasks
                .insert(self.key, Some(task.clone()));
            drop(before);
            self.task = Some(task);
        }
        // Read after the task is known, so that no change is missed.
        self.shared.phase()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        let task = open.tasks.remove(&self.key);
        let left = open.tasks.len();
        let waiting = open.waiting.take_if(|(count, _)| left < *count);
        drop(open);
        drop(task);
        if let Some((_, task)) = waiting {
            task.wake();
        }
    }
}
