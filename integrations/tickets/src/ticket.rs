//! [`Ticket`], a text, and [`Payload`], what is signed in it.

use std::fmt;
use std::time::Duration;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;
use fanfare_core::Topics;

use crate::key::{SigningKey, ID_BYTES, SIGNATURE_BYTES};
use crate::Refused;

/// The layout of what follows.
const VERSION: u8 = 1;

/// The version and the key's id.
const HEAD_BYTES: usize = 1 + ID_BYTES;

/// The longest text that is looked at: many servers and proxies take no longer addresses.
pub(crate) const MAX_TEXT: usize = 4_096;

/// A ticket's text, as it was issued or as somebody presents it: only [redeeming](crate::Tickets::redeem)
/// tells whether it is worth anything.
///
/// It is a secret until it is used, so it can be neither displayed nor debugged, but by
/// [`as_str`](Self::as_str).
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// The query parameter that a ticket is presented in.
    pub const PARAMETER: &'static str = "ticket";

    /// The text: letters, digits, `-` and `_`, which a query holds as they are.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Ticket {
    /// A ticket that somebody presents.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> Self {
        ticket.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

/// What a ticket says. Times are counted from the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payload {
    /// Of chance: no two tickets have the same.
    pub(crate) id: u128,
    pub(crate) issued: Duration,
    pub(crate) expires: Duration,
    pub(crate) key: String,
    pub(crate) topics: Topics,
}

impl Payload {
    /// The longest client key, in bytes: its length has a byte.
    pub(crate) const MAX_KEY: usize = u8::MAX as usize;

    /// The ticket, if neither the client key nor the whole is too long.
    pub(crate) fn sign(&self, key: &SigningKey) -> Option<Ticket> {
        let mut bytes = vec![VERSION];
        bytes.extend(key.id());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(millis(self.issued).to_be_bytes());
        bytes.extend(millis(self.expires).to_be_bytes());
        bytes.push(self.key.len().try_into().ok()?);
        bytes.extend(self.key.as_bytes());
        bytes.extend(self.topics.to_string().as_bytes());
        bytes.extend(key.sign(&bytes));
        let text = URL_SAFE_NO_PAD.encode(bytes);
        (text.len() <= MAX_TEXT).then_some(Ticket(text))
    }

    /// What a text says, if one of the keys has signed it. Nothing else of it is read before.
    pub(crate) fn verify(text: &str, keys: &[SigningKey]) -> Result<Self, Refused> {
        if text.len() > MAX_TEXT {
            return Err(Refused::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| Refused::Malformed)?;
        let length = bytes.len().checked_sub(SIGNATURE_BYTES);
        let (payload, signature) = length
            .and_then(|length| bytes.split_at_checked(length))
            .ok_or(Refused::Malformed)?;
        let (head, rest) = payload
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(Refused::Malformed)?;
        let [VERSION, id @ ..] = *head else {
            return Err(Refused::Malformed);
        };
        let mut named = keys.iter().filter(|key| key.id() == id).peekable();
        if named.peek().is_none() {
            return Err(Refused::UnknownKey);
        }
        if !named.any(|key| key.verifies(payload, signature)) {
            return Err(Refused::BadSignature);
        }
        Self::read(rest).ok_or(Refused::Malformed)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (id, bytes) = bytes.split_first_chunk()?;
        let (issued, bytes) = bytes.split_first_chunk()?;
        let (expires, bytes) = bytes.split_first_chunk()?;
        let (&length, bytes) = bytes.split_first()?;
        let (key, topics) = bytes.split_at_checked(length.into())?;
        Some(Self {
            id: u128::from_be_bytes(*id),
            issued: Duration::from_millis(u64::from_be_bytes(*issued)),
            expires: Duration::from_millis(u64::from_be_bytes(*expires)),
            key: String::from_utf8(key.to_vec()).ok()?,
            topics: std::str::from_utf8(topics).ok()?.parse().ok()?,
        })
    }
}

/// Whole milliseconds: more than the far future has are as many as fit.
fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
