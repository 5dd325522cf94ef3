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
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fanfare_core::history::{
    Append, BoxFuture, BoxStream, History, HistoryError, Page, Retention, TailItem,
};
use fanfare_core::{EventId, LastEventId, Topics};
use futures_channel::oneshot;

// In the order in which an append travels.
mod builder;
mod committer;
mod store;
mod feed;
mod reader;
mod tail;

#[cfg(test)]
mod tests;

pub use builder::{Builder, Durability, OpenError};
use committer::{Command, Committer, Pending};
use feed::Feed;
use reader::{Query, Reader};
use store::Store;
pub use tail::Tail;

/// A [`History`] in a directory.
///
/// Dropping it closes it, which waits for what was appended to be on disk.
#[derive(Debug)]
pub struct Redb {
    directory: PathBuf,
    committer: Sender<Command>,
    reader: Sender<Query>,
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
        // Either fails if its thread has ended already.
        let _ = self.committer.send(Command::Close);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Threads { commits, reads }) = threads.take() else {
            return;
        };
        // What panics on them ends there: see `store::guarded`.
        let _ = commits.join();
        let _ = self.reader.send(Query::Stop);
        let _ = reads.join();
    }

    fn start(
        directory: PathBuf,
        store: Store,
        retention: Retention,
        durability: Durability,
    ) -> Result<Self, OpenError> {
        let feed = Arc::new(Feed::new(store.epoch(), store.last()));
        let store = Arc::new(store);
        let (committer, commands) = mpsc::channel();
        let (reader, queries) = mpsc::channel();
        let reads = Reader::new(Arc::clone(&store), queries);
        let commits = Committer::new(store, Arc::clone(&feed), retention, durability, commands);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = Threads {
            reads: named("fanfare-redb-r")
                .spawn(|| reads.run())
                .map_err(OpenError::Io)?,
            commits: named("fanfare-redb-w")
                .spawn(|| commits.run())
                .map_err(OpenError::Io)?,
        };
        Ok(Self {
            directory,
            committer,
            reader,
            feed,
            threads: Mutex::new(Some(threads)),
        })
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
            let pending = Pending { append, answer };
            if self.committer.send(Command::Append(pending)).is_err() {
                return Err(HistoryError::Closed);
            }
            // Dropped unanswered: it came behind the close.
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
            let query = Query::Page {
                topics: topics.clone(),
                after: after.clone(),
                limit,
                answer,
            };
            if self.reader.send(query).is_err() {
                return Err(HistoryError::Closed);
            }
            let page = answered.await;
            page.unwrap_or(Err(HistoryError::Closed))
        })
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        Box::pin(Tail::new(&self.feed, &self.reader, after))
    }
}
