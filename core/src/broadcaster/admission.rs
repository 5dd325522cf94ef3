//! [`Admission`]: what a stream is admitted with, and [`Permit`], what it has then.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::EndReason;
use super::hub::Hub;
use super::lease::Lease;
use crate::error::WhenRefused;
use crate::sync::{fence, Ordering};
use crate::trace;

/// What a stream is admitted with.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    pub(super) keys: Vec<Arc<str>>,
    pub(super) expires: Option<Instant>,
    pub(super) when_refused: Option<WhenRefused>,
    pub(super) is_private: bool,
}

impl Admission {
    pub(super) fn add_key(&mut self, key: &str) {
        // One that was given twice counts once.
        if !self.keys.iter().any(|known| **known == *key) {
            self.keys.push(key.into());
        }
    }

    pub(super) fn expire_in(&mut self, hub: &Hub, time: Duration) {
        // What no clock can count to does not expire.
        self.expires = hub.memory.timer().now().checked_add(time);
    }
}

/// A stream that was admitted. Dropping it gives back all that it took, on every path.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) hub: Place,
    pub(crate) lease: Option<Arc<Lease>>,
    /// Why the stream is over, once it is.
    pub(crate) reason: EndReason,
    /// Whether there is a stream, and not only the intent to open one.
    is_open: bool,
    /// Whether the stream has an end of its own.
    is_private: bool,
}

impl Permit {
    pub(super) fn new(hub: Place, lease: Option<Arc<Lease>>, is_private: bool) -> Self {
        Self {
            hub,
            lease,
            reason: EndReason::Left,
            is_open: false,
            is_private,
        }
    }

    /// Nothing can refuse the stream any more.
    pub(super) fn opened(mut self) -> Self {
        self.is_open = true;
        self.hub.counters.opened.fetch_add(1, Ordering::Relaxed);
        trace::opened();
        self
    }

    /// Why the stream is to end now, whatever it still has to deliver.
    pub(crate) fn must_end(&self) -> Option<EndReason> {
        self.lease.as_ref()?.ended(&**self.hub.memory.timer())
    }

    /// Why the stream is over. A client may leave before it has read that its stream was ended.
    fn end_reason(&self) -> EndReason {
        match self.reason {
            EndReason::Left => self.must_end().unwrap_or(EndReason::Left),
            reason => reason,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            self.hub.leases.take_back(lease);
        }
        if !self.is_private && self.reason != EndReason::Drained {
            self.hub.drain.note_left();
        }
        if self.is_open {
            let reason = self.end_reason();
            self.hub.counters.ended.add(reason);
            trace::ended(reason);
        }
    }
}

/// One of the places that a broadcaster has for streams.
#[derive(Debug)]
pub(crate) struct Place(Arc<Hub>);

impl Place {
    /// One more, if there is one.
    pub(super) fn take(hub: &Arc<Hub>) -> Option<Self> {
        let limit = hub.settings.max_subscribers;
        let one_more = |count| (count < limit).then_some(count + 1);
        // `SeqCst` here and in `keep_ticking`, against `tick`: either it sees the subscriber, or
        // the subscriber sees that nothing ticks.
        hub.subscribers
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more)
            .ok()?;
        // Pairs with the fence in `DrainState::begin`: either the drain counts the subscriber, or the
        // subscriber sees the drain.
        fence(Ordering::SeqCst);
        Some(Self(Arc::clone(hub)))
    }
}

impl Deref for Place {
    type Target = Arc<Hub>;

    fn deref(&self) -> &Arc<Hub> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // `SeqCst`, with the loads in `Ended`: either it sees the last one gone, or it is woken.
        let was_last = self.subscribers.fetch_sub(1, Ordering::SeqCst) == 1;
        // Pairs with the fence in `DrainState::begin`: either the drain sees the last one gone, or the
        // last one sees the drain.
        fence(Ordering::SeqCst);
        if was_last && (self.is_closed() || self.drain.is_draining()) {
            self.ending.wake_all();
        }
    }
}
