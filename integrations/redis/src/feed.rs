//! [`Feed`]: the newest records, from the one connection that reads them to all who follow; and
//! [`Feeder`], the thread that has that connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use fanfare_core::{EventId, Record};
use redis::Value;

use crate::connection::{Connector, Link};
use crate::fault::{Fault, Kind};
use crate::packed::unpack;
use crate::reader::{stretch, Begin, Names};
use crate::values::{bytes, id, list, next};

/// How much a tail may be behind before it reads from the server: so many records ...
const MAX_RECORDS: usize = 4_096;

/// ... and bytes.
const MAX_BYTES: usize = 8 << 20;

/// How many of the log's entries are read at once; one holds up to some hundred records.
const READ: usize = 32;

/// How long the server waits for news before it says that there are none; the log's life is looked at
/// each time.
const BLOCK: Duration = Duration::from_millis(500);

/// How long a close waits for what has been answered to have been read.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// The newest records, and who waits for the next.
#[derive(Debug)]
pub(crate) struct Feed {
    recent: Mutex<Recent>,
    closing: Condvar,
}

#[derive(Debug)]
struct Recent {
    /// Every record after `base`, in order, up to `last`.
    records: VecDeque<Record>,
    bytes: usize,
    base: EventId,
    last: EventId,
    /// How often it has started anew, and where it did last.
    starts: u64,
    start: EventId,
    /// Why nothing is read now.
    away: Option<Fault>,
    is_closing: bool,
    is_closed: bool,
    next_key: u64,
    /// Of tails that have read everything.
    wakers: HashMap<u64, Waker>,
}

/// What a tail finds.
pub(crate) enum Found {
    Records(Vec<Record>),
    /// It is too far behind.
    Behind,
    /// The log cannot be followed from where it was: it starts anew here.
    Start(EventId, u64),
    Away(Fault),
    Back,
    /// It will be woken.
    Nothing,
    Closed,
}

