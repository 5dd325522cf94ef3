//! [`Committer`]: the thread that writes. It takes every append that waits, makes one transaction of
//! them, and answers all.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::history::{retry_pause, Append, HistoryError};
use fanfare_core::EventId;
use futures_channel::oneshot;
use redb::ReadableTable;

use crate::builder::Durability;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::foreign;
use crate::queue::{Queue, Size, Taken};
use crate::reader::Query;
use crate::store::{begin, begin_read, decode, open_read, Known, Problem, State, Store, ORDER};
use crate::write::{write, Limits, Placed, Written};

/// What one transaction stores at most, but for a single append that is larger.
const MAX_GROUP: Size = Size {
    count: 4_096,
    bytes: 16 << 20,
};

/// After so long, a file that fails is not one that has failed before.
const FORGET_FAILURES: Duration = Duration::from_secs(10);

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
    appends: Arc<Queue<Pending>>,
    /// What the reader is asked, and where it is called when the file has been opened again.
    queries: Arc<Queue<Query>>,
    limits: Limits,
    durability: Durability,
    state: State,
    clock: Clock,
    /// What the file is known by, if it has to be opened again.
    known: Known,
    /// When what was answered has to be on disk.
    sync_at: Option<Instant>,
    /// When to look for what is to be evicted.
    evict_at: Option<Instant>,
    reopening: Reopening,
}

impl Committer {
    pub(crate) fn new(
        store: Arc<Store>,
        state: State,
        feed: Arc<Feed>,
        appends: Arc<Queue<Pending>>,
        queries: Arc<Queue<Query>>,
        limits: Limits,
        durability: Durability,
    ) -> Self {
        let mut committer = Self {
            store,
            feed,
            appends,
            queries,
            limits,
            durability,
            clock: Clock::at_least(state.meta.time),
            known: Known::new(&state.meta),
            state: State::default(),
            sync_at: None,
            evict_at: None,
            reopening: Reopening::default(),
        };
        committer.adopt(state);
        committer
    }

    pub(crate) fn run(mut self) {
        loop {
            match self.appends.take(MAX_GROUP, self.next_work()) {
                Taken::Items(group) => self.store(group),
                Taken::Call | Taken::Nothing => self.work(),
                Taken::Closed => break,
            }
            self.reopen_if_due();
        }
        if self.store.has_failed() {
            // So that it can be told that nothing is missing.
            let _ = self.recover();
        }
    }

    /// When something is to be done whether anything is appended or not.
    fn next_work(&self) -> Option<Instant> {
        let due = [self.sync_at, self.evict_at, self.reopening.due];
        due.into_iter().flatten().min()
    }

    fn work(&mut self) {
        if is_due(self.evict_at) {
            self.evict_at = self.next_eviction(false);
            self.evict();
        }
        if is_due(self.sync_at) {
            // A failure has set the next attempt to open the file.
            let _ = self.commit(&[]);
        }
    }

    fn evict(&mut self) {
        if !self.store.is_open() {
            return;
        }
        // A file that cannot be read is opened again; a record that cannot be is looked at later.
        if self.has_to_evict().unwrap_or(false) {
            // As above.
            let _ = self.commit(&[]);
        }
    }

    fn reopen_if_due(&mut self) {
        // By a read of ours or of the reader's.
        if self.store.has_failed() {
            self.reopening.ask();
        }
        if is_due(self.reopening.due) {
            // A failure has set the next attempt.
            let _ = self.recover();
        }
    }

    fn next_eviction(&self, has_more: bool) -> Option<Instant> {
        let now = Instant::now();
        if has_more {
            return Some(now);
        }
        // Well within the quarter of the age that it may be late.
        let pause = self.limits.retention.max_age()? / 8;
        now.checked_add(pause.max(Duration::from_millis(1)))
    }

    fn has_to_evict(&mut self) -> Result<bool, Problem> {
        if !self.state.overfull.is_empty() {
            return Ok(true);
        }
        let Some(oldest) = self.limits.oldest(self.clock.now()) else {
            return Ok(false);
        };
        self.store.with(|database| {
            let order = open_read(&begin_read(database)?, ORDER)?;
            let first = order.first()?;
            let time = first.map(|(_, value)| decode(value.value()).map(|(time, ..)| time));
            Ok(time.transpose()?.is_some_and(|time| time < oldest))
        })
    }

    /// Stores a group and answers those who wait for it.
    fn store(&mut self, mut group: Vec<Pending>) {
        // Whoever has dropped its future does not ask any more.
        group.retain(|pending| !pending.answer.is_canceled());
        if group.is_empty() {
            return;
        }
        let appends: Vec<_> = group.iter().map(|pending| &pending.append).collect();
        match self.commit(&appends) {
            Ok(places) => {
                for (pending, place) in group.into_iter().zip(places) {
                    foreign::answer(pending.answer, self.answer(place));
                }
            }
            Err(failed) => {
                for pending in group {
                    foreign::answer(pending.answer, Err(failed.to_history_error()));
                }
            }
        }
    }

