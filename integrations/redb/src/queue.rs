//! [`Queue`]: what waits for a thread of ours, bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Things that wait, each with a size, and one thread that takes them.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    news: Condvar,
    max: Size,
}

/// How many, and how many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// Whether the thread sleeps: only then does it take a call to the system to wake it.
    is_asleep: bool,
    is_called: bool,
    is_closed: bool,
}

/// Why something cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotQueued {
    Full,
    Closed,
}

/// What a thread finds.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    Items(Vec<T>),
    /// Somebody has something to say that does not stand here.
    Call,
    /// It is late.
    Nothing,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(max: Size) -> Self {
        let waiting = Waiting {
            items: VecDeque::new(),
            bytes: 0,
            is_asleep: false,
            is_called: false,
            is_closed: false,
        };
        Self {
            waiting: Mutex::new(waiting),
            news: Condvar::new(),
            max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting<T>>) {
        let is_asleep = std::mem::take(&mut waiting.is_asleep);
        drop(waiting);
        if is_asleep {
            self.news.notify_one();
        }
    }

    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), NotQueued> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(NotQueued::Closed);
        }
        // One has room, whatever its size.
        let is_full = waiting.bytes.saturating_add(bytes) > self.max.bytes;
        if waiting.items.len() >= self.max.count || (is_full && !waiting.items.is_empty()) {
            return Err(NotQueued::Full);
        }
        waiting.bytes += bytes;
        waiting.items.push_back((item, bytes));
        self.wake(waiting);
        Ok(())
    }

    /// As [`push`](Self::push), of something that has room in any case, since there are only a few.
    pub(crate) fn push_always(&self, item: T) -> Result<(), NotQueued> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(NotQueued::Closed);
        }
        waiting.items.push_back((item, 0));
        self.wake(waiting);
        Ok(())
    }

    /// Has the thread look at what does not stand here.
    pub(crate) fn call(&self) {
        let mut waiting = self.lock();
        waiting.is_called = true;
        self.wake(waiting);
    }

    /// Takes what waits, up to a size and at least one; waits for it until there is something, or
    /// until then.
    pub(crate) fn take(&self, most: Size, until: Option<Instant>) -> Taken<T> {
        let mut waiting = self.wait(until);
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some((_, bytes)) = waiting.items.front() {
            if taken.len() >= most.count || (size + bytes > most.bytes && !taken.is_empty()) {
                break;
            }
            size += bytes;
            if let Some((item, bytes)) = waiting.items.pop_front() {
                waiting.bytes -= bytes;
                taken.push(item);
            }
        }
        if !taken.is_empty() {
            Taken::Items(taken)
        } else if waiting.is_closed {
            Taken::Closed
        } else if std::mem::take(&mut waiting.is_called) {
            Taken::Call
        } else {
            Taken::Nothing
        }
    }

    fn wait(&self, until: Option<Instant>) -> MutexGuard<'_, Waiting<T>> {
        let mut waiting = self.lock();
        while waiting.items.is_empty() && !waiting.is_closed && !waiting.is_called {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            waiting.is_asleep = true;
            waiting = match left {
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    let woken = self.news.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.news.wait(waiting);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        waiting.is_asleep = false;
        waiting
    }

    /// Refuses what comes from now on; what waits is still taken.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        self.wake(waiting);
    }

    /// Closes it for good, and hands back what nobody will take any more.
    pub(crate) fn end(&self) -> Vec<T> {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.bytes = 0;
        let left = std::mem::take(&mut waiting.items);
        left.into_iter().map(|(item, _)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_or_closed_takes_nothing_more() {
        let queue = Queue::new(Size {
            count: 2,
            bytes: 10,
        });
        let one = Size { count: 1, bytes: 5 };
        assert_eq!(
            queue.push('a', 100),
            Ok(()),
            "one has room, whatever its size"
        );
        assert_eq!(queue.push('b', 1), Err(NotQueued::Full), "by bytes");
        assert!(matches!(queue.take(one, None), Taken::Items(items) if items == ['a']));
        assert_eq!(queue.push('c', 1), Ok(()));
        assert_eq!(queue.push('d', 1), Ok(()));
        assert_eq!(queue.push('e', 1), Err(NotQueued::Full), "by count");
        assert_eq!(queue.push_always('f'), Ok(()));
        queue.close();
        assert_eq!(queue.push('g', 1), Err(NotQueued::Closed));
        assert!(matches!(queue.take(one, None), Taken::Items(items) if items == ['c']));
        assert!(matches!(queue.take(one, None), Taken::Items(items) if items == ['d']));
        assert_eq!(queue.end(), ['f']);
        assert!(matches!(queue.take(one, None), Taken::Closed));
    }

    #[test]
    fn a_call_wakes_once() {
        let queue = Queue::<()>::new(Size { count: 1, bytes: 1 });
        let one = Size { count: 1, bytes: 1 };
        queue.call();
        assert!(matches!(queue.take(one, None), Taken::Call));
        let now = Some(Instant::now());
        assert!(matches!(queue.take(one, now), Taken::Nothing));
    }
}
