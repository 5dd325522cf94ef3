//! [`Reader`]: the thread that reads pages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_core::history::{HistoryError, Page, MAX_PAGE_BYTES};
use fanfare_core::{EventId, Gap, GapReason, LastEventId, Record, Topic, Topics};
use futures_channel::oneshot;
use redis::Value;

use crate::connection::{Connector, Link, Script};
use crate::fault::{Fault, Kind};
use crate::feed::Feed;
use crate::queue::{Queue, Size, Taken};
use crate::values::{bytes, id, list, maybe_id, next, number, text};

/// What may wait to be read.
pub(crate) const QUEUE: Size = Size {
    count: 65_536,
    bytes: usize::MAX,
};

/// How many records a pattern looks at before others have their turn.
const SCAN: usize = 4_096;

/// How many records a tail reads at once.
const STRETCH: usize = 256;

/// How many names are kept at hand.
const NAMES: usize = 8_192;

/// How many topics one call reads: the server does nothing else meanwhile.
const TOPICS_AT_ONCE: usize = 256;

/// The pause after which a tail's read is tried again, at least.
const RETRY: Duration = Duration::from_millis(50);

/// How often a call is made again that went to the wrong server.
const RETRIES: u32 = 3;

/// What the thread is asked for.
#[derive(Debug)]
pub(crate) enum Query {
    Page {
        topics: Topics,
        after: LastEventId,
        limit: usize,
        answer: oneshot::Sender<Result<Page, HistoryError>>,
    },
    /// What a tail reads. It is answered when the server answers, and told the first time that it does
    /// not.
    Stretch {
        after: Option<EventId>,
        begin: Begin,
        answer: oneshot::Sender<Stretch>,
        trouble: Option<oneshot::Sender<HistoryError>>,
    },
}

/// How a tail begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It is new: behind what retention has evicted.
    New,
    /// It goes on: behind what the log's own stream has lost.
    GoOn,
}

impl Begin {
    fn as_str(self) -> &'static str {
        match self {
            Self::New => "tail",
            Self::GoOn => "resume",
        }
    }
}

/// A part of the log that a tail follows.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Every record after this place ...
    pub(crate) start: EventId,
    pub(crate) records: Vec<Record>,
    /// ... up to this one.
    pub(crate) last: EventId,
}

pub(crate) struct Reader {
    pub(crate) connector: Arc<Connector>,
    pub(crate) queue: Arc<Queue<Query>>,
    pub(crate) feed: Arc<Feed>,
}

impl Reader {
    pub(crate) fn run(self) {
        let mut link = Link::new(&self.connector);
        // Of tails, while the server is away.
        let mut later: Vec<Query> = Vec::new();
        loop {
            let wait = (!later.is_empty()).then(|| link.pause().max(RETRY));
            let most = Size {
                count: 1_024,
                bytes: usize::MAX,
            };
            let queries = match self.queue.take(most, wait) {
                Taken::Items(queries) => queries,
                Taken::Nothing => Vec::new(),
                Taken::Closed => return,
            };
            let waiting = std::mem::take(&mut later);
            for query in waiting.into_iter().chain(queries) {
                later.extend(self.see_to(&mut link, query));
            }
        }
    }

    /// Answers a query, or gives it back to be seen to later.
    fn see_to(&self, link: &mut Link<'_>, query: Query) -> Option<Query> {
        match query {
            // Whoever has dropped its future does not ask any more.
            Query::Page { answer, .. } if answer.is_canceled() => None,
            Query::Stretch { answer, .. } if answer.is_canceled() => None,
            Query::Page {
                topics,
                after,
                limit,
                answer,
            } => {
                let page = again(link, |link| self.page(link, &topics, &after, limit));
                let _ = answer.send(page.map_err(|fault| fault.of_read()));
                None
            }
            Query::Stretch {
                after,
                begin,
                answer,
                mut trouble,
            } => {
                let read = again(link, |link| stretch(link, after, begin, STRETCH));
                match read {
                    Ok(stretch) => {
                        let _ = answer.send(stretch);
                        None
                    }
                    // Nobody waits for a server that is away once the history is closed.
                    Err(_) if self.feed.is_closed() => None,
                    Err(fault) => {
                        if let Some(trouble) = trouble.take() {
                            let _ = trouble.send(fault.of_read());
                        }
                        Some(Query::Stretch {
                            after,
                            begin,
                            answer,
                            trouble,
                        })
                    }
                }
            }
        }
    }

