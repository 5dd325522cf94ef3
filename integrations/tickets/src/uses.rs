//! [`Uses`], what remembers which tickets have been used, and [`MemoryUses`].

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_core::history::BoxFuture;

/// Remembers which tickets have been used.
///
/// [`MemoryUses`] does for one process. Several that take the same tickets share a memory:
/// `fanfare::redis::RedisUses`, or one of yours.
///
/// # Contract
///
/// - Of all claims of the same id, on however many threads, processes and machines, `true` is
///   answered to one at most, for as long as [`Claim::remember_for`] says.
/// - That time runs from the first claim's answer to the beginning of any other. A memory that can be slow
///   remembers for longer, by as much as a claim may take, and refuses what has taken longer.
/// - Who cannot tell answers [`UsesUnavailable`], never `true`.
/// - Memory is bounded. What is full refuses; it does not forget what must be remembered.
/// - A claim that is dropped before it is answered may have been made; the ticket is then lost.
pub trait Uses: fmt::Debug + Send + Sync + 'static {
    /// Claims a ticket: whether nobody has before.
    ///
    /// # Errors
    ///
    /// [`UsesUnavailable`]: the ticket is refused. It may count as used.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<bool, UsesUnavailable>>;
}

const _: Option<&dyn Uses> = None;

/// A ticket that is about to be let through, once.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub(crate) id: u128,
    pub(crate) now: Duration,
    pub(crate) expires: Duration,
    pub(crate) remember_for: Duration,
}

impl Claim {
    /// Which ticket. No two have the same.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// The time by the clock that the ticket was judged by, from the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// When the ticket expires, from the Unix epoch: by that clock, it is not claimed from then on.
    #[must_use]
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// After this long, no process takes the ticket whose clock differs by no more than it may.
    #[must_use]
    pub fn remember_for(&self) -> Duration {
        self.remember_for
    }
}

/// Why it cannot be told whether a ticket has been used.
#[derive(Clone, Debug)]
pub struct UsesUnavailable(Arc<dyn Error + Send + Sync>);

impl UsesUnavailable {
    /// An error with its cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into().into())
    }
}

impl fmt::Display for UsesUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory of used tickets does not answer")
    }
}

impl Error for UsesUnavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The uses that one process remembers, until the tickets expire.
#[derive(Debug)]
pub struct MemoryUses {
    used: Mutex<Used>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Used {
    /// By expiry, then by id.
    tickets: BTreeSet<(Duration, u128)>,
    /// The latest expiry that has been forgotten.
    forgotten: Duration,
}

impl MemoryUses {
    /// Remembers so many tickets at most; each takes some 50 bytes. While so many have been used and
    /// have not expired, all others are refused.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            used: Mutex::default(),
            capacity,
        }
    }

    fn claim_now(&self, claim: &Claim) -> Result<bool, UsesUnavailable> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(expires, id)) = used.tickets.first() {
            if expires > claim.now {
                break;
            }
            used.tickets.remove(&(expires, id));
            used.forgotten = expires;
        }
        let ticket = (claim.expires, claim.id);
        if used.tickets.contains(&ticket) {
            Ok(false)
        } else if claim.expires <= used.forgotten {
            // It would have expired already, had the clock not gone back.
            Err(UsesUnavailable::new("the clock has gone back"))
        } else if used.tickets.len() >= self.capacity {
            Err(UsesUnavailable::new("too many tickets are in use"))
        } else {
            Ok(used.tickets.insert(ticket))
        }
    }
}

impl Default for MemoryUses {
    /// A million tickets.
    fn default() -> Self {
        Self::new(1_000_000)
    }
}

impl Uses for MemoryUses {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<bool, UsesUnavailable>> {
        Box::pin(std::future::ready(self.claim_now(&claim)))
    }
}
