//! [`Tickets`], which issues tickets and judges them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare_core::Topics;

use crate::ticket::{Payload, MAX_TEXT};
use crate::{Claim, MemoryUses, Refused, SigningKey, Ticket, Uses};

/// The longest that a ticket may be valid.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Issues tickets, and judges those that come back. Cloning is cheap: all clones are one.
#[derive(Clone)]
pub struct Tickets(Arc<Inner>);

struct Inner {
    /// The first signs.
    keys: Vec<SigningKey>,
    lifetime: Duration,
    clock_skew: Duration,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    uses: Arc<dyn Uses>,
}

impl Tickets {
    /// Tickets that are signed with this key, valid for 30 seconds, and remembered in this process.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self::builder(key).build()
    }

    /// Tickets that are signed with this key, and the rest to be chosen.
    pub fn builder(key: SigningKey) -> Builder {
        Builder {
            keys: vec![key],
            lifetime: Duration::from_secs(30),
            clock_skew: Duration::from_secs(5),
            clock: Box::new(SystemTime::now),
            uses: None,
        }
    }

    /// How long a ticket is valid.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }

    /// A ticket for a client, which you have authenticated, to subscribe to these topics or to any
    /// part of them.
    ///
    /// `key` is what your app knows the client by: a user, a tenant, an address. It stands in the
    /// ticket, signed but not encrypted.
    ///
    /// # Errors
    ///
    /// [`IssueError`]: the key or the topics are too long, or the system has no random numbers.
    pub fn issue(
        &self,
        key: impl AsRef<str>,
        topics: impl Into<Topics>,
    ) -> Result<Ticket, IssueError> {
        let key = key.as_ref();
        if key.len() > Payload::MAX_KEY {
            return Err(IssueError::KeyTooLong {
                limit: Payload::MAX_KEY,
            });
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| IssueError::NoRandomness(error.into()))?;
        let issued = self.now();
        let payload = Payload {
            id: u128::from_ne_bytes(id),
            issued,
            expires: issued.saturating_add(self.0.lifetime),
            key: key.to_owned(),
            topics: topics.into(),
        };
        let signed = self.0.keys.first().and_then(|key| payload.sign(key));
        signed.ok_or(IssueError::TopicsTooLong { limit: MAX_TEXT })
    }

    /// Lets a ticket through, once, for topics that are asked for with it. All of them must be among
    /// those that it was issued for; else it stays unused.
    ///
    /// With a memory of uses elsewhere this waits for it. A future that is dropped before it is ready
    /// may have used the ticket.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why, to your log; the client is told [`Refused::ANSWER`]. If the memory of uses
    /// does not answer, the ticket is refused.
    pub async fn redeem(&self, ticket: &str, asked: &Topics) -> Result<Grant, Refused> {
        self.let_through(ticket, Some(asked)).await
    }

    /// [`redeem`](Self::redeem), for all the topics that the ticket was issued for.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn redeem_all(&self, ticket: &str) -> Result<Grant, Refused> {
        self.let_through(ticket, None).await
    }

    async fn let_through(&self, ticket: &str, asked: Option<&Topics>) -> Result<Grant, Refused> {
        let payload = Payload::verify(ticket, &self.0.keys)?;
        let now = self.now();
        if payload.issued > now.saturating_add(self.0.clock_skew) {
            return Err(Refused::NotYetValid);
        }
        if payload.expires <= now {
            return Err(Refused::Expired);
        }
        if asked.is_some_and(|asked| !payload.topics.covers(asked)) {
            return Err(Refused::OtherTopics);
        }
        // Last: a ticket is used up by nothing but being let through.
        let lifetime = payload.expires.saturating_sub(payload.issued);
        let claim = Claim {
            id: payload.id,
            now,
            expires: payload.expires,
            remember_for: lifetime.saturating_add(self.0.clock_skew.saturating_mul(2)),
        };
        match self.0.uses.claim(claim).await {
            Ok(true) => Ok(Grant {
                key: payload.key,
                topics: asked.cloned().unwrap_or(payload.topics),
            }),
            Ok(false) => Err(Refused::AlreadyUsed),
            Err(error) => Err(Refused::UsesUnavailable(error)),
        }
    }

    fn now(&self) -> Duration {
        let now = (self.0.clock)();
        now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("keys", &self.0.keys.len())
            .field("lifetime", &self.0.lifetime)
            .field("clock_skew", &self.0.clock_skew)
            .finish_non_exhaustive()
    }
}

/// What [`Tickets`] are made with.
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    keys: Vec<SigningKey>,
    lifetime: Duration,
    clock_skew: Duration,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    uses: Option<Arc<dyn Uses>>,
}

impl Builder {
    /// Takes tickets that were signed with this key, too, and signs none with it. See
    /// [rotation](crate#keys-and-their-rotation).
    pub fn also_take(mut self, key: SigningKey) -> Self {
        self.keys.push(key);
        self
    }

    /// How long a ticket is valid; 30 s if not said, and at most a day. It is to last until the
    /// client has connected, not for as long as the stream.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.clamp(Duration::from_millis(1), LONGEST);
        self
    }

    /// How much the clocks of two processes may differ; 5 s if not said. By that much, a ticket may
    /// come from the future, and is remembered for longer.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.clock_skew = skew.min(LONGEST);
        self
    }

    /// What tells the time; [`SystemTime::now`] if not said.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// What remembers which tickets have been used; [`MemoryUses`] if not said, which is enough for one
    /// process.
    pub fn uses(mut self, uses: impl Uses) -> Self {
        self.uses = Some(Arc::new(uses));
        self
    }

    /// The tickets.
    #[must_use]
    pub fn build(self) -> Tickets {
        let in_memory = || Arc::new(MemoryUses::default()) as Arc<dyn Uses>;
        Tickets(Arc::new(Inner {
            keys: self.keys,
            lifetime: self.lifetime,
            clock_skew: self.clock_skew,
            clock: self.clock,
            uses: self.uses.unwrap_or_else(in_memory),
        }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("keys", &self.keys.len())
            .field("lifetime", &self.lifetime)
            .field("clock_skew", &self.clock_skew)
            .finish_non_exhaustive()
    }
}

/// What a ticket has been let through for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// What your app knows the client by.
    pub key: String,
    /// What the client may subscribe to.
    pub topics: Topics,
}

/// Why there is no ticket.
#[derive(Debug)]
#[non_exhaustive]
pub enum IssueError {
    /// The client's key is too long.
    KeyTooLong {
        /// The longest it may be, in bytes.
        limit: usize,
    },
    /// With these topics, the ticket is too long for a URL.
    TopicsTooLong {
        /// The longest a ticket may be, in bytes.
        limit: usize,
    },
    /// The system has no random numbers.
    NoRandomness(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLong { limit } => write!(f, "a client's key has at most {limit} bytes"),
            Self::TopicsTooLong { limit } => {
                write!(f, "with these topics, a ticket has more than {limit} bytes")
            }
            Self::NoRandomness(_) => f.write_str("the system has no random numbers"),
        }
    }
}

impl Error for IssueError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoRandomness(error) => Some(&**error),
            Self::KeyTooLong { .. } | Self::TopicsTooLong { .. } => None,
        }
    }
}
