//! A crash-safe history for [fanfare](https://docs.rs/fanfare), in a directory, on
//! [redb](https://docs.rs/redb): what was published outlives the process, and a kill.
//!
//! ```
//! use fanfare_core::history::{Append, History, Retention};
//! use fanfare_core::{Event, LastEventId, Topics};
//! use fanfare_redb::Redb;
//!
//! # let directory = tempfile::tempdir()?;
//! let history = Redb::builder(directory.path()).retention(Retention::new()).open()?;
//! # futures_lite::future::block_on(async {
//! let id = history.append(Append::new("prices".into(), &Event::data("1.07"))).await?;
//! history.close();
//!
//! let history = Redb::builder(directory.path()).open()?;
//! let page = history.replay(&Topics::all(), &LastEventId::none(), 100).await?;
//! assert_eq!(page.records[0].id(), id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! It runs on any runtime, since it has two threads of its own. One commits: it takes every append
//! that waits, makes one transaction of them with one sync, and answers all. The other reads pages.
//! No poll ever waits for the disk.
//!
//! # What a crash leaves
//!
//! [`Durability`] says when an event is on disk. A transaction that was under way when the process
//! was killed or the power failed is dropped whole; no id is ever handed out again.
//!
//! # The directory
//!
//! It holds one file, `history.redb`, and one process has it at a time: see [`OpenError::Locked`].
//! Opening reads what is known of each topic, and no records, however many there are.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fanfare_core::history::{Append, BoxFuture, BoxStream, History, HistoryError, Page, TailItem};
use fanfare_core::{EventId, LastEventId, Topics};
use futures_channel::oneshot;

// In the order in which an append travels.
mod builder;
mod queue;
mod committer;
mod clock;
mod write;
mod store;
mod feed;
mod reader;
mod tail;
mod foreign;

#[cfg(test)]
mod tests;

pub use builder::{Builder, Durability, OpenError};
use committer::{Committer, Pending};
use feed::Feed;
use queue::{NotQueued, Queue, Size};
use reader::{Ask, Query, Reader};
use store::{State, Store};
pub use tail::Tail;
use write::Limits;

/// What may wait for the disk. Beyond that an append is refused: [`HistoryError::Unavailable`].
const MAX_APPENDS: Size = Size {
    count: 65_536,
    bytes: 64 << 20,
};

/// How many pages may be asked for and not read yet. Beyond that, the same.
const MAX_QUERIES: Size = Size {
    count: 65_536,
    bytes: usize::MAX,
};

/// A [`History`] in a directory.
///
/// Dropping it closes it, which waits for what was appended to be on disk.
#[derive(Debug)]
pub struct Redb {
    directory: PathBuf,
    appends: Arc<Queue<Pending>>,
    queries: Arc<Queue<Query>>,
    feed: Arc<Feed>,
    /// `None`: it is closed.
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    commits: JoinHandle<()>,
    reads: JoinHandle<()>,
}

impl Redb {
    /// A history in this directory, which is made if it does not exist.
    pub fn builder(directory: impl Into<PathBuf>) -> Builder {
        Builder::new(directory.into())
    }

    /// [`builder`](Self::builder) with its defaults, opened.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(directory).open()
    }

    /// Where it keeps its file.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Refuses appends from now on, waits until those before are on disk, ends every tail and lets
    /// go of the directory.
    ///
    /// It blocks for a sync. Closing twice is harmless.
    pub fn close(&self) {
        self.appends.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Threads { commits, reads }) = threads.take() {
            join(commits);
            self.queries.close();
            join(reads);
        }
    }

    fn start(
        directory: PathBuf,
        (store, state): (Store, State),
        limits: Limits,
        durability: Durability,
    ) -> Result<Self, OpenError> {
        let store = Arc::new(store);
        let feed = Arc::new(Feed::new(store.epoch(), state.meta.last));
        let appends = Arc::new(Queue::new(MAX_APPENDS));
        let queries = Arc::new(Queue::new(MAX_QUERIES));
        let reads = Reader::new(
            Arc::clone(&store),
            Arc::clone(&queries),
            Arc::clone(&appends),
        );
        let commits = Committer::new(
            store,
            state,
            Arc::clone(&feed),
            Arc::clone(&appends),
            Arc::clone(&queries),
            limits,
            durability,
        );
        // What is not started lets go of all that it has.
        let commits = spawn("fanfare-redb-w", || commits.run())?;
        let reads = spawn("fanfare-redb-r", || reads.run()).inspect_err(|_| appends.close())?;
        Ok(Self {
            directory,
            appends,
            queries,
            feed,
            threads: Mutex::new(Some(Threads { commits, reads })),
        })
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map_err(OpenError::Io)
}

/// Waits for a thread to end, unless it is this one: a waker that it calls may drop the history.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != thread::current().id() {
        // A panic on it has been reported, and ended there.
        let _ = thread.join();
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.close();
    }
}

impl History for Redb {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let size = append.block().len();
            let pushed = self.appends.push(Pending { append, answer }, size);
            pushed.map_err(not_queued)?;
            // Dropped unanswered: the thread has ended.
            answered.await.unwrap_or(Err(HistoryError::Closed))
        })
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let ask = Ask {
                topics: topics.clone(),
                after: after.clone(),
                limit,
                answer,
            };
            let pushed = self.queries.push(Query::Page(ask), 0);
            pushed.map_err(not_queued)?;
            // As above.
            answered.await.unwrap_or(Err(HistoryError::Closed))
        })
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        Box::pin(Tail::new(&self.feed, &self.queries, after))
    }
}

fn not_queued(reason: NotQueued) -> HistoryError {
    match reason {
        NotQueued::Full => HistoryError::Unavailable("too much waits for the disk".into()),
        NotQueued::Closed => HistoryError::Closed,
    }
}
