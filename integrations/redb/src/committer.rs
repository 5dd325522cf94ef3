//! [`Committer`]: the thread that writes. It takes every append that waits, makes one transaction of
//! them, and answers all.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fanfare_core::history::{Append, HistoryError, Retention, REMEMBERED_KEYS};
use fanfare_core::{EventId, Record, Topic};
use futures_channel::oneshot;
use redb::{ReadableTable, Table, WriteTransaction};

use crate::builder::Durability;
use crate::feed::Feed;
use crate::store::{
    begin, begin_read, decode, encode, guarded, now, open_read, write_meta, Known, Problem, State,
    Store, Window, INDEX, KEYS, ORDER, TOPICS,
};

/// The most appends of one transaction, ...
const MAX_GROUP: usize = 4_096;

/// ... and the most bytes, but for a single append that is larger.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// How many records age evicts in one transaction.
const MAX_EXPIRED: usize = 4_096;

/// The pauses between attempts to open a file that has failed: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the thread is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Append(Pending),
    Close,
}

/// An append that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<EventId, HistoryError>>,
}

#[derive(Debug)]
pub(crate) struct Committer {
    store: Arc<Store>,
    feed: Arc<Feed>,
    retention: Retention,
    durability: Durability,
    commands: Receiver<Command>,
    state: State,
    /// What the file is known by, if it has to be opened again.
    known: Known,
    /// When what was answered has to be on disk.
    sync_at: Option<Instant>,
    /// When to look for what is too old.
    expire_at: Option<Instant>,
    /// When to open the file again, and the pause after that.
    reopen_at: Option<(Instant, Duration)>,
}

/// What came of a group that was committed.
#[derive(Default)]
struct Written {
    /// For each append, its place or that there are too many topics.
    places: Vec<Result<u64, usize>>,
    records: Vec<Record>,
    is_durable: bool,
    /// Whether there is more that is too old.
    has_more: bool,
}

impl Committer {
    pub(crate) fn new(
        store: Arc<Store>,
        feed: Arc<Feed>,
        retention: Retention,
        durability: Durability,
        commands: Receiver<Command>,
    ) -> Self {
        let state = store.take_state();
        let expire_at = retention.max_age().map(|_| Instant::now());
        Self {
            store,
            feed,
            retention,
            durability,
            commands,
            known: Known::new(&state.meta),
            state,
            sync_at: None,
            expire_at,
            reopen_at: None,
        }
    }

    pub(crate) fn run(mut self) {
        let mut is_open = true;
        while is_open {
            let mut group = Vec::new();
            let mut next = self.wait();
            let mut bytes = 0;
            while let Some(command) = next {
                match command {
                    Command::Append(pending) => {
                        bytes += pending.append.block().len();
                        group.push(pending);
                    }
                    Command::Close => {
                        is_open = false;
                        break;
                    }
                }
                let is_full = group.len() >= MAX_GROUP || bytes >= MAX_GROUP_BYTES;
                next = (!is_full).then(|| self.commands.try_recv().ok()).flatten();
            }
            // Whoever has dropped its future does not ask any more.
            group.retain(|pending| !pending.answer.is_canceled());
            self.tend();
            if !group.is_empty() {
                self.answer(group);
            }
        }
        // Fails if the file does: then it counts as an unclean end.
        let _ = self.store.finish(self.state.meta);
        self.store.release();
        self.feed.close();
    }

