//! [`Hub`]: what all handles of a broadcaster share: the log, the beat, and who is admitted.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backend::Backend;
use super::builder::{Settings, DEFAULT_RETRY};
use crate::encode::write_retry_line;
use crate::error::{Refused, RefusedReason};
use crate::history::Memory;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::wait::Waiters;

/// What all handles share.
pub(crate) struct Hub {
    /// The log, or the window in front of a backend's.
    pub(crate) memory: Memory,
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) settings: Settings,
    /// Whether the log is closed. Set after the log itself refuses events, so that a subscriber
    /// which sees it set finds the whole log below.
    pub(super) closed: AtomicBool,
    pub(super) closed_at: Mutex<Option<Instant>>,
    /// Counts the ticks at which idle subscribers may owe a sign of life.
    beat: AtomicU64,
    ticking: AtomicBool,
    next_beat: Mutex<Option<Instant>>,
    pub(super) subscribers: AtomicUsize,
    keys: Mutex<HashMap<Arc<str>, usize>>,
    /// Those who wait for the close or for the last subscriber.
    pub(super) ending: Waiters,
    pub(crate) counters: Counters,
    /// Makes jitter differ from hub to hub and from call to call.
    jitter: RandomState,
    jittered: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gaps: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// A subscriber's place among the others. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) hub: Arc<Hub>,
    key: Option<Arc<str>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let mut keys = self.hub.keys.lock();
            if let Some(count) = keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    keys.remove(key);
                }
            }
        }
        // `SeqCst`, with the loads in `Ended`: either it sees the last one gone, or is woken.
        if self.hub.subscribers.fetch_sub(1, Ordering::SeqCst) == 1 && self.hub.is_closed() {
            self.hub.ending.wake_all();
        }
    }
}

impl Hub {
    pub(super) fn new(memory: Memory, backend: Option<Arc<Backend>>, settings: Settings) -> Self {
        Self {
            memory,
            backend,
            settings,
            closed: AtomicBool::new(false),
            closed_at: Mutex::new(None),
            beat: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
            next_beat: Mutex::new(None),
            subscribers: AtomicUsize::new(0),
            keys: Mutex::new(HashMap::new()),
            ending: Waiters::default(),
            counters: Counters::default(),
            jitter: RandomState::new(),
            jittered: AtomicU64::new(0),
        }
    }

