//! [`Writer`]: the thread that stores what was appended, many at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fanfare_core::history::{Append, HistoryError};
use fanfare_core::EventId;
use futures_channel::oneshot;
use redis::{Cmd, Value};

use crate::connection::{counted, Connector, Link, Script};
use crate::fault::{Fault, Kind};
use crate::packed::pack;
use crate::queue::{Queue, Size, Taken};
use crate::values::{list, next, number, text};

/// What may wait to be sent. More is refused: the caller is to slow down.
pub(crate) const QUEUE: Size = Size {
    count: 65_536,
    bytes: 64 << 20,
};

/// What one call of the script stores.
const BATCH: Size = Size {
    count: 256,
    bytes: 4 << 20,
};

/// How many calls are under way at once: the server works on one while we see to the other. The second one is
/// only sent if it is full: of 64 records, two halves cost the server 1.4 times as much as one call.
const UNDER_WAY: usize = 2;

/// How often a call is sent again that the server did not take since the script was unknown to it,
/// or the log elsewhere.
const RESENDS: u32 = 3;

/// The log's own stream holds about so much, for tails and for pages of all topics: of older ones the
/// topics' streams have what is retained.
const LOG: Size = Size {
    count: 10_000,
    bytes: 16 << 20,
};

/// An append and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<EventId, HistoryError>>,
}

impl Pending {
    pub(crate) fn size(&self) -> usize {
        let key = self.append.chosen_key().map_or(0, str::len);
        self.append.topic().as_str().len() + self.append.block().len() + key
    }

    fn fail(self, fault: &Fault) {
        // Who has dropped its future does not ask.
        let _ = self.answer.send(Err(fault.of_append()));
    }
}

/// The batches that have been sent, in that order, and not been answered.
type UnderWay = VecDeque<Vec<Pending>>;

pub(crate) struct Writer {
    pub(crate) connector: Arc<Connector>,
    pub(crate) queue: Arc<Queue<Pending>>,
    pub(crate) max_topics: usize,
}

impl Writer {
    pub(crate) fn run(self) {
        let mut link = Link::new(&self.connector);
        let mut under_way = UnderWay::default();
        let mut again = Vec::new();
        let mut resends = 0;
        loop {
            if !again.is_empty() && under_way.is_empty() {
                resends += 1;
                self.send(&mut link, &mut under_way, std::mem::take(&mut again));
            }
            let is_free =
                under_way.is_empty() || (under_way.len() < UNDER_WAY && self.queue.holds(BATCH));
            if again.is_empty() && !link.is_leaving() && is_free {
                let wait = match (under_way.is_empty(), link.is_open()) {
                    (false, _) => Some(Duration::ZERO),
                    (true, true) => None,
                    (true, false) => {
                        // Before anybody needs it.
                        let _ = link.open();
                        (!link.is_open()).then(|| link.pause())
                    }
                };
                match self.queue.take(BATCH, wait) {
                    Taken::Items(batch) => {
                        resends = 0;
                        // Whoever waits for the server to come back is told so.
                        self.send(&mut link, &mut under_way, batch);
                        continue;
                    }
                    Taken::Closed if under_way.is_empty() => return,
                    Taken::Nothing | Taken::Closed => {}
                }
            }
            if let Some(batch) = under_way.pop_front() {
                let answer = link.receive();
                let is_last_try = resends >= RESENDS;
                again.extend(self.answer(batch, answer, is_last_try));
                give_up(&link, &mut under_way);
                // Whoever was answered publishes again, as a rule, and is to be in the next call.
                thread::yield_now();
            }
        }
    }

    /// Sends a batch, which is under way then, or has been answered.
    fn send(&self, link: &mut Link<'_>, under_way: &mut UnderWay, batch: Vec<Pending>) {
        // The answers to what is under way come on the connection that is there, or not at all.
        if under_way.is_empty() {
            if let Err(fault) = link.open_surely() {
                return fail_all(batch, &fault.unsent());
            }
        }
        let sent = self
            .command(link, &batch)
            .and_then(|command| link.send(&command));
        match sent {
            Ok(()) => under_way.push_back(batch),
            Err(fault) => fail_all(batch, &fault),
        }
        give_up(link, under_way);
    }

