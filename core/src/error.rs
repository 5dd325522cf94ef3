//! What can go wrong, per operation, and what the caller can do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::history::HistoryError;

/// Why publishing failed. But for a history whose [outcome is unknown](HistoryError::is_unknown), the
/// event was not stored, and nobody receives it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// The event is larger than one event may be: send less, or raise
    /// [`Builder::max_event_bytes`](crate::broadcaster::Builder::max_event_bytes).
    TooLarge {
        /// Its encoded size, in bytes.
        size: usize,
        /// The most that the broadcaster takes, in bytes.
        limit: usize,
    },
    /// The broadcaster is closed: the server is going away.
    Closed,
    /// There is a backend behind the broadcaster, which takes time: await
    /// [`publish`](crate::Broadcaster::publish).
    WouldWait,
    /// The history refused the event, or cannot say whether it took it.
    History(HistoryError),
}

impl PublishError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::Closed | Self::WouldWait => false,
            Self::History(error) => error.is_retryable(),
        }
    }

    /// The HTTP status that says so: 413 for an event that is too large, 503 for what may pass
    /// and for a server that goes away, else 500.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Closed => 503,
            Self::History(error) if error.is_retryable() => 503,
            Self::WouldWait | Self::History(_) => 500,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "an event of {size} bytes is larger than the limit of {limit}"
                )
            }
            Self::Closed => f.write_str("the broadcaster is closed"),
            Self::WouldWait => f.write_str("the backend takes time: await the publish"),
            Self::History(error) if error.is_unknown() => {
                f.write_str("the history may have stored the event, or not")
            }
            Self::History(_) => f.write_str("the history did not take the event"),
        }
    }
}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::History(error) => Some(error),
            Self::TooLarge { .. } | Self::Closed | Self::WouldWait => None,
        }
    }
}

impl From<HistoryError> for PublishError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Closed => Self::Closed,
            error => Self::History(error),
        }
    }
}

/// Why an [`EventSource`](crate::EventSource) did not take an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody can receive it any more: the client has gone, or the broadcaster is closed. A
    /// producer stops here.
    Closed,
    /// Publishing failed; see there.
    Publish(PublishError),
    /// The value could not be written as JSON.
    #[cfg(feature = "json")]
    Json(crate::event::JsonError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody can receive the event any more"),
            Self::Publish(_) => f.write_str("publishing the event failed"),
            #[cfg(feature = "json")]
            Self::Json(_) => f.write_str("the event could not be written"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Publish(error) => Some(error),
            #[cfg(feature = "json")]
            Self::Json(error) => Some(error),
        }
    }
}

impl From<PublishError> for SendError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Closed => Self::Closed,
            error => Self::Publish(error),
        }
    }
}

#[cfg(feature = "json")]
impl From<crate::event::JsonError> for SendError {
    fn from(error: crate::event::JsonError) -> Self {
        Self::Json(error)
    }
}

/// Why a subscriber was not admitted.
///
/// A framework's `Sse` takes it as it is and answers as [`Builder::when_refused`] says, so that
/// a handler needs no `match`.
///
/// [`Builder::when_refused`]: crate::broadcaster::Builder::when_refused
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// How long the client should wait; another for each, so that those who were refused
    /// together do not come back together.
    pub retry_after: Duration,
    pub(crate) answer: WhenRefused,
}

/// Why a subscriber was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The broadcaster has as many subscribers as it may.
    Full,
    /// This key (user, tenant, address) has as many subscribers as it may.
    KeyFull,
    /// This key has opened as many streams as it may in so short a time.
    Rate,
    /// The broadcaster is closed or drained: the server is going away.
    Closing,
}

/// How a refusal is answered over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenRefused {
    /// With a status that says so, and `Retry-After`: 503, or 429 when it is the key's own limit.
    ///
    /// Programs understand it. A browser's `EventSource` gives up forever.
    #[default]
    Status,
    /// With 200, a `retry` and a clean end: a browser's `EventSource` comes back by itself.
    Soft,
    /// With 204, which sends a browser's `EventSource` away for good.
    Away,
}

impl Refused {
    /// Whether the same client can be admitted later, by this process.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.reason != RefusedReason::Closing
    }

    /// The status that says so: 429 for a limit of the client's own, else 503.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.reason {
            RefusedReason::KeyFull | RefusedReason::Rate => 429,
            RefusedReason::Full | RefusedReason::Closing => 503,
        }
    }

    /// How it is to be answered over HTTP.
    #[must_use]
    pub fn answer(&self) -> WhenRefused {
        self.answer
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            RefusedReason::Full => "there are as many subscribers as there may be",
            RefusedReason::KeyFull => "this client has as many streams as it may have",
            RefusedReason::Rate => "this client opens streams faster than it may",
            RefusedReason::Closing => "the server is going away",
        })
    }
}

impl Error for Refused {}
