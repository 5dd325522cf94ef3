//! [`Keys`]: which appends have been stored already.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::REMEMBERED_KEYS;

/// The latest keys, and what was stored under each.
#[derive(Debug)]
pub(super) struct Keys<T> {
    stored: HashMap<Arc<str>, T>,
    /// The oldest first.
    order: VecDeque<Arc<str>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            stored: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Copy> Keys<T> {
    pub(super) fn get(&self, key: &str) -> Option<T> {
        self.stored.get(key).copied()
    }

    /// Remembers a key that is not known yet; the oldest makes room.
    pub(super) fn insert(&mut self, key: &str, stored: T) {
        if self.order.len() >= REMEMBERED_KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.stored.remove(&oldest);
            }
        }
        let key: Arc<str> = key.into();
        self.stored.insert(Arc::clone(&key), stored);
        self.order.push_back(key);
    }
}
