//! [`Store`]: the tables in the file, what they mean, and what redb's errors mean.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{fmt, io};

use fanfare_core::history::HistoryError;
use fanfare_core::{EventId, Record, Topic};
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, WriteTransaction,
};

use crate::builder::Durability;
use crate::clock::since_1970;

/// Every record in the one order: place to time, topic and block, see [`encode`].
pub(crate) const ORDER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("order");
/// Each topic's part of it: the topic's number and the place, to the block's length in bytes.
pub(crate) const INDEX: TableDefinition<'_, (u32, u64), u64> = TableDefinition::new("index");
/// What is known of each topic that has records: see [`Window`].
pub(crate) const TOPICS: TableDefinition<'_, &str, WindowRow> = TableDefinition::new("topics");
/// The keys of appends that may be repeated, by the place that each was given.
pub(crate) const KEYS: TableDefinition<'_, u64, &str> = TableDefinition::new("keys");
/// The one row of [`Meta`].
pub(crate) const META: TableDefinition<'_, (), MetaRow> = TableDefinition::new("meta");
/// The one row that every version can read.
const FORMAT: TableDefinition<'_, (), u64> = TableDefinition::new("format");

const VERSION: u64 = 1;

/// How many places are reserved at once. What an unclean end skips, of 2^64.
const RESERVE: u64 = 1 << 16;

type MetaRow = [u64; 11];
pub(crate) type WindowRow = (u32, u64, u64, u64);

/// What is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The log in a directory, which begins if there is none.
    First,
    /// The file that was open before it failed. It is not made anew: that would be another log.
    Again,
}

pub(crate) type OpenDatabase =
    Box<dyn Fn(Opening) -> Result<Database, DatabaseError> + Send + Sync>;

/// What a file must say of itself to be the one that was open before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    epoch: u64,
    /// The newest place that was given to anybody.
    pub(crate) given: u64,
    /// The newest that is on disk for certain.
    pub(crate) synced: u64,
}

impl Known {
    pub(crate) fn new(meta: &Meta) -> Self {
        Self {
            epoch: meta.epoch,
            given: meta.last,
            synced: meta.last,
        }
    }

    fn is_of(&self, meta: &Meta) -> bool {
        meta.epoch == self.epoch && meta.last >= self.synced && meta.bound() >= self.given
    }
}

/// What is known of the log as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) epoch: u64,
    /// The newest place that was given.
    pub(crate) last: u64,
    /// No place beyond this one has ever been given.
    reserved: u64,
    /// Whether the log was closed, and so `last` is what it says.
    is_closed: bool,
    /// Whether appends are answered before they are on disk.
    is_lazy: bool,
    /// After an unclean end of a lazy log: records up to here may be missing.
    lost: u64,
    /// Places strictly between these two were skipped after the latest unclean end.
    skipped: (u64, u64),
    /// The newest record that was evicted from a topic which is forgotten.
    pub(crate) forgotten: u64,
    /// The newest record that was evicted.
    evicted: u64,
    /// The time of the newest record, in milliseconds since 1970. It never goes back.
    pub(crate) time: u64,
}

impl Meta {
    pub(crate) fn read(table: &impl ReadableTable<(), MetaRow>) -> Result<Option<Self>, Problem> {
        let row = table.get(())?.map(|row| row.value());
        Ok(row.map(
            |[epoch, last, reserved, is_closed, is_lazy, lost, from, to, forgotten, evicted, time]| {
                Self {
                    epoch,
                    last,
                    reserved,
                    is_closed: is_closed != 0,
                    is_lazy: is_lazy != 0,
                    lost,
                    skipped: (from, to),
                    forgotten,
                    evicted,
                    time,
                }
            },
        ))
    }

    fn row(&self) -> MetaRow {
        [
            self.epoch,
            self.last,
            self.reserved,
            self.is_closed.into(),
            self.is_lazy.into(),
            self.lost,
            self.skipped.0,
            self.skipped.1,
            self.forgotten,
            self.evicted,
            self.time,
        ]
    }

