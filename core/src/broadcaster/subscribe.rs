//! [`Subscribe`]: a subscription that is not opened yet.

use std::sync::Arc;

use super::hub::Hub;
use super::Broadcaster;
use crate::error::{Refused, RefusedReason};
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
    after: After,
    key: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
enum After {
    Now,
    Oldest,
    Place(LastEventId),
}

impl Subscribe {
    pub(super) fn new(hub: Broadcaster, topics: Topics) -> Self {
        Self {
            hub,
            topics,
            after: After::Now,
            key: None,
        }
    }

    /// Resumes strictly after the place that a client says it saw; from now on if it names none.
    pub fn after(mut self, last: impl Into<LastEventId>) -> Self {
        let last = last.into();
        self.after = if last.is_none() {
            After::Now
        } else {
            After::Place(last)
        };
        self
    }

    /// Begins with everything that is retained.
    pub fn from_oldest(mut self) -> Self {
        self.after = After::Oldest;
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
        let hub = self.hub.0;
        let permit = Hub::admit(&hub, self.key)?;
        let (after, from_oldest) = match self.after {
            After::Now => (LastEventId::none(), false),
            After::Oldest => (LastEventId::none(), true),
            After::Place(last) => (last, false),
        };
        let Ok(mut start) = hub.memory.start(self.topics, &after) else {
            return Err(hub.refuse(RefusedReason::Closing));
        };
        if from_oldest {
            (start.place, start.told) = (0, start.view.evicted());
        }
        Hub::keep_ticking(&hub);
        Ok(Subscriber::new(permit, start))
    }
}
