//! [`Hub`]: what all handles of a broadcaster share: the log, the beat, and who is admitted.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::admission::{Admission, Permit, Place};
use super::backend::Backend;
use super::builder::{Settings, DEFAULT_RETRY};
use super::counters::{Counters, EndReason};
use super::drain::DrainState;
use super::lease::{KeyRefused, Leases, Terms};
use crate::encode::{encode_into, write_retry_line};
use crate::error::{Refused, RefusedReason, WhenRefused};
use crate::event::Event;
use crate::history::Memory;
use crate::id::EventId;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timer::LONGEST;
use crate::trace;
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
    pub(super) leases: Leases,
    pub(crate) drain: DrainState,
    /// Whether streams that have not ended are waited for no longer.
    pub(super) has_given_up: AtomicBool,
    /// Those who wait for the close or for the last subscriber.
    pub(super) ending: Waiters,
    pub(crate) counters: Counters,
    /// Makes jitter differ from hub to hub and from call to call.
    jitter: RandomState,
    jittered: AtomicU64,
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
            leases: Leases::default(),
            drain: DrainState::default(),
            has_given_up: AtomicBool::new(false),
            ending: Waiters::default(),
            counters: Counters::default(),
            jitter: RandomState::new(),
            jittered: AtomicU64::new(0),
        }
    }

    /// Admits one more stream, if it may come.
    pub(super) fn admit(hub: &Arc<Self>, admission: Admission) -> Result<Permit, Refused> {
        let answer = admission.when_refused;
        // Before the limits: at the cap too it is this that keeps it out.
        if hub.is_going_away() {
            return Err(hub.refuse(RefusedReason::Closing, answer));
        }
        // From here on a return gives the place back.
        let Some(place) = Place::take(hub) else {
            return Err(hub.refuse(RefusedReason::Full, answer));
        };
        // Again: a drain that has begun since may not have counted it.
        if hub.drain.is_draining() {
            return Err(hub.refuse(RefusedReason::Closing, answer));
        }
        let terms = Terms {
            keys: admission.keys.into(),
            expires: admission.expires,
            lifetime_ends: hub.settings.max_lifetime.and_then(|lifetime| {
                let now = hub.memory.timer().now();
                now.checked_add(lifetime - hub.jitter(lifetime / 10))
            }),
            is_private: admission.is_private,
        };
        let lease = if terms.are_any() {
            let lease = Leases::give(hub, hub.settings.per_key, terms);
            Some(lease.map_err(|refused| match refused {
                KeyRefused::Full => hub.refuse(RefusedReason::KeyFull, answer),
                KeyRefused::Rate(wait) => hub.refuse_for(RefusedReason::Rate, wait, answer),
            })?)
        } else {
            None
        };
        Ok(Permit::new(place, lease, admission.is_private))
    }

    /// A refusal, with a time to come back that is another for each.
    pub(super) fn refuse(&self, reason: RefusedReason, answer: Option<WhenRefused>) -> Refused {
        self.refuse_for(reason, Duration::ZERO, answer)
    }

    /// The same, for at least so long.
    fn refuse_for(
        &self,
        reason: RefusedReason,
        at_least: Duration,
        answer: Option<WhenRefused>,
    ) -> Refused {
        self.counters.refused.add(reason);
        let mut answer = answer.unwrap_or(self.settings.when_refused);
        // Another process takes over, and a browser's `EventSource` is to find it.
        if answer == WhenRefused::Status && self.drain.is_draining() {
            answer = WhenRefused::Soft;
        }
        let retry_after = at_least + self.jittered_retry();
        trace::refused(reason, retry_after);
        Refused {
            reason,
            retry_after,
            answer,
        }
    }

    /// Refuses new events and subscribers. With a backend, the log is closed only once the last
    /// events have come back from it.
    pub(super) fn close(&self) {
        if let Some(backend) = &self.backend {
            backend.close();
            if let Some(feeder) = &*backend.feeder.lock() {
                feeder.unpark();
                return;
            }
        }
        self.finish_close();
    }

    /// Whether new subscribers are refused, whatever the limits.
    pub(super) fn is_going_away(&self) -> bool {
        self.is_closing() || self.drain.is_draining()
    }

    /// Whether new events and subscribers are refused.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closed() || self.backend.as_ref().is_some_and(|b| b.is_closing())
    }

    /// The newest event of which anybody here knows.
    pub(super) fn newest_known(&self) -> EventId {
        let memory = &self.memory;
        let backend = self.backend.as_ref();
        backend.map_or_else(|| memory.last(), |backend| backend.newest_known(memory))
    }

    /// Whether the window has yet to be brought this event, by a backend that can be reached.
    pub(super) fn is_on_its_way(&self, id: EventId) -> bool {
        let backend = self.backend.as_ref();
        backend.is_some_and(|backend| backend.is_ready.load(Ordering::Acquire))
            && self.memory.last() < id
    }

    /// Closes the log, then says so, then wakes everyone.
    pub(super) fn finish_close(&self) {
        if self.memory.close() {
            *self.closed_at.lock() = Some(self.memory.timer().now());
            self.closed.store(true, Ordering::SeqCst);
            self.memory.wake_all();
            self.leases.end_private(EndReason::Closed);
            self.ending.wake_all();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Acquire)
    }

    /// Those who do not read their end are not waited for any longer.
    pub(super) fn give_up_on_the_rest(&self) {
        self.has_given_up.store(true, Ordering::SeqCst);
        self.ending.wake_all();
    }

    /// Less than this, another each time.
    fn jitter(&self, below: Duration) -> Duration {
        let drawn = self.jittered.fetch_add(1, Ordering::Relaxed);
        let share = self.jitter.hash_one(drawn) % u64::from(PARTS);
        // Divided first: the longest of all times is multiplied too.
        below / PARTS * u32::try_from(share).unwrap_or(0)
    }

    /// The reconnection time, give or take a half: those who leave together should not come
    /// back together.
    fn jittered_retry(&self) -> Duration {
        let base = self.settings.retry.unwrap_or(DEFAULT_RETRY).min(LONGEST);
        base / 2 + self.jitter(base)
    }

    /// The last bytes of a stream that the server ends: why, if the application wants that said, and
    /// when to come back.
    pub(crate) fn farewell(&self, reason: EndReason) -> Option<Bytes> {
        let mut bytes = Vec::with_capacity(32);
        if let Some(name) = &self.settings.end_name {
            let data = format!("{{\"reason\":\"{}\"}}", reason.as_str());
            encode_into(&Event::data(data).name(name.clone()), &mut bytes);
        }
        if self.settings.retry.is_some() {
            write_retry_line(self.jittered_retry(), &mut bytes);
            bytes.push(b'\n');
        }
        (!bytes.is_empty()).then(|| bytes.into())
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

/// How many different times there are to come back at, at most.
const PARTS: u32 = 1 << 16;

/// Sweeping more often than this would not make anybody's history better.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);
