//! [`Drain`]: ends all streams, spread over a window, so that their clients do not come back at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{ready, Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::counters::{DrainProgress, EndReason};
use super::feed::LAST_EVENTS;
use super::hub::Hub;
use super::lease::Leases;
use super::Broadcaster;
use crate::id::EventId;
use crate::sync::{fence, AtomicBool, AtomicUsize, Mutex, Ordering};
use crate::timer::{Alarm, LONGEST};
use crate::trace;
use crate::wait::Sleeper;

/// How a broadcaster is drained: see [`Broadcaster::drain`].
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::broadcaster::Drain;
///
/// // Ten thousand clients come back over five seconds. A private stream may take three to finish,
/// // and who does not read keeps nobody for longer than eight.
/// let drain = Drain::over(Duration::from_secs(5))
///     .grace(Duration::from_secs(3))
///     .bound(Duration::from_secs(8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drain {
    window: Duration,
    grace: Option<Duration>,
    bound: Option<Duration>,
}

impl Drain {
    /// Subscribers' streams end evenly over this time, a day at most.
    pub fn over(window: Duration) -> Self {
        Self {
            window,
            grace: None,
            bound: None,
        }
    }

    /// How long [private streams](Broadcaster::private) may take to come to their own end. By default
    /// the window.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// When it is over at the latest, whoever still has not read its end; from its begin on. By
    /// default a second after the window and the grace. If it is shorter than these, they are cut.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = Some(bound);
        self
    }

    fn plan(self, now: Instant, streams: usize, awaited: EventId) -> Plan {
        let grace = self.grace.unwrap_or(self.window);
        let usual = self
            .window
            .max(grace)
            .saturating_add(Duration::from_secs(1));
        let bound = self.bound.unwrap_or(usual).min(LONGEST);
        Plan {
            began: now,
            window: self.window.min(bound),
            private_end: now + grace.min(bound),
            bound: now + bound,
            streams,
            private: 0,
            due: 0.0,
            reckoned: Duration::ZERO,
            released: 0,
            awaited,
        }
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Streams that were open when it began.
    pub streams: usize,
    /// Of these, those that were still open at the [bound](Drain::bound): their clients had not read
    /// their end.
    pub forced: usize,
    /// How long it took.
    pub took: Duration,
}

/// A drain that is under way: what the subscribers look at, and what is planned.
#[derive(Debug, Default)]
pub(crate) struct DrainState {
    /// Whether one has begun. It is never taken back.
    is_draining: AtomicBool,
    /// How many subscribers may end now. Whoever is at the tail takes one and ends.
    ends: AtomicUsize,
    /// How many subscribers have left by themselves since it began.
    left: AtomicUsize,
    plan: Mutex<Option<Plan>>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    began: Instant,
    window: Duration,
    private_end: Instant,
    bound: Instant,
    streams: usize,
    /// Of these, those that have an end of their own.
    private: usize,
    /// Ends that are due by now, and when that was reckoned.
    due: f64,
    reckoned: Duration,
    /// Ends that have been handed out.
    released: usize,
    /// The newest event that was published before: none ends until it has come back from the backend.
    awaited: EventId,
}

/// Ends are handed out this often: for a window of five seconds and ten thousand streams, forty.
const TICK: Duration = Duration::from_millis(20);

impl DrainState {
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Whether there are ends for subscribers that have nothing to send.
    pub(crate) fn has_ends(&self) -> bool {
        self.ends.load(Ordering::Acquire) > 0
    }

