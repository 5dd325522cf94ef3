//! [`Timer`], the only seam to a clock, and to a thread that is not the caller's.

use std::collections::BinaryHeap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than this nothing is waited for, so that clocks can count to it: a day.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells the time and calls back at a time.
///
/// A broadcaster has one call outstanding for its keep-alives and the age of its history, however
/// many subscribers it has, and one for the earliest time at which a stream of it is to end, or a few
/// when an earlier one came last. It makes one more to have very many subscribers woken on another
/// thread than the publisher's, and while it is drained. A stream that is no subscriber's has one of
/// its own.
///
/// The default is [`ThreadTimer`]: one thread for the whole process, started when first needed.
/// Implement it to use your runtime's clock instead, or take [`ManualTimer`] in tests.
///
/// # Contract
///
/// - `now` never goes back.
/// - `wake_at` calls `waker.wake()` once, at `deadline` or soon after, from any thread, also
///   when the deadline has passed already. It does not block, and it may be called from within
///   a wake.
///
/// ```
/// use std::{task::Waker, time::Instant};
/// use fanfare_core::timer::{Timer, Unscheduled};
///
/// /// The clock of a runtime that `spawn`s and `sleep`s.
/// #[derive(Debug)]
/// struct RuntimeTimer;
///
/// impl Timer for RuntimeTimer {
///     fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
///         spawn(async move { sleep_until(deadline).await; waker.wake() });
///         Ok(())
///     }
/// }
/// # fn spawn(_: impl std::future::Future) {}
/// # async fn sleep_until(_: Instant) {}
/// ```
pub trait Timer: fmt::Debug + Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Wakes `waker` at `deadline`.
    ///
    /// # Errors
    ///
    /// Hands the waker back when the timer cannot take it: no thread could be started, say.
    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled>;
}

const _: Option<&dyn Timer> = None;

/// The timer could not take the call; here is its waker.
#[derive(Debug)]
pub struct Unscheduled(pub Waker);

impl fmt::Display for Unscheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the timer cannot schedule a call")
    }
}

impl std::error::Error for Unscheduled {}

/// The default [`Timer`]: one thread for the whole process, named `fanfare-timer`.
///
/// It starts with the first call that is scheduled and sleeps between calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        static THREAD: OnceLock<Arc<Alarms>> = OnceLock::new();
        let alarms = THREAD.get_or_init(Arc::default);
        {
            let mut state = alarms.lock();
            if !state.running {
                let alarms = Arc::clone(alarms);
                let builder = thread::Builder::new().name("fanfare-timer".to_owned());
                // A thread may be refused now and granted at the next call.
                if builder.spawn(move || alarms.run()).is_err() {
                    return Err(Unscheduled(waker));
                }
                state.running = true;
            }
            let order = state.scheduled;
            state.scheduled += 1;
            state.heap.push(Alarm {
                deadline,
                order,
                waker,
            });
        }
        alarms.changed.notify_one();
        Ok(())
    }
}

/// What is scheduled, and the thread that waits for it.
#[derive(Default)]
struct Alarms {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Default)]
struct AlarmState {
    running: bool,
    scheduled: u64,
    heap: BinaryHeap<Alarm>,
}

impl Alarms {
    fn lock(&self) -> MutexGuard<'_, AlarmState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.heap.peek().map(|alarm| alarm.deadline) {
                Some(deadline) if deadline <= now => {
                    let due = state.heap.pop();
                    drop(state);
                    // Who schedules a call that is due at once is often put aside for this
                    // thread, on the same processor, until the call has been made: it goes first.
                    thread::yield_now();
                    if let Some(alarm) = due {
                        // Foreign code: its panic is reported by the hook and ends there, since
                        // this thread serves others too.
                        let _ = catch_unwind(AssertUnwindSafe(|| alarm.waker.wake()));
                    }
                    state = self.lock();
                }
                Some(deadline) => {
                    let timeout = deadline.saturating_duration_since(now);
                    let woken = self.changed.wait_timeout(state, timeout);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Orders by deadline, the earliest first in a heap that pops the greatest.
struct Alarm {
    deadline: Instant,
    order: u64,
    waker: Waker,
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.deadline, other.order).cmp(&(self.deadline, self.order))
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Alarm {}

/// A [`Timer`] whose time passes when a test says so.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use fanfare_core::{timer::ManualTimer, Broadcaster};
/// use futures_lite::{future, StreamExt};
///
/// let timer = ManualTimer::new();
/// let hub = Broadcaster::builder().timer(timer.clone()).build();
/// let mut subscriber = hub.subscribe("prices").open()?;
/// # future::block_on(async {
/// assert_eq!(subscriber.next().await.unwrap(), "retry: 2000\n");
/// timer.advance(Duration::from_secs(30));
/// assert_eq!(subscriber.next().await.unwrap(), ":\n");
/// # });
/// # Ok::<(), fanfare_core::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualTimer(Arc<Manual>);

struct Manual {
    start: Instant,
    state: Mutex<(Duration, BinaryHeap<Alarm>)>,
}

impl ManualTimer {
    /// A clock that stands still.
    #[must_use]
    pub fn new() -> Self {
        let state = Mutex::new((Duration::ZERO, BinaryHeap::new()));
        Self(Arc::new(Manual {
            start: Instant::now(),
            state,
        }))
    }

    /// Lets `time` pass: every call that falls due is made, in order, before this returns.
    pub fn advance(&self, time: Duration) {
        let target = self.lock().0 + time;
        loop {
            let mut state = self.lock();
            match state.1.peek().map(|alarm| alarm.deadline - self.0.start) {
                Some(due) if due <= target => {
                    state.0 = state.0.max(due);
                    let alarm = state.1.pop();
                    drop(state);
                    if let Some(alarm) = alarm {
                        alarm.waker.wake();
                    }
                }
                _ => {
                    state.0 = target;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Duration, BinaryHeap<Alarm>)> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for ManualTimer {
    fn now(&self) -> Instant {
        self.0.start + self.lock().0
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        if deadline <= self.now() {
            waker.wake();
        } else {
            let mut state = self.lock();
            let order = state.1.len() as u64;
            state.1.push(Alarm {
                deadline,
                order,
                waker,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualTimer")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