    fn page(
        &self,
        link: &mut Link<'_>,
        topics: &Topics,
        after: &LastEventId,
        limit: usize,
    ) -> Result<Page, Fault> {
        let wanted = limit.max(1);
        let mut found = self.find(link, topics, after.id(), wanted)?;
        // What was looked at is all evicted, or of other topics. The page that is asked for next would be
        // one behind a place, and tell a client that named none of a gap.
        while after.id().is_none() && found.records.is_empty() && found.read < found.meta.last {
            let more = self.find(link, topics, Some(found.read), wanted)?;
            if more.read <= found.read {
                break;
            }
            found.go_on(more);
        }
        self.connector.note(found.meta.last);
        Ok(found.into_page(after, limit))
    }

    fn find(
        &self,
        link: &mut Link<'_>,
        topics: &Topics,
        after: Option<EventId>,
        wanted: usize,
    ) -> Result<Found, Fault> {
        match topics.listed() {
            Some(listed) => {
                let names: Vec<_> = listed.iter().map(Topic::as_str).collect();
                self.of_topics(link, &names, after, None, wanted)
            }
            None => self.of_log(link, topics, after, wanted),
        }
    }

    /// What a wide selection finds: in the log's own stream, if that goes back far enough.
    fn of_log(
        &self,
        link: &mut Link<'_>,
        topics: &Topics,
        after: Option<EventId>,
        wanted: usize,
    ) -> Result<Found, Fault> {
        let is_all = *topics == Topics::all();
        let limit = if is_all { wanted.min(SCAN) } else { SCAN };
        let log = read_log(link, "page", after, limit)?;
        let meta = log.meta;
        let Some(read) = log.read else {
            return self.of_many_topics(link, topics, after, &meta, wanted);
        };
        let too_old = log.too_old.unwrap_or(meta.lost);
        let mut gone = meta.gone.max(too_old).max(meta.lost);
        if !is_all && gone > meta.start {
            // Of these topics, perhaps nothing is.
            // What has gone since the log was read is in the page.
            let gone_by_then = gone;
            gone = self.gone_of(link, topics, &meta)?.min(gone_by_then);
            gone = gone.max(too_old);
        }
        let mut records = log.records;
        records.retain(|record| topics.matches(record.topic()));
        let mut found = Found {
            meta,
            gone,
            records,
            read,
        };
        found.cut(wanted);
        Ok(found)
    }

    /// The newest evicted id of those topics that a pattern matches.
    fn gone_of(&self, link: &mut Link<'_>, topics: &Topics, meta: &Meta) -> Result<EventId, Fault> {
        let mut gone = meta.lost.max(meta.forgotten);
        let mut command = redis::cmd("HGETALL");
        command.arg(self.connector.keys.state());
        let mut fields = list(link.ask(&command)?, "topics")?.into_iter();
        while let Some(name) = fields.next() {
            let state = text(next(&mut fields, "state")?, "state")?;
            let is_wanted = Topic::new(text(name, "topic")?).is_ok_and(|t| topics.matches(&t));
            if is_wanted {
                let evicted = state.split(' ').nth(3).and_then(|id| id.parse().ok());
                gone = gone.max(evicted.ok_or_else(|| Fault::unexpected("evicted id"))?);
            }
        }
        Ok(gone)
    }