    fn answer(&self, place: Placed) -> Result<EventId, HistoryError> {
        match place {
            Placed::At(place) => Ok(self.store.id(place)),
            Placed::TooManyTopics => Err(HistoryError::TooManyTopics {
                limit: self.limits.topics,
            }),
        }
    }

    /// Stores appends, and evicts what is over the limits.
    fn commit(&mut self, appends: &[&Append]) -> Result<Vec<Placed>, Failed> {
        match self.commit_once(appends) {
            // It was refused for an earlier failure, of a read say, and the file is open again.
            Err(Failed::Before(_)) if self.store.is_open() => self.commit_once(appends),
            result => result,
        }
    }

    fn commit_once(&mut self, appends: &[&Append]) -> Result<Vec<Placed>, Failed> {
        if !self.store.is_open() {
            self.recover().map_err(Failed::Before)?;
        }
        let must_reserve = self.state.meta.reserve(appends.len() as u64);
        let is_durable =
            self.durability == Durability::EveryPublish || must_reserve || is_due(self.sync_at);
        match self.transact(appends, is_durable) {
            Ok(written) => Ok(self.note(written, is_durable)),
            Err(failed) => Err(self.fail(failed)),
        }
    }

    fn transact(&mut self, appends: &[&Append], is_durable: bool) -> Result<Written, Failed> {
        let time = self.clock.now();
        let (state, limits) = (&mut self.state, &self.limits);
        let transacted = self.store.with(|database| {
            let transaction = begin(database, is_durable)?;
            let written = write(&transaction, state, limits, appends, time)?;
            Ok((transaction, written))
        });
        let (transaction, written) = transacted.map_err(Failed::Before)?;
        let committed = self.store.with(|_| Ok(transaction.commit()?));
        committed.map_err(Failed::Unknown)?;
        Ok(written)
    }

    /// Notes what has been committed, and tells those who follow the tail.
    fn note(&mut self, written: Written, is_durable: bool) -> Vec<Placed> {
        let last = self.state.meta.last;
        self.known.given = last;
        if is_durable {
            self.known.synced = last;
            self.sync_at = None;
        } else if let Durability::Interval(within) = self.durability {
            let sync_at = || Instant::now().checked_add(within);
            self.sync_at = self.sync_at.or_else(sync_at);
        }
        self.evict_at = self.next_eviction(written.has_more);
        self.feed.publish(written.records, last);
        written.places
    }

    /// After a failure: opens the file again, and so finds out whether the group is stored, which is
    /// all of it or nothing.
    fn fail(&mut self, failed: Failed) -> Failed {
        let last = self.state.meta.last;
        match (self.recover(), failed) {
            (Ok(stored), Failed::Unknown(problem)) if stored < last => Failed::Before(problem),
            (_, failed) => failed,
        }
    }

    /// Opens the file again, and returns the newest place that it holds.
    fn recover(&mut self) -> Result<u64, Problem> {
        let reopened = self.store.reopen(&self.known);
        self.reopening.note(reopened.is_ok());
        self.sync_at = None;
        match reopened {
            Ok(state) => {
                let stored = state.meta.stored();
                self.adopt(state);
                // Who follows reads on from the file, and at once.
                self.feed.restart(self.state.meta.last);
                self.queries.call();
                Ok(stored)
            }
            Err(problem) => {
                // Who follows finds out by reading from the file.
                self.feed.interrupt();
                Err(problem)
            }
        }
    }

    /// Goes on from what a file holds.
    fn adopt(&mut self, mut state: State) {
        let windows = state.windows.iter();
        let over = windows.filter(|(_, window)| self.limits.are_exceeded_by(window));
        state.overfull = over.map(|(topic, _)| topic.clone()).collect();
        self.known = Known::new(&state.meta);
        self.state = state;
        self.evict_at = Some(Instant::now());
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // After a panic it counts as an unclean end, as it does if this fails.
        if !thread::panicking() {
            let _ = self.store.finish(self.state.meta);
        }
        self.store.release();
        self.feed.close();
        foreign::drop_each(self.appends.end());
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

/// When a file that has failed is opened again, if nobody publishes before: at once, and then after
/// growing pauses.
#[derive(Debug, Default)]
struct Reopening {
    /// When it was last opened, ...
    latest: Option<Instant>,
    /// ... and how often in a row.
    tries: u32,
    due: Option<Instant>,
}

impl Reopening {
    /// It has failed.
    fn ask(&mut self) {
        let earliest = self.latest.map(|latest| latest + retry_pause(self.tries));
        self.due = self.due.or(earliest).or_else(|| Some(Instant::now()));
    }

    /// It was opened, or was not.
    fn note(&mut self, is_open: bool) {
        let latest = self.latest.replace(Instant::now());
        let is_again = latest.is_some_and(|latest| latest.elapsed() < FORGET_FAILURES);
        self.tries = if is_again { self.tries + 1 } else { 0 };
        self.due = None;
        if !is_open {
            self.ask();
        }
    }
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
