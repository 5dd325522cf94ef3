//! [`Subscribe`]: a subscription that is not opened yet.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::hub::Hub;
use super::Broadcaster;
use crate::error::{Refused, RefusedReason, WhenRefused};
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
    admission: Admission,
}

impl Subscribe {
    pub(super) fn new(hub: Broadcaster, topics: Topics) -> Self {
        Self {
            hub,
            topics,
            begin: Begin::Now,
            admission: Admission::default(),
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

    /// Who this is: a user, a tenant, an address. The stream counts against the limits per key, and
    /// [`disconnect`](Broadcaster::disconnect) ends it.
    ///
    /// One stream may have several keys, a user and an address, say: each limit holds for each. Of an
    /// IPv6 address, take the first 64 bits: a client that has one address has all that begin with them.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.admission.add_key(key.as_ref());
        self
    }

    /// Ends the stream after this time, as the rights end that it was admitted with. Nothing is
    /// delivered after it, however much the client has not read yet.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.admission.expire_in(self.hub.hub(), time);
        self
    }

    /// How this subscriber is answered if it is refused, rather than as
    /// [`Builder::when_refused`](super::Builder::when_refused) says: one route may be for browsers,
    /// another for programs.
    pub fn when_refused(mut self, answer: WhenRefused) -> Self {
        self.admission.when_refused = Some(answer);
        self
    }

    /// Admits the subscriber, and puts its cursor in place.
    ///
    /// # Errors
    ///
    /// [`Refused`], if a limit is reached or the broadcaster is closed or drained.
    pub fn open(self) -> Result<Subscriber, Refused> {
        let hub = Arc::clone(self.hub.hub());
        let answer = self.admission.when_refused;
        let permit = Hub::admit(&hub, self.admission)?;
        let Ok(start) = hub.memory.start(self.topics, &self.begin) else {
            return Err(hub.refuse(RefusedReason::Closing, answer));
        };
        if let Some(lease) = &permit.lease {
            lease.follows(&start.view, start.place);
        }
        Hub::keep_ticking(&hub);
        Ok(Subscriber::new(permit.opened(), start))
    }
}