    /// The next command; `None` if something else is due first.
    fn wait(&self) -> Option<Command> {
        let reopen_at = self.reopen_at.map(|(at, _)| at);
        let due = [self.sync_at, self.expire_at, reopen_at];
        let next = match due.into_iter().flatten().min() {
            None => self
                .commands
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                self.commands.recv_timeout(left)
            }
        };
        match next {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Command::Close),
        }
    }

    /// Does what is due whether anything is appended or not.
    fn tend(&mut self) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if is_due(self.reopen_at.map(|(at, _)| at)) {
            // A failure has set the next attempt.
            let _ = self.recover();
        }
        if is_due(self.expire_at) {
            self.expire_at = self.next_expiry(false);
            // What cannot be read now is looked at again later.
            if self.has_expired().unwrap_or(false) {
                // A failure has set the next attempt to open the file.
                let _ = self.commit(&[]);
            }
        }
        if is_due(self.sync_at) {
            // A failure has set the next attempt to open the file.
            let _ = self.commit(&[]);
        }
    }

    fn next_expiry(&self, has_more: bool) -> Option<Instant> {
        let age = self.retention.max_age()?;
        // Well within the quarter of the age that it may be late.
        let pause = if has_more { Duration::ZERO } else { age / 8 };
        Some(Instant::now() + pause.max(Duration::from_millis(1)))
    }

    /// Before this time, in milliseconds since 1970, everything is too old.
    fn oldest_time(&self) -> Option<u64> {
        let age = u64::try_from(self.retention.max_age()?.as_millis()).unwrap_or(u64::MAX);
        Some(milliseconds().saturating_sub(age))
    }

    fn has_expired(&self) -> Result<bool, Problem> {
        let Some(oldest) = self.oldest_time() else {
            return Ok(false);
        };
        guarded(|| {
            let database = self.store.database();
            let Some(database) = &*database else {
                return Ok(false);
            };
            let order = open_read(&begin_read(database)?, ORDER)?;
            let Some((_, value)) = order.first()? else {
                return Ok(false);
            };
            Ok(decode(value.value())?.0 < oldest)
        })
    }

    /// Commits a group and answers those who wait for it.
    fn answer(&mut self, group: Vec<Pending>) {
        let appends: Vec<_> = group.iter().map(|pending| &pending.append).collect();
        let answers = match self.commit(&appends) {
            Ok(places) => places
                .into_iter()
                .map(|place| match place {
                    Ok(place) => Ok(self.store.id(place)),
                    Err(limit) => Err(HistoryError::TooManyTopics { limit }),
                })
                .collect::<Vec<_>>(),
            Err(failed) => group
                .iter()
                .map(|_| Err(failed.to_history_error()))
                .collect(),
        };
        for (pending, answer) in group.into_iter().zip(answers) {
            // Nobody may be waiting any more.
            let _ = pending.answer.send(answer);
        }
    }

    /// One transaction: stores the appends, evicts what is over the limits.
    fn commit(&mut self, appends: &[&Append]) -> Result<Vec<Result<u64, usize>>, Failed> {
        if self.store.database().is_none() {
            self.recover().map_err(Failed::Before)?;
        }
        let mut is_committing = false;
        let written = guarded(|| self.write(appends, &mut is_committing));
        match written {
            Ok(written) => {
                self.known.given = self.state.meta.last;
                if written.is_durable {
                    self.known.synced = self.state.meta.last;
                }
                self.sync_at = match self.durability {
                    Durability::Interval(within) if !written.is_durable => {
                        self.sync_at.or_else(|| Instant::now().checked_add(within))
                    }
                    _ => None,
                };
                if written.has_more {
                    self.expire_at = self.next_expiry(true);
                }
                self.feed.publish(written.records, self.state.meta.last);
                Ok(written.places)
            }
            Err(problem) => Err(self.fail(problem, is_committing)),
        }
    }

    /// After a failure: opens the file again, and so finds out whether the group is stored, which is
    /// all of it or nothing.
    fn fail(&mut self, problem: Problem, was_committing: bool) -> Failed {
        let last = self.state.meta.last;
        match self.recover() {
            Ok(stored) if was_committing && stored >= last => Failed::Unknown(problem),
            Err(_) if was_committing => Failed::Unknown(problem),
            _ => Failed::Before(problem),
        }
    }

    /// Opens the file again, and returns the newest place that it holds.
    fn recover(&mut self) -> Result<u64, Problem> {
        match self.store.reopen(&self.known) {
            Ok(state) => {
                let stored = state.meta.stored();
                self.known = Known::new(&state.meta);
                self.state = state;
                self.sync_at = None;
                self.reopen_at = None;
                // Who follows reads on from the file.
                self.feed.restart(self.state.meta.last);
                Ok(stored)
            }
            Err(problem) => {
                let pause = self.reopen_at.map_or(PAUSES.0, |(_, pause)| pause);
                let longer = (pause * 2).min(PAUSES.1);
                self.reopen_at = Some((Instant::now() + pause, longer));
                self.sync_at = None;
                Err(problem)
            }
        }
    }

    fn write(&mut self, appends: &[&Append], committing: &mut bool) -> Result<Written, Problem> {
        let store = Arc::clone(&self.store);
        let database = store.database();
        let Some(database) = &*database else {
            return Err(Problem::Io(std::io::Error::other("the file is not open")));
        };
        let is_sync_due = self.sync_at.is_some_and(|at| at <= Instant::now());
        let must_reserve = self.state.meta.reserve(appends.len() as u64);
        let mut written = Written {
            is_durable: self.durability == Durability::EveryPublish || is_sync_due || must_reserve,
            ..Written::default()
        };
        let transaction = begin(database, written.is_durable)?;
        let mut tables = Tables::open(&transaction)?;
        let mut touched = HashSet::new();
        self.state.meta.time = self.state.meta.time.max(milliseconds());
        for append in appends {
            let place = self.store_one(append, &mut tables, &mut touched, &mut written.records)?;
            written.places.push(place);
        }
        written.has_more = self.expire(&mut tables, &mut touched)?;
        drop(tables);
        self.write_topics(&transaction, touched)?;
        write_meta(&transaction, &self.state.meta)?;
        *committing = true;
        transaction.commit()?;
        Ok(written)
    }

    fn store_one(
        &mut self,
        append: &Append,
        tables: &mut Tables<'_>,
        touched: &mut HashSet<Topic>,
        records: &mut Vec<Record>,
    ) -> Result<Result<u64, usize>, Problem> {
        let state = &mut self.state;
        let known = append.chosen_key().and_then(|key| state.keys.get(key));
        if let Some(place) = known {
            return Ok(Ok(*place));
        }
        let topic = append.topic();
        if !state.windows.contains_key(topic) {
            if state.windows.len() >= self.store.max_topics {
                return Ok(Err(self.store.max_topics));
            }
            let window = Window {
                number: state.number(),
                evicted: state.meta.forgotten,
                ..Window::default()
            };
            state.windows.insert(topic.clone(), window);
        }
        let place = state.meta.give();
        if let Some(key) = append.chosen_key() {
            tables.keys.insert(place, key)?;
            state.keys.insert(key.into(), place);
            state.key_places.push_back(place);
            forget_keys(state, tables)?;
        }
        let block = append.block();
        let value = encode(state.meta.time, topic, block);
        tables.order.insert(place, &*value)?;
        records.push(Record::from_block(
            self.store.id(place),
            topic.clone(),
            block,
        ));
        if !touched.contains(topic) {
            touched.insert(topic.clone());
        }
        let Some(window) = state.windows.get_mut(topic) else {
            return Ok(Ok(place));
        };
        let length = block.len() as u64;
        tables.index.insert((window.number, place), length)?;
        window.records += 1;
        window.bytes += length;
        let (most, most_bytes) = (self.retention.max_records(), self.retention.max_bytes());
        while window.records > 1
            && (window.records > most as u64 || window.bytes > most_bytes as u64)
        {
            let Some(evicted) = tables.evict_oldest(window)? else {
                break;
            };
            state.meta.evict(evicted);
        }
        Ok(Ok(place))
    }

    /// Evicts what is too old. `true`: there is more.
    fn expire(
        &mut self,
        tables: &mut Tables<'_>,
        touched: &mut HashSet<Topic>,
    ) -> Result<bool, Problem> {
        let Some(oldest) = self.oldest_time() else {
            return Ok(false);
        };
        for _ in 0..MAX_EXPIRED {
            let topic = match tables.order.first()? {
                None => return Ok(false),
                Some((_, value)) => {
                    let (time, topic, _) = decode(value.value())?;
                    if time >= oldest {
                        return Ok(false);
                    }
                    topic
                }
            };
            let Some(window) = self.state.windows.get_mut(&topic) else {
                return Err(Problem::damaged("a record has a topic that is not known"));
            };
            let Some(evicted) = tables.evict_oldest(window)? else {
                return Err(Problem::damaged("a record is missing from its topic"));
            };
            self.state.meta.evict(evicted);
            touched.insert(topic);
        }
        Ok(true)
    }

    /// Writes what changed of the topics; those without records are forgotten.
    fn write_topics(
        &mut self,
        transaction: &WriteTransaction,
        touched: HashSet<Topic>,
    ) -> Result<(), Problem> {
        let mut topics = transaction.open_table(TOPICS)?;
        for topic in touched {
            let Some(window) = self.state.windows.get(&topic).copied() else {
                continue;
            };
            if window.records > 0 {
                topics.insert(topic.as_str(), window.row())?;
                continue;
            }
            topics.remove(topic.as_str())?;
            self.state.windows.remove(&topic);
            self.state.free_numbers.push(window.number);
            let forgotten = &mut self.state.meta.forgotten;
            *forgotten = (*forgotten).max(window.evicted);
        }
        Ok(())
    }
}

