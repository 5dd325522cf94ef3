//! `std`'s or loom's primitives, chosen once, so that the same code can be model-checked.

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

pub(crate) use imp::atomic::{fence, AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use imp::MutexGuard;
use std::sync::PoisonError;

/// A mutex that shrugs off poison.
///
/// No foreign code runs while one of our locks is held, so a panic cannot leave what it
/// guards half done.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(all(test, not(loom)))]
        counting::LOCKS.with(|locks| locks.set(locks.get() + 1));
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many locks this thread has taken: what "takes no lock" is tested with.
#[cfg(all(test, not(loom)))]
pub(crate) mod counting {
    use std::cell::Cell;

    thread_local! {
        pub(super) static LOCKS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn locks_taken_by(f: impl FnOnce()) -> u64 {
        let before = LOCKS.with(Cell::get);
        f();
        LOCKS.with(Cell::get) - before
    }
}
