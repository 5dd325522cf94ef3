//! [`HistoryError`]: why a history did not do what it was asked, and whether to try again.

use std::error::Error;
use std::fmt;

/// What an engine said.
type Source = Box<dyn Error + Send + Sync>;

/// Why a history did not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum HistoryError {
    /// It is closed.
    Closed,
    /// A new topic would be one too many. Nothing was stored.
    ///
    /// A topic counts for as long as it has records. Memory makes room by evicting an old topic that
    /// nobody follows by its name, and refuses only if there is none; other histories keep a topic's
    /// newest record until it is too old, so that there this passes with time if they have an
    /// [age](super::Retention::age), and does not if they have none.
    TooManyTopics {
        /// The most topics that there can be at once.
        limit: usize,
    },
    /// The engine cannot do it now: it is away, slow or full. Nothing was stored; the same call can
    /// succeed later.
    Unavailable(Source),
    /// The engine may have stored the event, or not: the connection broke before it answered.
    /// Trying again can store it twice, unless the append has a [key](super::Append::key).
    Unknown(Source),
    /// The engine refuses, and will until somebody mends it: no rights, another process has the
    /// directory, its data is damaged. Nothing was stored.
    Failed(Source),
}

impl HistoryError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Closed | Self::Failed(_) => false,
            Self::TooManyTopics { .. } | Self::Unavailable(_) | Self::Unknown(_) => true,
        }
    }

    /// Whether the event may have been stored all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the history is closed"),
            Self::TooManyTopics { limit } => write!(f, "there are {limit} topics already"),
            Self::Unavailable(_) => f.write_str("the history's engine is not available"),
            Self::Unknown(_) => f.write_str("the history's engine may have stored the event"),
            Self::Failed(_) => f.write_str("the history's engine refuses"),
        }
    }
}

impl Error for HistoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Unknown(source) | Self::Failed(source) => {
                Some(&**source)
            }
            Self::Closed | Self::TooManyTopics { .. } => None,
        }
    }
}
