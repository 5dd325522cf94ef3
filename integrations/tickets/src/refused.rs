//! [`Refused`]: why a ticket opens nothing, for the log alone.

use std::error::Error;
use std::fmt;

use crate::UsesUnavailable;

/// Why a ticket is refused.
///
/// It is for your log. Who presents the ticket is told the same in every case, [`STATUS`](Self::STATUS)
/// and [`ANSWER`](Self::ANSWER), and so learns nothing about keys, clocks and other people's tickets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It is no ticket of ours.
    Malformed,
    /// The request has more than one.
    Several,
    /// The key that it names is none of those that are taken: rotated away, or never ours.
    UnknownKey,
    /// It has been tampered with.
    BadSignature,
    /// It was issued later than now, by more than clocks may differ.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It is for other topics than those asked for.
    OtherTopics,
    /// It has been used.
    AlreadyUsed,
    /// Whether it has been used cannot be told.
    UsesUnavailable(UsesUnavailable),
}

impl Refused {
    /// The status to answer with: 403 Forbidden. A browser's `EventSource` does not come back after
    /// it; the page, told by its `error` event, fetches another ticket.
    pub const STATUS: u16 = 403;

    /// The words to answer with.
    pub const ANSWER: &'static str = "the ticket is not valid";
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the text is no ticket",
            Self::Several => "the request has several tickets",
            Self::UnknownKey => "the ticket is signed with a key that is not taken",
            Self::BadSignature => "the ticket's signature is wrong",
            Self::NotYetValid => "the ticket was issued later than now",
            Self::Expired => "the ticket has expired",
            Self::OtherTopics => "the ticket is for other topics",
            Self::AlreadyUsed => "the ticket has been used",
            Self::UsesUnavailable(_) => "whether the ticket has been used cannot be told",
        })
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::UsesUnavailable(error) => Some(error),
            _ => None,
        }
    }
}
