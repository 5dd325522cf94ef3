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

use std::mem;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::task::Waker;

use crate::sync::{fence, AtomicBool, AtomicUsize, Mutex, Ordering};

/// Everyone who may sleep over the same news.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Every chunk is full but the last, which is not empty.
    chunks: Mutex<Vec<Chunk>>,
}

/// Sleepers that are visited together. Whoever wakes shares the chunk and so holds no lock while
/// it runs foreign code; whoever changes a chunk meanwhile changes a copy.
type Chunk = Arc<Vec<Arc<Slot>>>;

/// How many sleepers a chunk holds: enough that a lock per chunk does not show, few enough that
/// neither does a copy.
const CHUNK: usize = 64;

/// What a sleeper shares with those who wake it.
#[derive(Debug)]
struct Slot {
    /// Set by the sleeper, cleared by whoever wakes it.
    asleep: AtomicBool,
    /// Never changes while anybody visits the slot: a sleeper whose task has another waker then
    /// takes another slot. So it is called without a lock, and without a clone.
    waker: Waker,
    /// Where the slot stands among all; only used under the lock of the chunks.
    index: AtomicUsize,
}

/// One who may sleep, until it is given to [`Waiters::leave`].
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    /// There since it was first marked.
    slot: Option<Arc<Slot>>,
}

/// What [`Waiters::mark`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// Nothing: it was marked, with this waker, all along.
    Already,
    /// It is asleep. Look once more.
    Anew,
    /// It is asleep, in a task that was not known before. Look once more.
    Elsewhere,
}

impl Slot {
    fn asleep(waker: Waker, index: usize) -> Arc<Self> {
        Arc::new(Self {
            asleep: AtomicBool::new(true),
            waker,
            index: AtomicUsize::new(index),
        })
    }
}

impl Waiters {
    /// Marks a sleeper asleep: what it looks at from now on cannot be old news, and if it finds
    /// nothing it may return `Pending`.
    ///
    /// Takes no lock and clones nothing, unless the task has changed its waker. A waker may
    /// deny that it is equal to its own clone, so nobody may wait for [`Marked::Already`].
    pub(crate) fn mark(&self, sleeper: &mut Sleeper, waker: &Waker) -> Marked {
        let marked = match &sleeper.slot {
            Some(slot) if slot.waker.will_wake(waker) => {
                if slot.asleep.load(Ordering::Relaxed) {
                    return Marked::Already;
                }
                slot.asleep.store(true, Ordering::Release);
                Marked::Anew
            }
            _ => {
                self.settle(sleeper, waker.clone());
                Marked::Elsewhere
            }
        };
        // Pairs with the fence in `wake_some`.
        fence(Ordering::SeqCst);
        marked
    }

    /// Puts a sleeper, asleep, into a slot with this waker: its own, unless that is just being
    /// visited by whoever wakes.
    #[cold]
    fn settle(&self, sleeper: &mut Sleeper, waker: Waker) {
        let mut chunks = self.chunks.lock();
        let index = match sleeper.slot.take() {
            // The chunk still holds it: nothing foreign is dropped here.
            Some(slot) => slot.index.load(Ordering::Relaxed),
            None => chunks
                .last()
                .map_or(0, |last| (chunks.len() - 1) * CHUNK + last.len()),
        };
        if index / CHUNK == chunks.len() {
            chunks.push(Arc::default());
        }
        let Some(chunk) = chunks.get_mut(index / CHUNK).map(Arc::make_mut) else {
            return;
        };
        let (mut old_waker, mut old_slot) = (None, None);
        let slot = match chunk.get_mut(index % CHUNK) {
            None => {
                let slot = Slot::asleep(waker, index);
                chunk.push(Arc::clone(&slot));
                slot
            }
            Some(place) => {
                if let Some(slot) = Arc::get_mut(place) {
                    // A swap, to come after that of whoever visited the slot last.
                    slot.asleep.swap(true, Ordering::AcqRel);
                    old_waker = Some(mem::replace(&mut slot.waker, waker));
                } else {
                    old_slot = Some(mem::replace(place, Slot::asleep(waker, index)));
                }
                Arc::clone(place)
            }
        };
        sleeper.slot = Some(slot);
        drop(chunks);
        // A waker's drop is foreign code: outside the lock.
        drop((old_waker, old_slot));
    }

