//! Calls of code that is not ours: the wakers of those who wait. What panics there ends there.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::task::Waker;

use futures_channel::oneshot;

pub(crate) fn wake(waker: Waker) {
    shielded(|| waker.wake());
}

/// Answers whoever may still be waiting, and wakes it.
pub(crate) fn answer<T>(asker: oneshot::Sender<T>, answer: T) {
    shielded(|| drop(asker.send(answer)));
}

/// Drops what somebody may be waiting for, and so wakes it.
pub(crate) fn drop_each<T>(items: impl IntoIterator<Item = T>) {
    for item in items {
        shielded(|| drop(item));
    }
}

fn shielded(call: impl FnOnce()) {
    // The panic hook has reported it.
    let _ = catch_unwind(AssertUnwindSafe(call));
}
