//! Who is asleep and how they are woken; the only place that stores the waker of a task that
//! follows the log.
//!
//! A sleeper and a waker meet in two words of memory, without a lock:
//!
//! - the sleeper marks itself asleep, then looks once more, then returns `Pending`;
//! - the waker makes its news visible, then reads the marks.
//!
//! A sequentially consistent fence stands between the two steps of each. So either the sleeper's
//! second look sees the news, or the waker sees the mark. A mark is cleared by whoever wakes, so
//! a sleeper that is polled while still marked has nothing to do, and one that is dropped, or
//! kept and never polled, keeps nobody else from being woken.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::task::Waker;

use crate::sync::{fence, AtomicBool, AtomicUsize, Mutex, Ordering};
use std::sync::Arc;

/// Everyone who may sleep over the same news.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// What a sleeper shares with those who wake it.
#[derive(Debug)]
struct Slot {
    /// Set by the sleeper, cleared by whoever wakes it.
    asleep: AtomicBool,
    /// Written before `asleep` is set.
    waker: Mutex<Option<Waker>>,
    /// Where the slot stands in `Waiters::slots`; only used under that lock.
    index: AtomicUsize,
}

impl Waiters {
    /// A place to sleep in, until it is given back to [`leave`](Self::leave).
    pub(crate) fn join(&self) -> Sleeper {
        let mut slots = self.slots.lock();
        let slot = Arc::new(Slot {
            asleep: AtomicBool::new(false),
            waker: Mutex::new(None),
            index: AtomicUsize::new(slots.len()),
        });
        slots.push(Arc::clone(&slot));
        Sleeper { slot, waker: None }
    }

    /// Forgets a sleeper. It is not woken any more.
    pub(crate) fn leave(&self, sleeper: &Sleeper) {
        let mut slots = self.slots.lock();
        let index = sleeper.slot.index.load(Ordering::Relaxed);
        if slots
            .get(index)
            .is_some_and(|slot| Arc::ptr_eq(slot, &sleeper.slot))
        {
            slots.swap_remove(index);
            if let Some(moved) = slots.get(index) {
                moved.index.store(index, Ordering::Relaxed);
            }
        }
    }

    /// Wakes everyone who is asleep. The news must have been stored before.
    ///
    /// Wakers are foreign code: they are cloned under a lock, but woken and dropped outside of
    /// it, and one that panics does not keep the others from being woken.
    pub(crate) fn wake_all(&self) {
        // Pairs with the fence in `Sleeper::mark`.
        fence(Ordering::SeqCst);
        let mut rest = usize::MAX;
        while rest > 0 {
            let mut batch = Batch::default();
            let slots = self.slots.lock();
            // From the end to the front: who leaves meanwhile is replaced by the last, which
            // has been visited already. Who joins meanwhile sees the news when it first looks.
            rest = rest.min(slots.len());
            while rest > 0 && !batch.is_full() {
                rest -= 1;
                if let Some(waker) = slots.get(rest).and_then(|slot| slot.rouse()) {
                    batch.push(waker);
                }
            }
            drop(slots);
            batch.wake();
        }
    }
}

impl Slot {
    /// Clears the mark and returns whom to wake, if the sleeper was asleep.
    fn rouse(&self) -> Option<Waker> {
        // The plain load spares the bus a write for everyone who is awake anyway.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.waker.lock().clone()
        } else {
            None
        }
    }
}

/// One who may sleep.
#[derive(Debug)]
pub(crate) struct Sleeper {
    slot: Arc<Slot>,
    /// What stands in the slot too: compared here without its lock.
    waker: Option<Waker>,
}

impl Sleeper {
    /// Marks the caller asleep: what it looks at from now on cannot be old news, and if it finds
    /// nothing it may return `Pending`. `true`: it was marked, with this waker, all along.
    ///
    /// Takes no lock and clones nothing, unless the task has changed its waker. A waker may
    /// deny that it is equal to its own clone, so nobody may wait for `true`.
    pub(crate) fn mark(&mut self, waker: &Waker) -> bool {
        if self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            if self.slot.asleep.load(Ordering::Relaxed) {
                return true;
            }
        } else {
            self.waker = Some(waker.clone());
            let new = Some(waker.clone());
            let old = std::mem::replace(&mut *self.slot.waker.lock(), new);
            drop(old);
        }
        self.slot.asleep.store(true, Ordering::Release);
        // Pairs with the fence in `Waiters::wake_all`.
        fence(Ordering::SeqCst);
        false
    }
}

/// How many wakers are collected under the lock before they are called outside of it.
const BATCH: usize = 32;

/// Wakers on their way, on the stack.
#[derive(Default)]
struct Batch {
    wakers: [Option<Waker>; BATCH],
    len: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.len == BATCH
    }

    fn push(&mut self, waker: Waker) {
        if let Some(place) = self.wakers.get_mut(self.len) {
            *place = Some(waker);
            self.len += 1;
        }
    }

    fn wake(&mut self) {
        while self.len > 0 {
            self.len -= 1;
            if let Some(waker) = self.wakers.get_mut(self.len).and_then(Option::take) {
                // A panic is reported by the hook and ends here: neither the publisher nor the
                // others who sleep are at fault.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize as Count;
    use std::task::Wake;

    #[derive(Default)]
    struct Counter(Count);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Bomb;

    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker of somebody's");
        }
    }

    #[test]
    fn everyone_asleep_is_woken_once_and_nobody_else() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut sleepers: Vec<_> = (0..100).map(|_| waiters.join()).collect();
        for sleeper in sleepers.iter_mut().take(70) {
            assert!(
                !sleeper.mark(&waker),
                "the first mark asks for a second look"
            );
            assert!(sleeper.mark(&waker), "the second mark finds the first");
        }
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 70);
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 70);
    }

    #[test]
    fn those_who_leave_in_any_order_leave_the_others_in_place() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut sleepers: Vec<_> = (0..50).map(|_| waiters.join()).collect();
        for at in [0, 48, 7, 7, 20, 0] {
            let gone = sleepers.swap_remove(at);
            waiters.leave(&gone);
            waiters.leave(&gone);
        }
        assert_eq!(waiters.slots.lock().len(), 44);
        for sleeper in &mut sleepers {
            sleeper.mark(&waker);
        }
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 44);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_asleep() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let mut sleepers: Vec<_> = (0..100).map(|_| waiters.join()).collect();
        for (i, sleeper) in sleepers.iter_mut().enumerate() {
            let waker = if i == 20 {
                Waker::from(Arc::new(Bomb))
            } else {
                Waker::from(Arc::clone(&count))
            };
            sleeper.mark(&waker);
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        waiters.wake_all();
        std::panic::set_hook(hook);
        assert_eq!(count.0.load(Ordering::Relaxed), 99);
    }

    #[test]
    fn a_changed_waker_replaces_the_old_one() {
        let waiters = Waiters::default();
        let (old, new) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let mut sleeper = waiters.join();
        sleeper.mark(&Waker::from(Arc::clone(&old)));
        assert!(!sleeper.mark(&Waker::from(Arc::clone(&new))));
        waiters.wake_all();
        assert_eq!(old.0.load(Ordering::Relaxed), 0);
        assert_eq!(new.0.load(Ordering::Relaxed), 1);
    }
}
