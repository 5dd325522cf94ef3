//! [`Subscribe`]: a subscription that is not opened yet.

use std::sync::Arc;

use super::hub::Hub;
use super::Broadcaster;
use crate::error::{Refused, RefusedReason};
use crate::history::Begin;
use crate::id::LastEventId;
use crate::subscriber::Subscriber;
use crate::topic::Topics;

/// A subscription that is not opened yet.
///
/// Handed to a framework's `Sse`, or [opened](Self::open) by hand.
#[derive(Clone, Debug)]
#[must_use = "a subscription does nothing until it is opened"]
pub struct Subscribe {
    hub: Broadcaster,
    topics: Topics,
    begin: Begin,
    key: Option<Arc<str>>,
}

impl Subscribe {
    pub(super) fn new(hub: Broadcaster, topics: Topics) -> Self {
        Self {
            hub,
            topics,
            begin: Begin::Now,
            key: None,
        }
    }

    /// Resumes strictly after the place that a client says it saw; from now on if it names none.
    pub fn after(mut self, last: impl Into<LastEventId>) -> Self {
        let last = last.into();
        self.begin = if last.is_none() {
            Begin::Now
        } else {
            Begin::After(last)
        };
        self
    }

    /// Begins with everything that is retained. A gap event comes first if that is not in one
    /// piece, as when a loud topic has evicted what came after a quiet one's records.
    pub fn from_oldest(mut self) -> Self {
        self.begin = Begin::Oldest;
        self
    }

    /// Counts this subscriber against the limit per key: a user, a tenant, an address.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().into());
        self
    }

    /// Admits the subscriber, and puts its cursor in place.
    ///
    /// # Errors
    ///
    /// [`Refused`], if a limit is reached or the broadcaster is closed.
    pub fn open(self) -> Result<Subscriber, Refused> {
        let hub = Arc::clone(self.hub.hub());
        let permit = Hub::admit(&hub, self.key)?;
        let Ok(start) = hub.memory.start(self.topics, &self.begin) else {
            return Err(hub.refuse(RefusedReason::Closing));
        };
        Hub::keep_ticking(&hub);
        Ok(Subscriber::new(permit, start))
    }
}
