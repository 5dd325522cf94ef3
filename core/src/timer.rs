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

/// Has a task woken at a time, by one call of the timer however often the task is polled until then.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// When the timer will wake whom.
    set: Option<(Instant, Waker)>,
}

impl Alarm {
    /// Sees to it that the task is woken at `deadline`. It may be woken before that too, by a call
    /// that it has asked for already.
    pub(crate) fn set(
        &mut self,
        timer: &dyn Timer,
        deadline: Instant,
        task: &Waker,
    ) -> Result<(), Unscheduled> {
        if let Some((at, known)) = &self.set {
            if *at <= deadline && timer.now() < *at && known.will_wake(task) {
                return Ok(());
            }
        }
        timer.wake_at(deadline, task.clone())?;
        self.set = Some((deadline, task.clone()));
        Ok(())
    }
}

/// The default [`Timer`]: one thread for the whole process, named `fanfare-timer`.
///
/// It starts with the first call that is scheduled and sleeps between calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        static THREAD: OnceLock<Arc<Caller>> = OnceLock::new();
        let caller = THREAD.get_or_init(Arc::default);
        {
            let mut state = caller.lock();
            if !state.running {
                let runs = Arc::clone(caller);
                let builder = thread::Builder::new().name("fanfare-timer".to_owned());
                // A thread may be refused now and granted at the next call.
                if builder.spawn(move || runs.run()).is_err() {
                    return Err(Unscheduled(waker));
                }
                state.running = true;
            }
            state.calls.add(deadline, waker);
        }
        caller.changed.notify_one();
        Ok(())
    }
}

/// What is scheduled, and the thread that waits for it.
#[derive(Default)]
struct Caller {
    state: Mutex<CallerState>,
    changed: Condvar,
}

#[derive(Default)]
struct CallerState {
    running: bool,
    calls: Calls,
}

impl Caller {
    fn lock(&self) -> MutexGuard<'_, CallerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.calls.next() {
                Some(deadline) if deadline <= now => {
                    let due = state.calls.take();
                    drop(state);
                    // Who schedules a call that is due at once is often put aside for this
                    // thread, on the same processor, until the call has been made: it goes first.
                    thread::yield_now();
                    if let Some(waker) = due {
                        // Foreign code: its panic is reported by the hook and ends there, since
                        // this thread serves others too.
                        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
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

/// The calls that are to be made.
#[derive(Default)]
struct Calls {
    heap: BinaryHeap<Call>,
    /// How many were ever added: those of one time are made in the order in which they came.
    added: u64,
}

impl Calls {
    fn add(&mut self, deadline: Instant, waker: Waker) {
        let order = self.added;
        self.added += 1;
        self.heap.push(Call {
            deadline,
            order,
            waker,
        });
    }

    /// When the earliest is to be made.
    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|call| call.deadline)
    }

    /// Whom the earliest is to wake. The caller does so outside its lock.
    fn take(&mut self) -> Option<Waker> {
        self.heap.pop().map(|call| call.waker)
    }
}

/// Orders by deadline, the earliest first in a heap that pops the greatest.
struct Call {
    deadline: Instant,
    order: u64,
    waker: Waker,
}

impl Ord for Call {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.deadline, other.order).cmp(&(self.deadline, self.order))
    }
}

impl PartialOrd for Call {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Call {}

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
    state: Mutex<ManualState>,
}

#[derive(Default)]
struct ManualState {
    /// Since the start. It only grows.
    passed: Duration,
    calls: Calls,
}

impl ManualTimer {
    /// A clock that stands still.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Manual {
            start: Instant::now(),
            state: Mutex::default(),
        }))
    }

    /// Lets `time` pass: every call that falls due is made, in order, before this returns.
    pub fn advance(&self, time: Duration) {
        let target = self.lock().passed + time;
        loop {
            let mut state = self.lock();
            let next = state.calls.next().map(|deadline| deadline - self.0.start);
            let due = next.filter(|due| *due <= target);
            // Another thread, or a call, may have moved it further meanwhile.
            state.passed = state.passed.max(due.unwrap_or(target));
            if due.is_none() {
                return;
            }
            let waker = state.calls.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ManualState> {
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
        self.0.start + self.lock().passed
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        let mut state = self.lock();
        // One lock for the look and for what comes of it, or the clock could pass in between.
        if deadline > self.0.start + state.passed {
            state.calls.add(deadline, waker);
        } else {
            drop(state);
            waker.wake();
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
