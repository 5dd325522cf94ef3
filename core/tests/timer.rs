//! The clock that tests move: it makes every call, once, in order, and never goes back.

mod support;

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use fanfare_core::timer::{ManualTimer, Timer as _};
use support::Wakes;

const SECOND: Duration = Duration::from_secs(1);

/// A task that does something whenever it is woken.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn when_woken(deed: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(deed)))
}

#[test]
fn calls_of_one_time_are_made_in_the_order_in_which_they_were_asked_for() {
    let timer = ManualTimer::new();
    let start = timer.now();
    let order = Arc::new(Mutex::new(Vec::new()));
    let ask = |name: &'static str, at: Duration| {
        let order = Arc::clone(&order);
        let call = when_woken(move || order.lock().expect("not poisoned").push(name));
        timer.wake_at(start + at, call).expect("taken");
    };
    for _ in 0..3 {
        ask("early", SECOND);
    }
    ask("first", 10 * SECOND);
    timer.advance(SECOND);
    ask("second", 10 * SECOND);
    ask("third", 10 * SECOND);
    timer.advance(9 * SECOND);
    let order = order.lock().expect("not poisoned");
    assert_eq!(
        *order,
        ["early", "early", "early", "first", "second", "third"]
    );
}

#[test]
fn a_clock_that_is_moved_from_within_a_call_does_not_go_back() {
    let timer = ManualTimer::new();
    let start = timer.now();
    let moved = timer.clone();
    let call = when_woken(move || moved.advance(10 * SECOND));
    timer.wake_at(start + SECOND, call).expect("taken");
    timer.advance(SECOND);
    assert_eq!(timer.now() - start, 11 * SECOND);
}

/// It is made by whoever comes second: the clock, or the one who asks.
#[test]
fn a_call_that_is_asked_for_while_the_clock_moves_is_made() {
    const ROUNDS: usize = 2_000;
    let timer = ManualTimer::new();
    let start = timer.now();
    let (wakes, waker) = Wakes::new();
    // The round that has begun, and the one whose call has been asked for.
    let (begun, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                let due = start + SECOND * round as u32;
                wait_until(&begun, round);
                timer.wake_at(due, waker.clone()).expect("taken");
                asked.store(round, Ordering::SeqCst);
            }
        });
        let mut missed = 0;
        for round in 1..=ROUNDS {
            begun.store(round, Ordering::SeqCst);
            // At another moment of the other thread's each time.
            (0..round % 64).for_each(|_| hint::spin_loop());
            timer.advance(SECOND);
            wait_until(&asked, round);
            missed += usize::from(wakes.take() != 1);
        }
        assert_eq!(missed, 0, "of {ROUNDS} calls");
    });
}

/// Waits awake, so that both threads go on at the same moment; where there is one processor for both,
/// not for long.
fn wait_until(counter: &AtomicUsize, round: usize) {
    for spins in 1_u32.. {
        if counter.load(Ordering::SeqCst) >= round {
            return;
        }
        if spins % 1_000 == 0 {
            thread::yield_now();
        }
        hint::spin_loop();
    }
}