    /// No place beyond this one has been given. Files of before, which gave places beyond the reserve,
    /// are right in what they say is last.
    fn bound(&self) -> u64 {
        if self.is_closed {
            self.last
        } else {
            self.reserved.max(self.last)
        }
    }

    /// Goes on with a log that ended, cleanly or not.
    fn resume(&mut self, is_lazy: bool) {
        if !self.is_closed {
            // Places up to there may have been given, and lost.
            self.skipped = (self.last, self.bound());
            if self.is_lazy {
                self.lost = self.bound();
            }
            self.last = self.bound();
        }
        self.is_closed = false;
        self.is_lazy = is_lazy;
        self.reserved = self.last + RESERVE;
    }

    pub(crate) fn id(&self, place: u64) -> EventId {
        EventId::new(self.epoch, place)
    }

    /// The newest place of all topics up to which something may be missing.
    pub(crate) fn gone(&self) -> u64 {
        self.evicted.max(self.lost)
    }

    /// The newest place up to which something of these topics may be missing, given that of the
    /// known ones.
    pub(crate) fn gone_of(&self, evicted: u64, all_known: bool) -> u64 {
        let forgotten = if all_known { 0 } else { self.forgotten };
        evicted.max(forgotten).max(self.lost)
    }

    /// The end of the places that were never given to anybody, if this is one.
    pub(crate) fn skipped_to(&self, place: u64) -> Option<u64> {
        let (from, to) = self.skipped;
        (from < place && place < to).then_some(to)
    }

    pub(crate) fn evict(&mut self, place: u64) {
        self.evicted = self.evicted.max(place);
    }

    /// Sees to it that so many places are reserved. `true`: that must be on disk before they are
    /// given.
    pub(crate) fn reserve(&mut self, places: u64) -> bool {
        let is_beyond = self.last + places > self.reserved;
        if is_beyond {
            self.reserved = self.last + places + RESERVE;
        }
        is_beyond
    }

    /// The next place.
    pub(crate) fn give(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The newest place that was stored when the log was opened.
    pub(crate) fn stored(&self) -> u64 {
        if self.skipped.1 == self.last {
            self.skipped.0
        } else {
            self.last
        }
    }
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// What stands for its name in the index.
    pub(crate) number: u32,
    pub(crate) records: u64,
    /// Of its blocks.
    pub(crate) bytes: u64,
    /// The newest record that was evicted.
    pub(crate) evicted: u64,
}

impl Window {
    pub(crate) fn from_row((number, records, bytes, evicted): WindowRow) -> Self {
        Self {
            number,
            records,
            bytes,
            evicted,
        }
    }

    pub(crate) fn row(&self) -> WindowRow {
        (self.number, self.records, self.bytes, self.evicted)
    }
}

/// What the committer knows by heart; on disk too, and read from there at opening.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) meta: Meta,
    pub(crate) windows: HashMap<Topic, Window>,
    /// Numbers that no topic has.
    pub(crate) free_numbers: Vec<u32>,
    pub(crate) keys: HashMap<Box<str>, u64>,
    /// The places of the keys, the oldest first.
    pub(crate) key_places: VecDeque<u64>,
    /// Topics that have more than they may, as after a limit was lowered. Not on disk: found there.
    pub(crate) overfull: VecDeque<Topic>,
}

impl State {
    /// A number for a new topic.
    pub(crate) fn number(&mut self) -> u32 {
        let next = u32::try_from(self.windows.len()).unwrap_or(u32::MAX);
        self.free_numbers.pop().unwrap_or(next)
    }
}

/// The file, as long as it can be used.
pub(crate) struct Store {
    open: OpenDatabase,
    /// `None`: it is to be opened again, or the history is closed.
    file: RwLock<Option<File>>,
    is_lazy: bool,
    epoch: u64,
}

struct File {
    database: Database,
    /// Whether the system has refused something. From then on the engine refuses all that is not in
    /// its memory, until the file is opened again.
    has_failed: AtomicBool,
}