    /// What a wide selection finds in the topics' own streams: in those with news, up to the log's
    /// end.
    fn of_many_topics(
        &self,
        link: &mut Link<'_>,
        topics: &Topics,
        after: Option<EventId>,
        meta: &Meta,
        wanted: usize,
    ) -> Result<Found, Fault> {
        // Of topics, the second is noted in which they had news.
        let since = meta.start.major / 1_000 * 1_000;
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command
            .arg(self.connector.keys.topics())
            .arg(since)
            .arg("+inf");
        let mut names = Vec::new();
        for name in list(link.ask(&command)?, "topics")? {
            let name = text(name, "topic")?;
            if Topic::new(&name).is_ok_and(|topic| topics.matches(&topic)) {
                names.push(name);
            }
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut all = Found {
            meta: *meta,
            gone: meta.lost.max(meta.forgotten),
            records: Vec::new(),
            read: meta.last,
        };
        // Of all of them together as many as there are to be.
        let of_some = wanted.min(1 << 30) * TOPICS_AT_ONCE.min(names.len()) / names.len().max(1);
        for some in names.chunks(TOPICS_AT_ONCE) {
            let found = self.of_topics(link, some, after, Some(meta.last), of_some.max(1))?;
            all.gone = all.gone.max(found.gone);
            all.read = all.read.min(found.read);
            all.records.extend(found.records);
            // No more is held than one page and what one call brings.
            all.cut(wanted);
        }
        Ok(all)
    }

    /// What is retained of topics by name.
    fn of_topics(
        &self,
        link: &mut Link<'_>,
        names: &[&str],
        after: Option<EventId>,
        upto: Option<EventId>,
        wanted: usize,
    ) -> Result<Found, Fault> {
        link.open()?;
        // Of many, each may bring as many as there are to be; but not that many of each.
        let share = (wanted.min(1 << 30) * 2 / names.len().max(1)).max(16);
        let share = share.min(wanted.min(1 << 30));
        let of_name = |name: &&str| self.connector.keys.topic(name);
        let keys: Vec<_> = names.iter().map(of_name).collect();
        let mut command = link.call(Script::Topics, &keys)?;
        command.arg(after.map(|id| id.to_string()).unwrap_or_default());
        command.arg(share).arg(MAX_PAGE_BYTES).arg(names);

        let mut parts = list(link.ask(&command)?, "page")?.into_iter();
        let meta = Meta::read(&mut parts)?;
        let mut all = Found {
            meta,
            gone: meta.lost,
            records: Vec::new(),
            read: upto.unwrap_or(meta.last),
        };
        let found = list(next(&mut parts, "topics")?, "topics")?;
        for (name, found) in names.iter().zip(found) {
            let topic = Topic::new(name).map_err(|_| Fault::unexpected("topic"))?;
            let mut parts = list(found, "topic")?.into_iter();
            let evicted = id(next(&mut parts, "evicted id")?, "evicted id")?;
            all.gone = all.gone.max(evicted);
            let has_more = number(&next(&mut parts, "end")?, "end")? != 0;
            let mut entries = list(next(&mut parts, "records")?, "records")?.into_iter();
            let mut last = None;
            while let Some(major) = entries.next() {
                let minor = number(&next(&mut entries, "id")?, "id")?;
                let id = EventId::new(number(&major, "id")?, minor);
                let block = bytes(next(&mut entries, "block")?, "block")?;
                all.records
                    .push(Record::from_block(id, topic.clone(), &block));
                last = Some(id);
            }
            if let Some(last) = last.filter(|_| has_more) {
                all.read = all.read.min(last);
            }
        }
        all.cut(wanted);
        Ok(all)
    }
}

/// Does it on a connection, and again where that was to the wrong server.
fn again<T>(
    link: &mut Link<'_>,
    mut work: impl FnMut(&mut Link<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        match link.open_surely().and_then(|()| work(link)) {
            Err(fault) if fault.kind == Kind::Elsewhere && tries <= RETRIES => {}
            // Of a connection that had been idle, perhaps; reading twice harms nobody.
            Err(fault) if fault.kind == Kind::Broken && tries == 1 => {}
            result => return result,
        }
    }
}

/// What a tail reads at a place.
pub(crate) fn stretch(
    link: &mut Link<'_>,
    after: Option<EventId>,
    begin: Begin,
    limit: usize,
) -> Result<Stretch, Fault> {
    let log = read_log(link, begin.as_str(), after, limit)?;
    Ok(Stretch {
        start: log.meta.start,
        records: log.records,
        last: log.read.unwrap_or(log.meta.start),
    })
}

fn read_log(
    link: &mut Link<'_>,
    mode: &str,
    after: Option<EventId>,
    limit: usize,
) -> Result<Log, Fault> {
    link.open()?;
    let mut command = link.call(Script::Log, &[])?;
    command
        .arg(mode)
        .arg(after.map(|id| id.to_string()).unwrap_or_default());
    command.arg(limit).arg(SCAN).arg(MAX_PAGE_BYTES);
    Log::read(link.ask(&command)?)
}

/// What the log says of itself.
#[derive(Clone, Copy, Debug)]
struct Meta {
    life: EventId,
    last: EventId,
    /// Before this, something may have been lost.
    lost: EventId,
    /// The newest evicted id of all topics.
    gone: EventId,
    /// The newest id of those topics that have been forgotten.
    forgotten: EventId,
    /// Where the script began to read.
    start: EventId,
}

impl Meta {
    fn read(parts: &mut impl Iterator<Item = Value>) -> Result<Self, Fault> {
        let [life, last, lost, gone, forgotten] =
            ["life", "last", "lost", "gone", "forgotten"].map(|what| id(next(parts, what)?, what));
        Ok(Self {
            life: life?,
            last: last?,
            lost: lost?,
            gone: gone?,
            forgotten: forgotten?,
            start: id(next(parts, "start")?, "start")?,
        })
    }
}

/// A part of the log's own stream.
struct Log {
    meta: Meta,
    too_old: Option<EventId>,
    /// Up to where it was read; `None`: it does not go back so far.
    read: Option<EventId>,
    records: Vec<Record>,
}

impl Log {
    fn read(answer: Value) -> Result<Self, Fault> {
        let mut parts = list(answer, "log")?.into_iter();
        let meta = Meta::read(&mut parts)?;
        let too_old = maybe_id(next(&mut parts, "age")?, "age")?;
        let read = maybe_id(next(&mut parts, "end")?, "end")?;
        let mut entries = list(next(&mut parts, "records")?, "records")?.into_iter();
        let mut records = Vec::with_capacity(entries.len() / 3);
        let mut names = Names::default();
        while let Some(entry) = entries.next() {
            let id = id(entry, "id")?;
            let topic = names.topic(&bytes(next(&mut entries, "topic")?, "topic")?)?;
            let block = bytes(next(&mut entries, "block")?, "block")?;
            records.push(Record::from_block(id, topic, &block));
        }
        Ok(Self {
            meta,
            too_old,
            read,
            records,
        })
    }
}

/// The topics of records, each checked once while it is at hand.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<Vec<u8>, Topic>,
}

