//! [`KeepAlive`]: a sign of life when nothing else was sent.

use std::time::Duration;

use bytes::Bytes;

use crate::event::{Event, EventName};
use crate::timer::LONGEST;

/// What keeps an idle stream alive, and how often.
///
/// Proxies and load balancers cut connections that carry nothing, most after 60 seconds, and on
/// some frameworks a client that has gone is only noticed by a write that fails. So it is on by
/// default: every 15 seconds the comment `:` with **one** newline, which no client mistakes for
/// an event. It is skipped while data flows; the stream is never silent for longer than the
/// interval, nor is it written to more often than every half of it.
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::{Broadcaster, KeepAlive};
///
/// let hub = Broadcaster::builder()
///     .keep_alive(KeepAlive::every(Duration::from_secs(10)).event("ping"))
///     .build();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct KeepAlive {
    interval: Option<Duration>,
    event: Option<EventName>,
}

/// Below this, keeping alive would be all that a server does.
const SHORTEST: Duration = Duration::from_millis(10);

impl KeepAlive {
    /// A comment at least this often: from every 10 ms to once a day.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval: Some(interval.clamp(SHORTEST, LONGEST)),
            event: None,
        }
    }

    /// None at all. Streams that idle are then cut by whatever stands in between, and clients
    /// that vanished are noticed late, or never.
    pub const fn off() -> Self {
        Self {
            interval: None,
            event: None,
        }
    }

    /// An event with this name and empty data instead of the comment.
    ///
    /// Scripts cannot see comments, so a page that watches for stalls needs an event. It has no
    /// id, and so does not move the client's place.
    pub fn event(mut self, name: impl Into<EventName>) -> Self {
        self.event = Some(name.into());
        self
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    pub(crate) fn bytes(&self) -> Bytes {
        match &self.event {
            None => Bytes::from_static(b":\n"),
            Some(name) => Event::data("").name(name.clone()).encode(),
        }
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

/// Whether a stream owes a sign of life: kept by the stream, asked at each beat of a timer that
/// beats twice in an interval.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// The last beat that was answered.
    beat: u64,
    /// Whether anything was sent since.
    sent: bool,
}

impl Liveness {
    pub(crate) fn new(beat: u64) -> Self {
        Self { beat, sent: false }
    }

    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    /// Whether nothing was sent between the two latest beats. If so, the caller sends now.
    pub(crate) fn is_due(&mut self, beat: u64) -> bool {
        if beat == self.beat {
            return false;
        }
        let was_idle = !self.sent || beat - self.beat > 1;
        self.beat = beat;
        self.sent = was_idle;
        was_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_due_once_nothing_was_sent_between_two_beats() {
        let mut idle = Liveness::new(0);
        let due: Vec<bool> = (1..=6).map(|beat| idle.is_due(beat)).collect();
        assert_eq!(
            due,
            [true, false, true, false, true, false],
            "every other beat"
        );
        assert!(!idle.is_due(6), "a beat is answered once");

        let mut busy = Liveness::new(0);
        for beat in 1..=6 {
            busy.sent();
            assert!(!busy.is_due(beat));
        }
        assert!(busy.is_due(8), "two beats have passed while nobody looked");
    }
}
