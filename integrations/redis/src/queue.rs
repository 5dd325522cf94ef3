//! [`Queue`]: what waits for a thread of ours, bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    is_closed: bool,
    /// Whether the thread sleeps: to wake one that does not costs a call of the system each time.
    is_awaited: bool,
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
    Nothing,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(max: Size) -> Self {
        let waiting = Waiting {
            items: VecDeque::new(),
            bytes: 0,
            is_closed: false,
            is_awaited: false,
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
        let is_awaited = std::mem::take(&mut waiting.is_awaited);
        drop(waiting);
        if is_awaited {
            self.news.notify_one();
        }
        Ok(())
    }

    /// Whether as much waits as is taken at once.
    pub(crate) fn holds(&self, most: Size) -> bool {
        let waiting = self.lock();
        waiting.items.len() >= most.count || waiting.bytes >= most.bytes
    }

    /// Takes what waits, up to a size and at least one; waits for it for so long, or until there is
    /// something.
    pub(crate) fn take(&self, most: Size, wait: Option<Duration>) -> Taken<T> {
        let mut waiting = self.lock();
        let is_idle = |waiting: &mut Waiting<T>| {
            waiting.is_awaited = waiting.items.is_empty() && !waiting.is_closed;
            waiting.is_awaited
        };
        waiting = match wait {
            Some(Duration::ZERO) => waiting,
            Some(wait) => {
                let waited = self.news.wait_timeout_while(waiting, wait, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.news.wait_while(waiting, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        waiting.is_awaited = false;
        let mut taken = Vec::with_capacity(most.count.min(waiting.items.len()));
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
        match (taken.is_empty(), waiting.is_closed) {
            (false, _) => Taken::Items(taken),
            (true, true) => Taken::Closed,
            (true, false) => Taken::Nothing,
        }
    }

    /// Refuses what comes from now on; what waits is still taken.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
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
        assert_eq!(
            queue.push('a', 100),
            Ok(()),
            "one has room, whatever its size"
        );
        assert_eq!(queue.push('b', 1), Err(NotQueued::Full), "by bytes");
        let most = Size { count: 1, bytes: 5 };
        assert!(matches!(queue.take(most, None), Taken::Items(items) if items == ['a']));
        assert_eq!(queue.push('c', 1), Ok(()));
        assert_eq!(queue.push('d', 1), Ok(()));
        assert_eq!(queue.push('e', 1), Err(NotQueued::Full), "by count");
        queue.close();
        assert_eq!(queue.push('f', 1), Err(NotQueued::Closed));
        assert!(matches!(queue.take(most, None), Taken::Items(items) if items == ['c']));
        assert!(matches!(queue.take(most, None), Taken::Items(items) if items == ['d']));
        assert!(matches!(queue.take(most, None), Taken::Closed));
    }
}