    /// Forgets a sleeper. It is not woken any more.
    pub(crate) fn leave(&self, sleeper: &mut Sleeper) {
        let Some(slot) = sleeper.slot.take() else {
            return;
        };
        let mut chunks = self.chunks.lock();
        let Some(last) = chunks.last_mut() else {
            return;
        };
        let moved = Arc::make_mut(last).pop();
        if last.is_empty() {
            chunks.pop();
        }
        let index = slot.index.load(Ordering::Relaxed);
        let chunk = chunks.get_mut(index / CHUNK).map(Arc::make_mut);
        let place = chunk.and_then(|chunk| chunk.get_mut(index % CHUNK));
        // Unless it was the last itself.
        if let (Some(place), Some(moved)) = (place, moved) {
            moved.index.store(index, Ordering::Relaxed);
            *place = moved;
        }
        drop(chunks);
    }

    /// Wakes everyone who is asleep. The news must have been stored before.
    ///
    /// Wakers are foreign code: they are woken and dropped outside of every lock, and one that
    /// panics does not keep the others from being woken.
    pub(crate) fn wake_all(&self) {
        self.wake_some(usize::MAX);
    }

    /// Wakes at most so many of those who are asleep. How many it woke.
    pub(crate) fn wake_some(&self, limit: usize) -> usize {
        let mut woken = 0;
        // Pairs with the fence in `mark`.
        fence(Ordering::SeqCst);
        let mut rest = usize::MAX;
        loop {
            let chunks = self.chunks.lock();
            // From the end to the front: who leaves meanwhile is replaced by the last, which
            // has been visited already. Who comes meanwhile sees the news when it next looks.
            rest = rest.min(chunks.len());
            let Some(chunk) = rest.checked_sub(1).and_then(|at| chunks.get(at)) else {
                return woken;
            };
            let chunk = Arc::clone(chunk);
            drop(chunks);
            rest -= 1;
            for slot in chunk.iter() {
                if woken == limit {
                    return woken;
                }
                // The plain load spares the bus a write for everyone who is awake anyway. Whoever comes
                // second writes nothing, which would be one more word to set against the next mark.
                let is_asleep = slot.asleep.load(Ordering::Relaxed);
                let (done, not) = (Ordering::AcqRel, Ordering::Relaxed);
                let was_asleep = || slot.asleep.compare_exchange(true, false, done, not).is_ok();
                if is_asleep && was_asleep() {
                    // A panic is reported by the hook and ends here: neither the publisher nor
                    // the others who sleep are at fault.
                    let _ = catch_unwind(AssertUnwindSafe(|| slot.waker.wake_by_ref()));
                    woken += 1;
                }
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
        let mut sleepers: Vec<_> = (0..100).map(|_| Sleeper::default()).collect();
        for sleeper in sleepers.iter_mut().take(70) {
            let first = waiters.mark(sleeper, &waker);
            assert_eq!(first, Marked::Elsewhere, "asks for a second look");
            let second = waiters.mark(sleeper, &waker);
            assert_eq!(second, Marked::Already, "finds the first");
        }
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 70);
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 70);
        let again = waiters.mark(&mut sleepers[0], &waker);
        assert_eq!(again, Marked::Anew, "asks for a second look");
    }

