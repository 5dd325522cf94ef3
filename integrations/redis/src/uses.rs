//! [`RedisUses`]: which tickets have been used, for every process on the server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_core::history::BoxFuture;
use fanfare_tickets::{Claim, Uses, UsesUnavailable};
use futures_channel::oneshot;
use redis::{Cmd, Value};

use crate::connection::{Connector, Link};
use crate::fault::{Fault, Kind};
use crate::queue::{NotQueued, Queue, Size, Taken};
use crate::{spawn, Builder, RedisHistory};

/// What may wait to be sent.
const QUEUE: Size = Size {
    count: 65_536,
    bytes: usize::MAX,
};

/// How many claims are sent before their answers are read.
const BATCH: Size = Size {
    count: 256,
    bytes: usize::MAX,
};

/// How long a claim may take in all. A use is remembered for so much longer: else a second claim could
/// wait until the first is forgotten, and win too.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often claims are sent again that went to the wrong server.
const RESENDS: u32 = 3;

/// Remembers in Redis which tickets have been used, so that each opens one stream, at whichever process.
///
/// Of a log that is called `s`, a use is the key `{s}:used:ID`, set with `NX` and the time for which it
/// must be remembered. While Redis is away, full or too slow, every ticket is refused, and those whose
/// answer did not come may count as used.
///
/// What Redis itself forgets can be used once more while it is valid: keys that a `maxmemory-policy`
/// other than `noeviction` evicts; a restart without `appendfsync always`; a failover, which may lose what
/// was answered last; a flush.
///
/// ```no_run
/// use fanfare_redis::RedisUses;
/// use fanfare_tickets::{SigningKey, Tickets};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = SigningKey::new(std::env::var("TICKET_KEY")?)?;
/// let uses = RedisUses::builder("redis://localhost:6379").stream("prices").build_uses()?;
/// let tickets = Tickets::builder(key).uses(uses).build();
/// # let _ = tickets;
/// # Ok(())
/// # }
/// ```
///
/// A thread of its own keeps the one connection. It ends when this is dropped.
pub struct RedisUses {
    claims: Arc<Queue<Pending>>,
}

impl RedisUses {
    /// Uses at a URL; [`Builder::build_uses`] makes them. What the builder says about retention is for
    /// histories.
    pub fn builder(url: impl Into<String>) -> Builder {
        RedisHistory::builder(url)
    }

    pub(crate) fn start(connector: Connector) -> io::Result<Self> {
        let uses = Self {
            claims: Arc::new(Queue::new(QUEUE)),
        };
        let claimer = Claimer {
            connector,
            queue: Arc::clone(&uses.claims),
        };
        spawn("fanfare-redis-u", || claimer.run())?;
        Ok(uses)
    }
}

impl Uses for RedisUses {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<bool, UsesUnavailable>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let pending = Pending {
                claim,
                begun: Instant::now(),
                answer,
            };
            let queued = self.claims.push(pending, 0);
            queued.map_err(|reason| match reason {
                NotQueued::Full => UsesUnavailable::new("too much waits to be sent"),
                NotQueued::Closed => UsesUnavailable::new("it is closed"),
            })?;
            match answered.await {
                Ok(answer) => answer.map_err(|fault| UsesUnavailable::new(fault.into_cause())),
                // Dropped unanswered: the thread has ended.
                Err(_) => Err(UsesUnavailable::new("it is closed")),
            }
        })
    }
}

impl Drop for RedisUses {
    fn drop(&mut self) {
        self.claims.close();
    }
}

impl fmt::Debug for RedisUses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUses").finish_non_exhaustive()
    }
}

/// A claim and who waits for it.
struct Pending {
    claim: Claim,
    begun: Instant,
    answer: oneshot::Sender<Result<bool, Fault>>,
}

impl Pending {
    fn answer(self, answer: Result<bool, Fault>) {
        // Who has dropped its future does not ask.
        let _ = self.answer.send(answer);
    }
}

/// What runs on the thread.
struct Claimer {
    connector: Connector,
    queue: Arc<Queue<Pending>>,
}

impl Claimer {
    fn run(self) {
        let mut link = Link::new(&self.connector);
        // Before anybody needs it.
        let _ = link.open();
        loop {
            match self.queue.take(BATCH, None) {
                Taken::Items(claims) => self.serve(&mut link, claims),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn serve(&self, link: &mut Link<'_>, mut claims: Vec<Pending>) {
        for attempt in 0..=RESENDS {
            let is_last = attempt == RESENDS;
            let mut again = Vec::new();
            let sent: Vec<Result<(), Fault>> = match link.open_surely() {
                Ok(()) => claims
                    .iter()
                    .map(|pending| link.send(&self.command(&pending.claim)))
                    .collect(),
                Err(fault) => claims.iter().map(|_| Err(fault.clone())).collect(),
            };
            let mut is_elsewhere = false;
            for (pending, sent) in claims.into_iter().zip(sent) {
                let answer = sent.and_then(|()| link.receive());
                let answer = answer.and_then(|value| is_first(&value, pending.begun.elapsed()));
                is_elsewhere |= matches!(&answer, Err(fault) if fault.kind == Kind::Elsewhere);
                match answer {
                    // Those behind it went to the wrong server too. To send a claim again lets nobody
                    // through twice.
                    Err(_) if is_elsewhere && !is_last => again.push(pending),
                    answer => pending.answer(answer),
                }
            }
            if again.is_empty() {
                return;
            }
            claims = again;
        }
    }

    fn command(&self, claim: &Claim) -> Cmd {
        let time = claim.remember_for().saturating_add(PATIENCE);
        let mut command = redis::cmd("SET");
        command
            .arg(self.connector.keys.used(claim.id()))
            .arg(1)
            .arg("NX")
            .arg("PX")
            .arg(time.as_millis().to_string());
        command
    }
}

/// Whether the key was not there before, if that was answered in time.
fn is_first(answer: &Value, waited: Duration) -> Result<bool, Fault> {
    match answer {
        Value::Okay if waited > PATIENCE => Err(Fault::new(Kind::Refused, "the answer came late")),
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        _ => Err(Fault::unexpected("OK")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_first_in_time_is_let_through() {
        let late = PATIENCE + Duration::from_millis(1);
        assert!(matches!(is_first(&Value::Okay, PATIENCE), Ok(true)));
        assert!(is_first(&Value::Okay, late).is_err());
        assert!(matches!(is_first(&Value::Nil, late), Ok(false)));
        assert!(is_first(&Value::Int(1), Duration::ZERO).is_err());
    }
}
