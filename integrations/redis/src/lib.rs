//! A history for [fanfare](https://docs.rs/fanfare) in Redis Streams.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use fanfare_core::history::{Append, BoxFuture, BoxStream, History, HistoryError, Page, TailItem};
use fanfare_core::{EventId, LastEventId, Topics};
use futures_channel::oneshot;

// In the order in which an append travels.
mod builder;
mod queue;
mod connection;
mod fault;
mod values;
mod writer;
mod feed;
mod reader;
mod tail;

use builder::Limits;
pub use builder::{Builder, OpenError};
use connection::Connector;
use fault::{Fault, Kind};
use feed::{Feed, Feeder};
use queue::{NotQueued, Queue};
use reader::{Query, Reader};
pub use tail::Tail;
use writer::{Pending, Writer};

/// A [`History`] in Redis Streams.
///
/// Dropping it closes it.
#[derive(Debug)]
pub struct RedisHistory {
    connector: Arc<Connector>,
    appends: Arc<Queue<Pending>>,
    queries: Arc<Queue<Query>>,
    feed: Arc<Feed>,
    /// Whether the thread that reads for the tails runs: since the first of them.
    is_fed: Mutex<bool>,
}

impl RedisHistory {
    /// A history at a URL: `redis://user:password@host:port/database`, or `rediss://` with the
    /// feature `tls`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    /// The log's name, which every key begins with.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.connector.keys.stream()
    }

    /// Refuses appends from now on; those before are still sent. Every tail ends when it has brought
    /// what this process has stored, within a second or two.
    ///
    /// It does not block. Closing twice is harmless.
    pub fn close(&self) {
        self.appends.close();
        self.queries.close();
        let is_fed = self.is_fed.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_fed {
            self.feed.begin_close();
        } else {
            self.feed.close();
        }
    }

    fn start(connector: Connector, limits: Limits) -> io::Result<Self> {
        let history = Self {
            connector: Arc::new(connector),
            appends: Arc::new(Queue::new(writer::QUEUE)),
            queries: Arc::new(Queue::new(reader::QUEUE)),
            feed: Arc::new(Feed::new()),
            is_fed: Mutex::new(false),
        };
        let writer = Writer {
            connector: Arc::clone(&history.connector),
            queue: Arc::clone(&history.appends),
            limits,
        };
        let reader = Reader {
            connector: Arc::clone(&history.connector),
            queue: Arc::clone(&history.queries),
            retention: limits.retention,
        };
        // None is waited for: each ends by itself when the history is closed.
        spawn("fanfare-redis-w", || writer.run())?;
        spawn("fanfare-redis-r", || reader.run())?;
        Ok(history)
    }

    /// Starts the thread that reads for the tails, if it does not run. If the system refuses it, the
    /// next tail tries again.
    fn feed(&self) {
        let mut is_fed = self.is_fed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_fed && !self.appends.is_closed() {
            let feeder = Feeder {
                connector: Arc::clone(&self.connector),
                feed: Arc::clone(&self.feed),
            };
            *is_fed = spawn("fanfare-redis-t", || feeder.run()).is_ok();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop)
}

impl Drop for RedisHistory {
    fn drop(&mut self) {
        self.close();
    }
}

fn not_queued(reason: NotQueued) -> HistoryError {
    match reason {
        NotQueued::Closed => HistoryError::Closed,
        NotQueued::Full => Fault::new(Kind::Refused, "too much waits to be sent").of_append(),
    }
}

impl History for RedisHistory {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let pending = Pending { append, answer };
            let size = pending.size();
            self.appends.push(pending, size).map_err(not_queued)?;
            // Dropped unanswered: the thread has ended before it came to it.
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
            self.queries.push(query, 0).map_err(not_queued)?;
            answered.await.unwrap_or(Err(HistoryError::Closed))
        })
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        self.feed();
        Box::pin(Tail::new(&self.feed, &self.queries, after))
    }
}