    fn command(&self, link: &Link<'_>, batch: &[Pending]) -> Result<Cmd, Fault> {
        let names = &self.connector.keys;
        let (mut keyed, mut keys) = (Vec::new(), Vec::new());
        for (number, pending) in batch.iter().enumerate() {
            if let Some(key) = pending.append.chosen_key() {
                keyed.push(number);
                keys.push(names.key(key));
            }
        }
        let mut command = link.call(Script::Append, &keys)?;
        command.arg(counted(self.max_topics));
        command.arg(LOG.bytes).arg(LOG.bytes / LOG.count);
        let records = batch.iter().map(|pending| {
            let append = &pending.append;
            (append.topic().as_str(), &append.block()[..])
        });
        let bytes: usize = records.clone().map(|(_, block)| block.len()).sum();
        command.arg(batch.len()).arg(bytes).arg(pack(records)?);
        command.arg(keyed);
        Ok(command)
    }

    /// Answers those of a batch, and returns those that are to be sent again.
    fn answer(
        &self,
        batch: Vec<Pending>,
        answer: Result<Value, Fault>,
        is_last_try: bool,
    ) -> Vec<Pending> {
        // Something was stored, if the answer is not one that we understand.
        let stored = answer.and_then(|value| Stored::read(value).map_err(Fault::unclear));
        match stored {
            Ok(mut stored) => {
                let mut last = None;
                for (number, pending) in batch.into_iter().enumerate() {
                    let answer = stored.next(number, self.max_topics);
                    last = answer.as_ref().ok().copied().max(last);
                    let _ = pending.answer.send(answer);
                }
                if let Some(last) = last {
                    self.connector.note(last);
                }
                Vec::new()
            }
            Err(fault) if fault.kind == Kind::Elsewhere && !is_last_try => batch,
            Err(fault) => {
                fail_all(batch, &fault);
                Vec::new()
            }
        }
    }
}

fn fail_all(batch: Vec<Pending>, fault: &Fault) {
    batch.into_iter().for_each(|pending| pending.fail(fault));
}

/// Tells those whose answers come no more, since the connection is gone, before another is made: what it
/// answers is not for them.
fn give_up(link: &Link<'_>, under_way: &mut UnderWay) {
    if !link.is_open() {
        let fault = Fault::new(Kind::Broken, "the connection broke");
        under_way
            .drain(..)
            .for_each(|batch| fail_all(batch, &fault));
    }
}

/// What the script has stored.
struct Stored {
    next: EventId,
    /// Those that were not stored now: their numbers, and why.
    others: HashMap<usize, String>,
}

impl Stored {
    fn read(value: Value) -> Result<Self, Fault> {
        let mut parts = list(value, "ids")?.into_iter();
        let major = text(next(&mut parts, "id")?, "id")?;
        let major = major
            .strip_suffix('-')
            .and_then(|digits| digits.parse().ok());
        let major = major.ok_or_else(|| Fault::unexpected("id"))?;
        let minor = number(&next(&mut parts, "id")?, "id")?;
        let mut others = HashMap::new();
        while let Some(place) = parts.next() {
            let place = usize::try_from(number(&place, "place")?).unwrap_or(usize::MAX);
            others.insert(place, text(next(&mut parts, "reason")?, "reason")?);
        }
        let next = EventId::new(major, minor);
        Ok(Self { next, others })
    }

    /// The answer to the next append of the batch.
    fn next(&mut self, number: usize, max_topics: usize) -> Result<EventId, HistoryError> {
        let Some(other) = self.others.get(&number) else {
            let id = self.next;
            self.next.minor = self.next.minor.saturating_add(1);
            return Ok(id);
        };
        if other == "TOPICS" {
            return Err(HistoryError::TooManyTopics { limit: max_topics });
        }
        other.parse().map_err(|_| Fault::of_text(other).of_append())
    }
}