    #[test]
    fn some_are_woken_and_then_others() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut sleepers: Vec<_> = (0..100).map(|_| Sleeper::default()).collect();
        for sleeper in &mut sleepers {
            waiters.mark(sleeper, &waker);
        }
        for (limit, expect) in [(0, 0), (30, 30), (65, 65), (30, 5), (30, 0)] {
            assert_eq!(waiters.wake_some(limit), expect);
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn those_who_leave_in_any_order_leave_the_others_in_place() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut sleepers: Vec<_> = (0..=2 * CHUNK).map(|_| Sleeper::default()).collect();
        for sleeper in &mut sleepers {
            waiters.mark(sleeper, &waker);
        }
        for at in [0, 2 * CHUNK - 1, 7, 7, 20, CHUNK, 0] {
            let mut gone = sleepers.swap_remove(at);
            waiters.leave(&mut gone);
            waiters.leave(&mut gone);
        }
        waiters.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 2 * CHUNK - 6);
        while let Some(mut gone) = sleepers.pop() {
            waiters.leave(&mut gone);
        }
        assert!(waiters.chunks.lock().is_empty());
    }

    /// Some leave and one comes from within a wake, while the chunk is being visited.
    #[test]
    fn those_who_come_and_go_during_a_visit_lose_nobody() {
        struct Meddler {
            waiters: Arc<Waiters>,
            leaving: std::sync::Mutex<Vec<Sleeper>>,
            coming: Waker,
        }
        impl Wake for Meddler {
            fn wake(self: Arc<Self>) {
                let mut sleepers = self.leaving.lock().expect("not poisoned");
                for mut gone in sleepers.drain(..) {
                    self.waiters.leave(&mut gone);
                }
                let mut newcomer = Sleeper::default();
                self.waiters.mark(&mut newcomer, &self.coming);
                sleepers.push(newcomer);
            }
        }
        let waiters = Arc::new(Waiters::default());
        let (stayed, came) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let staying = Waker::from(Arc::clone(&stayed));
        let leaving = Waker::from(Arc::new(Counter::default()));
        let meddler = Arc::new(Meddler {
            waiters: Arc::clone(&waiters),
            leaving: Default::default(),
            coming: Waker::from(Arc::clone(&came)),
        });
        let mut sleepers: Vec<_> = (0..3 * CHUNK).map(|_| Sleeper::default()).collect();
        for (i, sleeper) in sleepers.iter_mut().enumerate() {
            match i.checked_sub(CHUNK) {
                Some(5) => waiters.mark(sleeper, &Waker::from(Arc::clone(&meddler))),
                Some(6..30) => waiters.mark(sleeper, &leaving),
                _ => waiters.mark(sleeper, &staying),
            };
        }
        let leaving = sleepers.drain(CHUNK + 6..CHUNK + 30);
        meddler
            .leaving
            .lock()
            .expect("not poisoned")
            .extend(leaving);
        waiters.wake_all();
        assert_eq!(
            stayed.0.load(Ordering::Relaxed),
            sleepers.len() - 1,
            "each once"
        );
        waiters.wake_all();
        assert_eq!(came.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_asleep() {
        let waiters = Waiters::default();
        let count = Arc::new(Counter::default());
        let mut sleepers: Vec<_> = (0..100).map(|_| Sleeper::default()).collect();
        for (i, sleeper) in sleepers.iter_mut().enumerate() {
            let waker = if i == 20 {
                Waker::from(Arc::new(Bomb))
            } else {
                Waker::from(Arc::clone(&count))
            };
            waiters.mark(sleeper, &waker);
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
        let mut sleeper = Sleeper::default();
        waiters.mark(&mut sleeper, &Waker::from(Arc::clone(&old)));
        let moved = waiters.mark(&mut sleeper, &Waker::from(Arc::clone(&new)));
        assert_eq!(moved, Marked::Elsewhere);
        waiters.wake_all();
        assert_eq!(old.0.load(Ordering::Relaxed), 0);
        assert_eq!(new.0.load(Ordering::Relaxed), 1);
    }
}
