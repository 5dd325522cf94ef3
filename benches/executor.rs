//! [`Executor`]: what a runtime does with the tasks that follow a log, and no more.

use std::cell::Cell;
use std::future::{poll_fn, Future};
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;

/// Polls, on the calling thread, those of its tasks that were woken, each until it is pending.
///
/// Each task has a waker of its own, which counts. There is no run queue: all tasks are looked
/// at in turn, which costs every contender the same one load per task, where a queue would cost
/// the waker a push and the executor a pop.
#[derive(Debug)]
pub struct Executor<F> {
    tasks: Vec<Task<F>>,
    tally: Tally,
}

#[derive(Debug)]
struct Task<F> {
    future: Pin<Box<F>>,
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// How often a task was woken since it was last polled.
#[derive(Debug)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// No delivery takes this long, unless it has been lost.
const DEADLINE: Duration = Duration::from_secs(60);

impl<F: Future<Output = ()>> Executor<F> {
    /// An executor of the tasks that `follow` makes, each of which adds what it is delivered to
    /// the tally. All have been polled, are pending, and have been delivered nothing that counts.
    pub fn new(tasks: usize, follow: impl Fn(Tally) -> F) -> Self {
        let tally = Tally::default();
        let spawn = || {
            let alarm = Arc::new(Alarm(AtomicUsize::new(1)));
            Task {
                future: Box::pin(follow(tally.clone())),
                waker: Waker::from(Arc::clone(&alarm)),
                alarm,
            }
        };
        let mut executor = Self {
            tasks: (0..tasks).map(|_| spawn()).collect(),
            tally: tally.clone(),
        };
        executor.poll_woken();
        executor.tally.0.set(0);
        executor
    }

    /// Polls whoever is woken until all tasks together have been delivered this many bytes since
    /// the last call.
    ///
    /// # Panics
    ///
    /// If they are delivered more, or not in time: what is measured is wrong.
    pub fn run_until_delivered(&mut self, bytes: u64) {
        self.poll_woken();
        if self.tally.bytes() < bytes {
            // Somebody is woken by another thread, which may need this one's processor.
            let deadline = Instant::now() + DEADLINE;
            while self.tally.bytes() < bytes {
                assert!(Instant::now() < deadline, "a delivery was lost");
                if !self.poll_woken() {
                    thread::yield_now();
                }
            }
        }
        assert_eq!(self.tally.0.replace(0), bytes);
    }

    /// Polls each task that was woken, once: a task runs until it is pending. Returns whether
    /// there was any.
    fn poll_woken(&mut self) -> bool {
        let mut any = false;
        for task in &mut self.tasks {
            if task.alarm.0.load(Ordering::Relaxed) > 0 {
                task.alarm.0.swap(0, Ordering::Acquire);
                let mut cx = Context::from_waker(&task.waker);
                let ended = task.future.as_mut().poll(&mut cx).is_ready();
                assert!(!ended, "nobody has closed anything");
                any = true;
            }
        }
        any
    }
}

/// Counts the bytes that an executor's tasks are delivered.
#[derive(Clone, Debug, Default)]
pub struct Tally(Rc<Cell<u64>>);

impl Tally {
    /// Takes a piece, and lets go of it as a socket does once it has been written.
    #[inline]
    pub fn take(&self, piece: Bytes) {
        self.0.set(self.0.get() + piece.len() as u64);
        drop(black_box(piece));
    }

    /// The bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.get()
    }
}

/// A task that takes whatever a stream yields, as a connection takes its response's body.
pub async fn drain<S: Stream>(stream: S, mut take: impl FnMut(S::Item)) {
    let mut stream = pin!(stream);
    while let Some(item) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        take(item);
    }
}