    pub(super) fn admit(hub: &Arc<Self>, key: Option<Arc<str>>) -> Result<Permit, Refused> {
        if hub.is_closing() {
            return Err(hub.refuse(RefusedReason::Closing));
        }
        let limit = hub.settings.max_subscribers;
        let one_more = |count| (count < limit).then_some(count + 1);
        // `SeqCst` here and in `keep_ticking`, against `tick`: either it sees the subscriber, or
        // the subscriber sees that nothing ticks.
        if hub
            .subscribers
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more)
            .is_err()
        {
            return Err(hub.refuse(RefusedReason::Full));
        }
        // From here on a return gives the place back.
        let mut permit = Permit {
            hub: Arc::clone(hub),
            key: None,
        };
        if let Some(key) = key.filter(|_| hub.settings.max_per_key < usize::MAX) {
            let mut keys = hub.keys.lock();
            let count = keys.get(&key).copied().unwrap_or(0);
            if count >= hub.settings.max_per_key {
                drop(keys);
                return Err(hub.refuse(RefusedReason::KeyFull));
            }
            keys.insert(Arc::clone(&key), count + 1);
            permit.key = Some(key);
        }
        Ok(permit)
    }

    pub(super) fn refuse(&self, reason: RefusedReason) -> Refused {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let retry_after = self.jittered_retry();
        Refused {
            reason,
            retry_after,
            answer: self.settings.when_refused,
        }
    }

    /// Refuses new events and subscribers. With a backend, the log is closed only once the last
    /// events have come back from it.
    pub(super) fn close(&self) {
        if let Some(backend) = &self.backend {
            backend.is_closing.store(true, Ordering::SeqCst);
            if let Some(feeder) = &*backend.feeder.lock() {
                feeder.unpark();
                return;
            }
        }
        self.finish_close();
    }

    /// Whether new events and subscribers are refused.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closed() || self.backend.as_ref().is_some_and(|b| b.is_closing())
    }

    /// Closes the log, then says so, then wakes everyone.
    pub(super) fn finish_close(&self) {
        if self.memory.close() {
            *self.closed_at.lock() = Some(self.memory.timer().now());
            self.closed.store(true, Ordering::SeqCst);
            self.memory.wake_all();
            self.ending.wake_all();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Acquire)
    }

    /// The reconnection time, give or take a half: those who leave together should not come
    /// back together.
    fn jittered_retry(&self) -> Duration {
        let base = self
            .settings
            .retry
            .unwrap_or(DEFAULT_RETRY)
            .min(LONGEST_RETRY);
        let draw = self
            .jitter
            .hash_one(self.jittered.fetch_add(1, Ordering::Relaxed));
        let share = (draw % 1_000) as u32;
        base / 2 + base * share / 1_000
    }

    /// The last bytes of a stream that the server ends: when to come back.
    pub(crate) fn farewell(&self) -> Option<Bytes> {
        self.settings.retry?;
        let mut bytes = Vec::with_capacity(32);
        write_retry_line(self.jittered_retry(), &mut bytes);
        bytes.push(b'\n');
        Some(bytes.into())
    }

    /// Sees to it that one call of [`tick`](Self::tick) is scheduled, if there is anything to
    /// do for it.
    pub(super) fn keep_ticking(hub: &Arc<Self>) {
        if hub.ticking.load(Ordering::SeqCst) {
            return;
        }
        let timer = hub.memory.timer();
        let Some(next) = hub.next_tick(timer.now()) else {
            return;
        };
        if !hub.ticking.swap(true, Ordering::SeqCst) {
            let tick = Waker::from(Arc::new(Tick(Arc::downgrade(hub))));
            if timer.wake_at(next, tick).is_err() {
                hub.ticking.store(false, Ordering::Release);
            }
        }
    }

    /// Sees to it that records which have just come go when they are too old.
    pub(super) fn keep_sweeping(hub: &Arc<Self>) {
        if hub.memory.age().is_some() {
            Self::keep_ticking(hub);
        }
    }

    /// The next beat or sweep, whichever comes first. Beats come twice in a keep-alive interval,
    /// so that a stream which was written to just after one is not silent for two; sweeps four
    /// times in the age.
    fn next_tick(&self, now: Instant) -> Option<Instant> {
        let beat = self
            .settings
            .keep_alive
            .interval()
            .map(|interval| *self.next_beat.lock().get_or_insert(now + interval / 2));
        let sweep = self
            .memory
            .age()
            .and_then(|age| now.checked_add((age / 4).max(SHORTEST_SWEEP)));
        match (beat, sweep) {
            (Some(beat), Some(sweep)) => Some(beat.min(sweep)),
            (one, other) => one.or(other),
        }
    }

    fn tick(hub: &Arc<Self>) {
        // First of all: whoever publishes or subscribes from here on sees to the next tick.
        hub.ticking.store(false, Ordering::SeqCst);
        let now = hub.memory.timer().now();
        let is_beat = {
            let mut next_beat = hub.next_beat.lock();
            let is_beat = next_beat.is_some_and(|next| next <= now);
            if is_beat {
                // The next is counted from now on, if anybody is there for it.
                *next_beat = None;
            }
            is_beat
        };
        if is_beat {
            hub.beat.fetch_add(1, Ordering::SeqCst);
            hub.memory.wake_all();
        }
        if let Some(backend) = &hub.backend {
            backend.forget_pages();
        }
        let more_to_sweep = hub.memory.sweep();
        if more_to_sweep || hub.subscribers.load(Ordering::SeqCst) > 0 {
            Self::keep_ticking(hub);
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What the timer calls. It does not keep the broadcaster alive.
struct Tick(Weak<Hub>);

impl Wake for Tick {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            Hub::tick(&hub);
        }
    }
}

/// Sweeping more often than this would not make anybody's history better.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);

/// The longest that anybody is asked to wait, so that its jitter can be counted.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 60 * 60);