impl Names {
    pub(crate) fn topic(&mut self, name: &[u8]) -> Result<Topic, Fault> {
        if let Some(topic) = self.known.get(name) {
            return Ok(topic.clone());
        }
        let text = std::str::from_utf8(name).ok();
        let topic = text.and_then(|text| Topic::new(text).ok());
        let topic = topic.ok_or_else(|| Fault::unexpected("topic"))?;
        if self.known.len() >= NAMES {
            self.known.clear();
        }
        self.known.insert(name.to_vec(), topic.clone());
        Ok(topic)
    }
}

/// What was found for a page.
struct Found {
    meta: Meta,
    /// The newest place up to which something of the selection may be missing.
    gone: EventId,
    records: Vec<Record>,
    /// Up to here, those are all.
    read: EventId,
}

impl Found {
    /// Brings what comes of several topics in order, up to where all of them were read and as far as
    /// a page goes.
    fn cut(&mut self, limit: usize) {
        let read = self.read;
        self.records.retain(|record| record.id() <= read);
        self.records.sort_unstable_by_key(Record::id);
        let mut bytes = 0;
        let fits = self.records.iter().take(limit).take_while(|record| {
            let is_first = bytes == 0;
            bytes += record.bytes().len();
            is_first || bytes <= MAX_PAGE_BYTES
        });
        let fits = fits.count();
        if fits < self.records.len() {
            self.records.truncate(fits);
            self.read = self.records.last().map_or(read, Record::id);
        }
    }

    /// Goes on with what was found behind it, which is all that there is.
    fn go_on(&mut self, more: Self) {
        let start = self.meta.start;
        *self = Self {
            gone: self.gone.max(more.gone),
            ..more
        };
        self.meta.start = start;
    }

    fn into_page(mut self, after: &LastEventId, limit: usize) -> Page {
        let Meta {
            life, last, start, ..
        } = self.meta;
        let told = |reason| Some(Gap::new(reason, after.as_str(), self.gone));
        let gap = match after.id() {
            // The beginning of what is left has a hole only behind records, as a quiet topic's may
            // be that are older than a loud one's.
            None if after.is_none() => {
                let first = self.records.first().map(Record::id);
                first
                    .filter(|id| *id < self.gone)
                    .and_then(|_| told(GapReason::Expired))
            }
            None => told(GapReason::Unparsable),
            Some(id) if id < life => told(GapReason::Epoch),
            Some(id) if id > last => told(GapReason::Ahead),
            Some(id) if id < self.gone => told(GapReason::Expired),
            Some(_) => None,
        };
        let mut read = self.read.max(start);
        if self.records.len() > limit {
            self.records.truncate(limit);
            read = self.records.last().map_or(start, Record::id);
        }
        Page::new(gap, self.records, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_at_hand_up_to_a_number() {
        let mut names = Names::default();
        for n in 0..3 * NAMES {
            let topic = names.topic(format!("t.{n}").as_bytes()).expect("a topic");
            assert_eq!(topic.as_str(), format!("t.{n}"));
            assert!(names.known.len() <= NAMES);
        }
    }
}