impl Store {
    pub(crate) fn open(
        open: OpenDatabase,
        durability: Durability,
    ) -> Result<(Self, State), Problem> {
        let mut store = Self {
            open,
            file: RwLock::new(None),
            is_lazy: durability != Durability::EveryPublish,
            epoch: 0,
        };
        let state = store.open_file(Opening::First, None)?;
        store.epoch = state.meta.epoch;
        Ok((store, state))
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn id(&self, place: u64) -> EventId {
        EventId::new(self.epoch, place)
    }

    fn file(&self) -> RwLockReadGuard<'_, Option<File>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_mut(&self) -> RwLockWriteGuard<'_, Option<File>> {
        self.file.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.file().is_some()
    }

    /// Whether it is of no use until it is opened again.
    pub(crate) fn has_failed(&self) -> bool {
        let file = self.file();
        let failed = file.as_ref().map(|file| &file.has_failed);
        failed.is_some_and(|failed| failed.load(Ordering::Relaxed))
    }

    pub(crate) fn with<T>(
        &self,
        f: impl FnOnce(&Database) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let file = self.file();
        let Some(file) = &*file else {
            return Err(Problem::Io(io::Error::other("the file is not open")));
        };
        let result = guarded(|| f(&file.database));
        if matches!(result, Err(Problem::Io(_))) {
            file.has_failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Lets go of the file.
    pub(crate) fn release(&self) {
        let mut file = self.file_mut();
        // A panic of an engine that has failed already must not end the thread.
        let _ = guarded(|| {
            drop(file.take());
            Ok(())
        });
    }

    /// Opens the file again, if it is the one that is known, and says what it holds.
    pub(crate) fn reopen(&self, known: &Known) -> Result<State, Problem> {
        self.release();
        self.open_file(Opening::Again, Some(known))
    }

    fn open_file(&self, opening: Opening, known: Option<&Known>) -> Result<State, Problem> {
        let (database, state) = guarded(|| {
            let database = (self.open)(opening)?;
            let state = load(&database, self.is_lazy, known)?;
            Ok((database, state))
        })?;
        *self.file_mut() = Some(File {
            database,
            has_failed: AtomicBool::new(false),
        });
        Ok(state)
    }

    /// Says on disk that nothing is missing.
    pub(crate) fn finish(&self, mut meta: Meta) -> Result<(), Problem> {
        meta.is_closed = true;
        self.with(|database| {
            let transaction = begin(database, true)?;
            write_meta(&transaction, &meta)?;
            Ok(transaction.commit()?)
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A transaction that is on disk once it is committed, or with the next that is.
pub(crate) fn begin(database: &Database, is_durable: bool) -> Result<WriteTransaction, Problem> {
    let mut transaction = database.begin_write()?;
    if is_durable {
        // Else opening after a crash would read the whole file.
        transaction.set_quick_repair(true);
    } else {
        transaction
            .set_durability(redb::Durability::None)
            .map_err(Problem::damaged)?;
    }
    Ok(transaction)
}

pub(crate) fn write_meta(transaction: &WriteTransaction, meta: &Meta) -> Result<(), Problem> {
    transaction.open_table(META)?.insert((), meta.row())?;
    Ok(())
}

fn load(database: &Database, is_lazy: bool, known: Option<&Known>) -> Result<State, Problem> {
    let transaction = begin(database, true)?;
    let mut state = State::default();
    {
        let mut format = transaction.open_table(FORMAT)?;
        let found = format.get(())?.map(|version| version.value());
        match found {
            Some(VERSION) => {}
            Some(found) => return Err(Problem::WrongVersion(found)),
            None => drop(format.insert((), VERSION)?),
        }
        let meta = Meta::read(&transaction.open_table(META)?)?;
        if known.is_some_and(|known| !meta.is_some_and(|meta| known.is_of(&meta))) {
            return Err(Problem::damaged(
                "it is another file than before, or an older copy",
            ));
        }
        let new = || Meta {
            epoch: since_1970().as_micros() as u64,
            is_closed: true,
            ..Meta::default()
        };
        state.meta = meta.unwrap_or_else(new);
        for row in transaction.open_table(TOPICS)?.iter()? {
            let (name, window) = row?;
            let topic = Topic::new(name.value()).map_err(Problem::damaged)?;
            state
                .windows
                .insert(topic, Window::from_row(window.value()));
        }
        let mut numbers: Vec<_> = state.windows.values().map(|w| w.number).collect();
        numbers.sort_unstable();
        let mut next = 0;
        for number in numbers {
            state.free_numbers.extend(next..number);
            next = number.saturating_add(1);
        }
        for row in transaction.open_table(KEYS)?.iter()? {
            let (place, key) = row?;
            state.keys.insert(key.value().into(), place.value());
            state.key_places.push_back(place.value());
        }
        // So that a reader finds the tables.
        transaction.open_table(ORDER)?;
        transaction.open_table(INDEX)?;
    }
    state.meta.resume(is_lazy);
    write_meta(&transaction, &state.meta)?;
    transaction.commit()?;
    Ok(state)
}

/// What is stored of a record: its time, its topic, its block.
pub(crate) fn encode(time: u64, topic: &Topic, block: &[u8]) -> Vec<u8> {
    let name = topic.as_str().as_bytes();
    let mut value = Vec::with_capacity(9 + name.len() + block.len());
    value.extend_from_slice(&time.to_le_bytes());
    // A topic has at most 255 bytes.
    value.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    value.extend_from_slice(name);
    value.extend_from_slice(block);
    value
}

/// The reverse of [`encode`].
pub(crate) fn decode(value: &[u8]) -> Result<(u64, Topic, &[u8]), Problem> {
    let parts = || {
        let (time, rest) = value.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (name, block) = rest.split_at_checked(usize::from(*length))?;
        let topic = Topic::new(std::str::from_utf8(name).ok()?).ok()?;
        Some((u64::from_le_bytes(*time), topic, block))
    };
    parts().ok_or_else(|| Problem::damaged("a record is not one that was written"))
}

pub(crate) fn record(id: EventId, value: &[u8]) -> Result<Record, Problem> {
    let (_, topic, block) = decode(value)?;
    Ok(Record::from_block(id, topic, block))
}

pub(crate) fn open_read<K: redb::Key, V: redb::Value>(
    transaction: &redb::ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<ReadOnlyTable<K, V>, Problem> {
    Ok(transaction.open_table(table)?)
}

/// What went wrong with the file.
#[derive(Debug)]
pub(crate) enum Problem {
    Locked,
    WrongVersion(u64),
    Io(io::Error),
    Damaged(Box<dyn Error + Send + Sync>),
}

impl Problem {
    pub(crate) fn damaged(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged(error.into())
    }

    /// As the error of a call that has stored nothing.
    pub(crate) fn into_history_error(self) -> HistoryError {
        match self {
            Self::Io(error) => HistoryError::Unavailable(error.into()),
            Self::Damaged(error) => HistoryError::Failed(error),
            other => HistoryError::Failed(crate::OpenError::from(other).into()),
        }
    }

    /// The same for several who asked.
    pub(crate) fn to_history_error(&self) -> HistoryError {
        match self {
            Self::Io(error) => {
                HistoryError::Unavailable(io::Error::new(error.kind(), error.to_string()).into())
            }
            Self::Locked => Self::Locked.into_history_error(),
            Self::WrongVersion(found) => Self::WrongVersion(*found).into_history_error(),
            Self::Damaged(error) => HistoryError::Failed(error.to_string().into()),
        }
    }
}

impl From<redb::Error> for Problem {
    fn from(error: redb::Error) -> Self {
        match error {
            // What is not a database at all says so by this kind.
            redb::Error::Io(error)
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::Io(error)
            }
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::Io(io::Error::other("an earlier write has failed"))
            }
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Locked,
            redb::Error::UpgradeRequired(found) => Self::WrongVersion(found.into()),
            other => Self::damaged(other),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

from_redb!(
    DatabaseError,
    StorageError,
    redb::TransactionError,
    redb::TableError,
    redb::CommitError
);

/// Runs what touches the file. The engine trusts what it reads, and may panic if that is garbage.
pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|_| Err(Problem::damaged("the engine does not understand the file")))
}

/// [`Database::begin_read`], with our error.
pub(crate) fn begin_read(database: &Database) -> Result<redb::ReadTransaction, Problem> {
    Ok(database.begin_read()?)
}
