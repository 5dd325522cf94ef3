//! [`Feed`]: the newest records, from the committer to those who follow the tail.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use fanfare_core::{EventId, Record};

use crate::foreign;

/// How much a tail may be behind before it reads from the file: so many records ...
const MAX_RECORDS: usize = 4_096;

/// ... and bytes.
const MAX_BYTES: usize = 8 << 20;

/// The newest records, and who waits for the next.
#[derive(Debug)]
pub(crate) struct Feed {
    epoch: u64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Every record after `base`, in order, up to `last`.
    records: VecDeque<Record>,
    bytes: usize,
    base: u64,
    last: u64,
    is_closed: bool,
    /// Whether the file cannot be used: who follows finds that out by reading from it.
    is_interrupted: bool,
    next_key: u64,
    /// Of tails that have read everything.
    wakers: HashMap<u64, Waker>,
}

/// What a tail finds.
pub(crate) enum Found {
    Records(Vec<Record>),
    /// It has to read from the file: it is too far behind, or that cannot be used.
    Behind,
    /// It will be woken.
    Nothing,
    Closed,
}

impl Feed {
    pub(crate) fn new(epoch: u64, last: u64) -> Self {
        let recent = Recent {
            base: last,
            last,
            ..Recent::default()
        };
        Self {
            epoch,
            recent: Mutex::new(recent),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everyone, outside of the lock.
    fn wake(mut recent: MutexGuard<'_, Recent>) {
        let wakers = std::mem::take(&mut recent.wakers);
        drop(recent);
        wakers.into_values().for_each(foreign::wake);
    }

    pub(crate) fn publish(&self, records: Vec<Record>, last: u64) {
        let mut recent = self.lock();
        recent.last = last;
        recent.bytes += records.iter().map(|r| r.bytes().len()).sum::<usize>();
        recent.records.extend(records);
        while recent.records.len() > MAX_RECORDS || recent.bytes > MAX_BYTES {
            let Some(oldest) = recent.records.pop_front() else {
                break;
            };
            recent.bytes -= oldest.bytes().len();
            recent.base = oldest.id().minor;
        }
        Self::wake(recent);
    }

    /// Forgets everything: who follows has to read from the file.
    pub(crate) fn restart(&self, last: u64) {
        let mut recent = self.lock();
        recent.records.clear();
        recent.bytes = 0;
        recent.base = last;
        recent.last = last;
        recent.is_interrupted = false;
        Self::wake(recent);
    }

    /// Sends everybody to the file, which cannot be used, until it [can](Self::restart).
    pub(crate) fn interrupt(&self) {
        let mut recent = self.lock();
        recent.is_interrupted = true;
        Self::wake(recent);
    }

    pub(crate) fn close(&self) {
        let mut recent = self.lock();
        recent.is_closed = true;
        Self::wake(recent);
    }

    /// The newest place, unless it is closed.
    pub(crate) fn last(&self) -> Option<EventId> {
        let recent = self.lock();
        (!recent.is_closed).then(|| EventId::new(self.epoch, recent.last))
    }

    /// A tail's name here.
    pub(crate) fn key(&self) -> u64 {
        let mut recent = self.lock();
        recent.next_key += 1;
        recent.next_key
    }

    pub(crate) fn leave(&self, key: u64) {
        let waker = self.lock().wakers.remove(&key);
        drop(waker);
    }

    /// At most `limit` records after a place; else the waker is called when there are some.
    pub(crate) fn after(&self, place: EventId, limit: usize, key: u64, waker: &Waker) -> Found {
        let mut recent = self.lock();
        let is_interrupted = recent.is_interrupted && !recent.is_closed;
        if place.minor < recent.base || is_interrupted {
            return Found::Behind;
        }
        let from = recent.records.partition_point(|r| r.id() <= place);
        let records: Vec<_> = recent.records.range(from..).take(limit).cloned().collect();
        if !records.is_empty() {
            return Found::Records(records);
        }
        if recent.is_closed {
            return Found::Closed;
        }
        let old = recent.wakers.insert(key, waker.clone());
        drop(recent);
        drop(old);
        Found::Nothing
    }
}
