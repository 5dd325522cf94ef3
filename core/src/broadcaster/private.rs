//! [`Private`]: a stream to one client that the broadcaster admits and ends.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::hub::Hub;
use super::Broadcaster;
use crate::error::{Refused, RefusedReason, WhenRefused};
use crate::response::EventStream;

/// A stream to one client that is not opened yet: see [`Broadcaster::private`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is opened"]
pub struct Private {
    hub: Broadcaster,
    stream: EventStream,
    admission: Admission,
}

impl Private {
    pub(super) fn new(hub: Broadcaster, stream: EventStream) -> Self {
        Self {
            hub,
            stream,
            admission: Admission {
                is_private: true,
                ..Admission::default()
            },
        }
    }

    /// As [`Subscribe::key`](super::Subscribe::key).
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.admission.add_key(key.as_ref());
        self
    }

    /// As [`Subscribe::expires_in`](super::Subscribe::expires_in).
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.admission.expire_in(self.hub.hub(), time);
        self
    }

    /// As [`Subscribe::when_refused`](super::Subscribe::when_refused).
    pub fn when_refused(mut self, answer: WhenRefused) -> Self {
        self.admission.when_refused = Some(answer);
        self
    }

    /// Admits the stream.
    ///
    /// # Errors
    ///
    /// [`Refused`], if a limit is reached or the broadcaster is closed or drained.
    pub fn open(self) -> Result<EventStream, Refused> {
        let hub = Arc::clone(self.hub.hub());
        let answer = self.admission.when_refused;
        let permit = Hub::admit(&hub, self.admission)?;
        // Again, now that it can be found: who looked for those to end before that has not ended it.
        if hub.is_going_away() {
            return Err(hub.refuse(RefusedReason::Closing, answer));
        }
        Ok(self.stream.admitted(permit.opened()))
    }
}