/// The tables that a record is in.
struct Tables<'a> {
    order: Table<'a, u64, &'static [u8]>,
    index: Table<'a, (u32, u64), u64>,
    keys: Table<'a, u64, &'static str>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, Problem> {
        Ok(Self {
            order: transaction.open_table(ORDER)?,
            index: transaction.open_table(INDEX)?,
            keys: transaction.open_table(KEYS)?,
        })
    }

    /// Removes a topic's oldest record and returns its place.
    fn evict_oldest(&mut self, window: &mut Window) -> Result<Option<u64>, Problem> {
        let number = window.number;
        let oldest = {
            let mut range = self.index.range((number, 0)..=(number, u64::MAX))?;
            match range.next() {
                None => return Ok(None),
                Some(entry) => {
                    let (key, length) = entry?;
                    (key.value().1, length.value())
                }
            }
        };
        let (place, length) = oldest;
        self.index.remove((number, place))?;
        self.order.remove(place)?;
        window.records = window.records.saturating_sub(1);
        window.bytes = window.bytes.saturating_sub(length);
        window.evicted = place;
        Ok(Some(place))
    }
}

/// Keeps as many keys as a history must.
fn forget_keys(state: &mut State, tables: &mut Tables<'_>) -> Result<(), Problem> {
    while state.key_places.len() > REMEMBERED_KEYS {
        let Some(place) = state.key_places.pop_front() else {
            break;
        };
        let removed = tables.keys.remove(place)?;
        if let Some(key) = removed {
            state.keys.remove(key.value());
        }
    }
    Ok(())
}

fn milliseconds() -> u64 {
    let since_1970 = now(SystemTime::UNIX_EPOCH).as_millis();
    u64::try_from(since_1970).unwrap_or(u64::MAX)
}

/// Why a group was not committed.
#[derive(Debug)]
enum Failed {
    /// Nothing of it is stored.
    Before(Problem),
    /// All of it may be.
    Unknown(Problem),
}

impl Failed {
    fn to_history_error(&self) -> HistoryError {
        match self {
            Self::Before(problem) => problem.to_history_error(),
            Self::Unknown(problem) => match problem.to_history_error() {
                HistoryError::Unavailable(source) | HistoryError::Failed(source) => {
                    HistoryError::Unknown(source)
                }
                other => other,
            },
        }
    }
}