    /// Takes an end for a subscriber, if one is left.
    pub(crate) fn take_end(&self) -> bool {
        let take = |ends: usize| ends.checked_sub(1);
        let ends = &self.ends;
        ends.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take)
            .is_ok()
    }

    /// A subscriber has gone that was handed no end.
    pub(super) fn note_left(&self) {
        if self.is_draining() {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How far it has come.
    pub(super) fn progress(&self, hub: &Hub) -> Option<DrainProgress> {
        let plan = (*self.plan.lock())?;
        let now = hub.memory.timer().now();
        Some(DrainProgress {
            streams: plan.streams,
            open: hub.subscribers.load(Ordering::SeqCst).min(plan.streams),
            elapsed: now.saturating_duration_since(plan.began),
        })
    }

    /// Begins it, unless it has begun.
    fn begin(hub: &Arc<Hub>, drain: Drain) -> Plan {
        let state = &hub.drain;
        // The clock is foreign code: outside the lock.
        let now = hub.memory.timer().now();
        let awaited = hub.newest_known();
        let mut held = state.plan.lock();
        if let Some(plan) = *held {
            return plan;
        }
        // Nobody is admitted from here on.
        state.is_draining.store(true, Ordering::Release);
        // Pairs with the fences in `Place`.
        fence(Ordering::SeqCst);
        let streams = hub.subscribers.load(Ordering::SeqCst);
        let plan = drain.plan(now, streams, awaited);
        *held = Some(plan);
        drop(held);
        trace::drain_begun(plan.streams, plan.window);
        let private = Leases::end_private_at(hub, plan.private_end, EndReason::Drained);
        if let Some(plan) = &mut *state.plan.lock() {
            plan.private = private;
        }
        Self::tick(hub);
        plan
    }

    /// Hands out the ends that are due, and wakes as many who can take them.
    fn tick(hub: &Arc<Hub>) {
        let state = &hub.drain;
        // Nobody is left, and nobody is admitted.
        if hub.subscribers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let Some(Plan { began, awaited, .. }) = *state.plan.lock() else {
            return;
        };
        let now = hub.memory.timer().now();
        let elapsed = now.saturating_duration_since(began);
        let is_awaited = elapsed < LAST_EVENTS && hub.is_on_its_way(awaited);
        if is_awaited {
            if let Some(plan) = &mut *state.plan.lock() {
                // What is to come is spread over what is left.
                plan.reckoned = elapsed;
            }
            if Self::tick_at(hub, now + TICK) {
                return;
            }
        }
        let mut held = state.plan.lock();
        let Some(plan) = &mut *held else { return };
        if elapsed >= plan.window {
            drop(held);
            // Everyone, also those who were admitted in the moment in which it began.
            state.ends.store(usize::MAX, Ordering::SeqCst);
            hub.memory.wake_all();
            return;
        }
        let more = plan.ends_due(elapsed, state.left.load(Ordering::Relaxed));
        let streams = plan.streams;
        let tenth = |released: usize| released * 10 / streams.max(1);
        let is_next_tenth = tenth(plan.released) > tenth(plan.released - more);
        let next = now + TICK.min(plan.window - elapsed);
        drop(held);
        if is_next_tenth {
            trace::drain_progress(streams, hub.subscribers.load(Ordering::SeqCst));
        }
        // Ends that nobody took, since who was woken is not read any more, are offered again.
        let ends = state.ends.fetch_add(more, Ordering::SeqCst) + more;
        hub.memory.wake_some(ends);
        if !Self::tick_at(hub, next) {
            // Without a timer there is no window to spread them over.
            state.ends.store(usize::MAX, Ordering::SeqCst);
            hub.memory.wake_all();
        }
    }

    /// Sees to the next tick. Returns whether there is a timer that will call it.
    fn tick_at(hub: &Arc<Hub>, next: Instant) -> bool {
        let tick = Waker::from(Arc::new(Tick(Arc::downgrade(hub))));
        hub.memory.timer().wake_at(next, tick).is_ok()
    }
}

impl Plan {
    /// How many more ends are handed out now: those that are to come are spread over the rest of the
    /// window, also if many of the streams have `left` by themselves.
    // Positive, and at most the count itself.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    fn ends_due(&mut self, elapsed: Duration, left: usize) -> usize {
        let subscribers = self.streams.saturating_sub(self.private + left);
        let to_come = (subscribers as f64 - self.due).max(0.0);
        let time_left = self.window.saturating_sub(self.reckoned);
        let passed = elapsed.saturating_sub(self.reckoned);
        self.due += to_come * passed.as_secs_f64() / time_left.as_secs_f64();
        self.reckoned = elapsed;
        let more = (self.due.round() as usize).saturating_sub(self.released);
        self.released += more;
        more
    }
}

/// What the timer calls. It does not keep the broadcaster alive.
struct Tick(Weak<Hub>);

impl Wake for Tick {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            DrainState::tick(&hub);
        }
    }
}

/// The future of [`Broadcaster::drain`].
#[must_use = "futures do nothing unless awaited"]
pub struct Draining {
    hub: Broadcaster,
    drain: Drain,
    plan: Option<Plan>,
    sleeper: Sleeper,
    /// For the bound.
    alarm: Alarm,
}

impl Draining {
    pub(super) fn new(hub: Broadcaster, drain: Drain) -> Self {
        Self {
            hub,
            drain,
            plan: None,
            sleeper: Sleeper::default(),
            alarm: Alarm::default(),
        }
    }
}

impl Future for Draining {
    type Output = Drained;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Drained> {
        let this = &mut *self;
        let hub = this.hub.hub();
        // Marked before the look, which so cannot find old news.
        hub.ending.mark(&mut this.sleeper, cx.waker());
        let drain = this.drain;
        let plan = *this
            .plan
            .get_or_insert_with(|| DrainState::begin(hub, drain));
        let timer = hub.memory.timer();
        let now = timer.now();
        let open = hub.subscribers.load(Ordering::SeqCst);
        if open > 0 && now < plan.bound {
            let alarm = this.alarm.set(&**timer, plan.bound, cx.waker());
            if alarm.is_ok() {
                return Poll::Pending;
            }
            // Without a timer there is no bound to keep but an early one.
        }
        if open > 0 {
            hub.give_up_on_the_rest();
        }
        this.hub.close();
        let drained = Drained {
            streams: plan.streams,
            forced: open.min(plan.streams),
            took: now.saturating_duration_since(plan.began),
        };
        trace::drain_over(&drained);
        Poll::Ready(drained)
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.hub.hub().ending.leave(&mut self.sleeper);
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Broadcaster::drain_when`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct DrainWhen<F> {
        #[pin]
        pub(super) signal: F,
        pub(super) has_come: bool,
        pub(super) draining: Draining,
    }
}

impl<F: Future> Future for DrainWhen<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if !*this.has_come {
            ready!(this.signal.poll(cx));
            *this.has_come = true;
        }
        Pin::new(this.draining).poll(cx).map(|_| ())
    }
}
