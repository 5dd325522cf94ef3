//! [`Private`]: a stream to one client that the broadcaster admits and ends.

use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::hub::Hub;
use super::Broadcaster;
use crate::error::{Refused, WhenRefused};
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
        let now = self.hub.hub().memory.timer().now();
        self.admission.expires = now.checked_add(time);
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
    /// [`Refused`], if a limit is reached or the broadcaster is closed.
    pub fn open(self) -> Result<EventStream, Refused> {
        let hub = Arc::clone(self.hub.hub());
        let permit = Hub::admit(&hub, self.admission)?;
        if hub.is_closing() {
            // Closed since: nobody would end it.
            return Err(hub.refuse(crate::RefusedReason::Closing, None));
        }
        Ok(self.stream.admitted(permit))
    }
}