/// Where a tail is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follower {
    pub(crate) key: u64,
    /// The last record that it took, or where it started.
    pub(crate) place: EventId,
    /// How often the feed had started anew when it did.
    pub(crate) starts: u64,
    /// Whether it has said that the server is away.
    pub(crate) said_away: bool,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let nowhere = EventId::new(0, 0);
        let recent = Recent {
            records: VecDeque::new(),
            bytes: 0,
            base: nowhere,
            last: nowhere,
            starts: 0,
            start: nowhere,
            away: None,
            is_closing: false,
            is_closed: false,
            next_key: 0,
            wakers: HashMap::new(),
        };
        Self {
            recent: Mutex::new(recent),
            closing: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everyone, outside of the lock: wakers are foreign code.
    fn wake(mut recent: MutexGuard<'_, Recent>) {
        let wakers = std::mem::take(&mut recent.wakers);
        drop(recent);
        wakers.into_values().for_each(Waker::wake);
    }

    fn publish(&self, records: Vec<Record>) {
        let mut recent = self.lock();
        if let Some(last) = records.last() {
            recent.last = last.id();
        }
        recent.bytes += records.iter().map(|r| r.bytes().len()).sum::<usize>();
        recent.records.extend(records);
        while recent.records.len() > MAX_RECORDS || recent.bytes > MAX_BYTES {
            let Some(oldest) = recent.records.pop_front() else {
                break;
            };
            recent.bytes -= oldest.bytes().len();
            recent.base = oldest.id();
        }
        Self::wake(recent);
    }

    fn restart(&self, id: EventId) {
        let mut recent = self.lock();
        recent.records.clear();
        recent.bytes = 0;
        recent.base = id;
        recent.last = id;
        recent.starts += 1;
        recent.start = id;
        // At once: a tail that has said where it starts would find the server away once more.
        recent.away = None;
        Self::wake(recent);
    }

    fn set_away(&self, away: Option<Fault>) {
        let mut recent = self.lock();
        if recent.away.is_some() != away.is_some() {
            recent.away = away;
            Self::wake(recent);
        }
    }

    /// Ends it, as soon as what has been answered has been read.
    pub(crate) fn begin_close(&self) {
        self.lock().is_closing = true;
        self.closing.notify_all();
    }

    pub(crate) fn close(&self) {
        let mut recent = self.lock();
        recent.is_closing = true;
        recent.is_closed = true;
        Self::wake(recent);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn is_closing(&self) -> bool {
        self.lock().is_closing
    }

    /// Sleeps, or until it is to close.
    fn rest(&self, time: Duration) {
        let is_open = |recent: &mut Recent| !recent.is_closing;
        drop(self.closing.wait_timeout_while(self.lock(), time, is_open));
    }

    /// A tail's name here, and how often the feed has started anew.
    pub(crate) fn join(&self) -> (u64, u64) {
        let mut recent = self.lock();
        recent.next_key += 1;
        (recent.next_key, recent.starts)
    }

    pub(crate) fn starts(&self) -> u64 {
        self.lock().starts
    }

    pub(crate) fn leave(&self, key: u64) {
        let waker = self.lock().wakers.remove(&key);
        drop(waker);
    }

    /// Whether the server is away, for a tail that waits for it; else the waker is called when that
    /// changes.
    pub(crate) fn absence(&self, follower: Follower, waker: &Waker) -> Found {
        let mut recent = self.lock();
        match &recent.away {
            Some(_) if recent.is_closed => Found::Closed,
            Some(fault) if !follower.said_away => Found::Away(fault.clone()),
            // Closed or not: what it has asked for is answered, or given up by who reads.
            _ => {
                recent.wakers.insert(follower.key, waker.clone());
                Found::Nothing
            }
        }
    }

    /// At most `limit` records behind a follower; else the waker is called when there are some.
    pub(crate) fn after(&self, follower: Follower, limit: usize, waker: &Waker) -> Found {
        let mut recent = self.lock();
        // The first start is where the thread began: no news to a tail that has begun by itself.
        let is_first = follower.starts == 0 && recent.starts == 1;
        if recent.starts != follower.starts && !is_first {
            return Found::Start(recent.start, recent.starts);
        }
        if recent.starts > 0 && follower.place < recent.base {
            return Found::Behind;
        }
        if recent.away.is_none() && follower.said_away && !recent.is_closed {
            return Found::Back;
        }
        let from = recent.records.partition_point(|r| r.id() <= follower.place);
        let records: Vec<_> = recent.records.range(from..).take(limit).cloned().collect();
        if !records.is_empty() {
            return Found::Records(records);
        }
        match &recent.away {
            _ if recent.is_closed => Found::Closed,
            Some(fault) if !follower.said_away => Found::Away(fault.clone()),
            _ => {
                recent.wakers.insert(follower.key, waker.clone());
                Found::Nothing
            }
        }
    }
}

/// The thread that reads for all tails of a history.
pub(crate) struct Feeder {
    pub(crate) connector: Arc<Connector>,
    pub(crate) feed: Arc<Feed>,
}

impl Feeder {
    pub(crate) fn run(self) {
        let mut link = Link::new(&self.connector);
        let mut place = None;
        let mut closing_since = None;
        let mut names = Names::default();
        while !self.is_over(&mut closing_since, place, &link) {
            let followed = self.follow(&mut link, &mut place, &mut names);
            if let Err(fault) = followed {
                let was_open = link.is_open();
                // That a server knows better, or has forgotten our scripts, is no absence, if the next
                // connection helps.
                if fault.kind != Kind::Elsewhere || link.has_failed() {
                    self.feed.set_away(Some(fault));
                }
                let pause = link.pause();
                self.feed.rest(if was_open { BLOCK } else { pause });
            }
        }
        self.feed.close();
    }

    fn is_over(
        &self,
        since: &mut Option<Instant>,
        place: Option<EventId>,
        link: &Link<'_>,
    ) -> bool {
        if !self.feed.is_closing() {
            return false;
        }
        let since = *since.get_or_insert_with(Instant::now);
        // Before it has looked for the first time, tails may have begun by themselves.
        let has_read = place.unwrap_or(EventId::new(0, 0)) >= self.connector.known();
        has_read || link.has_failed() || since.elapsed() > LAST_RECORDS
    }

    /// Reads once: what is new, or that nothing is and that the log is still the same.
    fn follow(
        &self,
        link: &mut Link<'_>,
        place: &mut Option<EventId>,
        names: &mut Names,
    ) -> Result<(), Fault> {
        let (Some(known), true) = (*place, link.is_open()) else {
            link.open()?;
            return self.look(link, place);
        };
        link.wait_for(self.connector.response_timeout.saturating_add(BLOCK))?;
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(READ)
            .arg("BLOCK")
            .arg(millis(BLOCK));
        command
            .arg("STREAMS")
            .arg(self.connector.keys.log())
            .arg(known.to_string());
        let answer = link.ask(&command)?;
        if answer == Value::Nil {
            return self.look(link, place);
        }
        let mut streams = list(answer, "streams")?.into_iter();
        let stream = next(&mut streams, "stream")?;
        let mut parts = list(stream, "stream")?.into_iter().skip(1);
        let entries = list(next(&mut parts, "entries")?, "entries")?;
        let mut records = Vec::with_capacity(entries.len());
        let mut last = known;
        let mut hole = None;
        for entry in entries {
            let mut parts = list(entry, "entry")?.into_iter();
            let id = id(next(&mut parts, "id")?, "id")?;
            let mut fields = list(next(&mut parts, "fields")?, "fields")?.into_iter();
            next(&mut fields, "place")?;
            let before = crate::values::id(next(&mut fields, "place")?, "place")?;
            if before > last {
                // Not what follows: those in between are gone, or this is another life.
                hole = Some(before);
                break;
            }
            let packed = bytes(next(&mut fields.skip(3), "records")?, "records")?;
            let packed = unpack(&packed)?;
            // The entry's id is that of its last record.
            let first = id
                .minor
                .saturating_add(1)
                .saturating_sub(packed.len() as u64);
            for (minor, (topic, block)) in (first..).zip(packed) {
                let id = EventId::new(id.major, minor);
                // It may begin before the place.
                if id > last {
                    records.push(Record::from_block(id, names.topic(topic)?, block));
                }
            }
            last = id;
        }
        if records.is_empty() {
            self.look(link, place)?;
            // The log's own beginning tells nothing of a hole amid it.
            if let Some(before) = hole.filter(|_| *place == Some(known)) {
                self.restart(place, before);
            }
            return Ok(());
        }
        self.connector.note(last);
        *place = Some(last);
        self.feed.publish(records);
        Ok(())
    }

    /// Looks whether the log can be followed from where it was; if not, starts anew.
    fn look(&self, link: &mut Link<'_>, place: &mut Option<EventId>) -> Result<(), Fault> {
        link.wait_for(self.connector.response_timeout)?;
        let found = stretch(link, *place, Begin::GoOn, 0)?;
        if *place != Some(found.start) {
            self.restart(place, found.start);
        }
        self.feed.set_away(None);
        Ok(())
    }

    fn restart(&self, place: &mut Option<EventId>, start: EventId) {
        *place = Some(start);
        self.feed.restart(start);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
