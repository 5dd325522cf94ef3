//! A history for [fanfare](https://docs.rs/fanfare) in Redis Streams: any number of processes are one.
//! Publish anywhere, subscribe anywhere, resume anywhere.
//!
//! ```no_run
//! use fanfare_core::history::Retention;
//! use fanfare_core::Broadcaster;
//! use fanfare_redis::RedisHistory;
//!
//! let history = RedisHistory::builder("redis://user:password@localhost:6379")
//!     .stream("prices")
//!     .retention(Retention::new().records(10_000))
//!     .build()?;
//! let hub = Broadcaster::builder().backend(history).build();
//! # let _ = hub;
//! # Ok::<(), fanfare_redis::OpenError>(())
//! ```
//!
//! # Threads
//!
//! It runs on any runtime, since it has threads of its own, each with a connection: one stores, many
//! events at once; one reads pages; one, from the first tail on, reads what is new for all tails.
//! [`Builder::build`] does not wait for the server: they connect by themselves, and again, with growing
//! pauses that chance shortens.
//!
//! # What is where
//!
//! Of a log that is called `s`:
//!
//! | key | what |
//! |---|---|
//! | `{s}:log` | a stream: some 10,000 of the newest records of all topics or 16 MiB, in the one order; what tails read |
//! | `{s}:t:TOPIC` | a stream per topic: all that is retained of it |
//! | `{s}:topics` | a sorted set: the topics by the time of their newest record |
//! | `{s}:state` | a hash: of each topic the newest id, the newest evicted one, its size |
//! | `{s}:marks` | a hash: of topics that hold many records, where each eighth begins |
//! | `{s}:meta` | a hash: where this life of the log began, its newest id, where something may be lost |
//! | `{s}:k:KEY` | the id of an append with a key, for ten minutes |
//! | `{s}:used:ID` | that a ticket has been used, while it could be taken (feature `tickets`) |
//!
//! One script stores all events that were appended while it ran last: in one entry of the log, or not at
//! all. From there they come into their topics' streams two thousand at once, or when somebody reads; so a
//! publish costs the server little, whatever the number of topics. Entries hold `MessagePack`, which
//! [`sort.lua`](https://docs.rs/crate/fanfare-redis/latest/source/src/scripts/sort.lua) describes.
//!
//! An id is the stream's own: milliseconds of the server's clock and a number; an entry's is that of its
//! last record. Should the clock go back, ids go on.
//!
//! A topic that may hold 64 records or more is cut by an eighth when it is full, and holds three quarters
//! at least; a smaller one is cut exactly. Bytes are cut to a sixteenth. What is put under a topic's key by
//! somebody else is replaced, and what was there before is told as a gap. Where age is limited, a client
//! that follows patterns and stopped before that age is told of a gap even if nothing of its topics was
//! evicted. A limit of age that is lifted is lifted from each topic with its next record.
//!
//! # What the operator decides
//!
//! - `maxmemory-policy noeviction`: another policy may remove a topic's records behind our back. A full
//!   server then refuses to store, as [`HistoryError::Unavailable`]. Reading goes on. A server that
//!   refuses every write (its disk fails, or it has too few replicas) delays reading, too.
//! - `appendonly yes`, `appendfsync always`: what was answered outlives a kill, and nobody is told of a
//!   gap. With anything else, and after a failover, what was stored last may be lost and nobody can
//!   tell: every client from before a restart is told so by a gap, and no id comes twice.
//! - A user of an access control list needs the keys `~{s}:*` and `+@connection +@stream +@hash
//!   +@sortedset +@scripting +@string +info +time +unlink +exists +pexpire +persist`; and `+config|get`, or what
//!   `appendfsync` says is not believed.
//!
//! # Which servers
//!
//! Tested with Redis 7.0. It needs 6.2 for its commands, and `redis://` or, with the feature `tls`,
//! `rediss://`; trusted are the system's certificates or [those given](Builder). The first `rediss://`
//! history installs ring as the process's cryptography if there is none.
//!
//! - **Cluster**: works. A log is in one hash slot, so on one node, to which the redirections of any node
//!   lead. It does not spread one log over nodes: give each its own stream. While the slot is being moved,
//!   what needs a key that has gone ahead is refused, and works again when all have.
//! - **Sentinel**: is not asked. A name or proxy that leads to the master works: a connection to a
//!   replica is refused and made again.
//! - **Replication** is asynchronous: a failover may lose what was answered, which is told as above.
//!   `min-replicas-to-write` bounds it. A master that was cut off and goes on storing forks the log.

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
mod packed;
mod writer;
mod feed;
mod reader;
mod tail;
#[cfg(feature = "tickets")]
mod uses;

pub use builder::{Builder, OpenError};
use connection::Connector;
use fault::{Fault, Kind};
use feed::{Feed, Feeder};
use queue::{NotQueued, Queue};
use reader::{Query, Reader};
pub use tail::Tail;
#[cfg(feature = "tickets")]
#[cfg_attr(docsrs, doc(cfg(feature = "tickets")))]
pub use uses::RedisUses;
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
        let is_fed = self.is_fed.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_fed {
            self.feed.begin_close();
        } else {
            self.feed.close();
        }
    }

    fn start(connector: Connector, max_topics: usize) -> io::Result<Self> {
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
            max_topics,
        };
        let reader = Reader {
            connector: Arc::clone(&history.connector),
            queue: Arc::clone(&history.queries),
            feed: Arc::clone(&history.feed),
        };
        // None is waited for: each ends by itself when the history does.
        spawn("fanfare-redis-w", || writer.run())?;
        spawn("fanfare-redis-r", || reader.run())?;
        Ok(history)
    }

    /// Starts the thread that reads for the tails, if it does not run, and says whether one does or need
    /// not. If the system refuses it, the next tail tries again.
    fn feed(&self) -> bool {
        let mut is_fed = self.is_fed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.appends.is_closed() {
            return true;
        }
        if !*is_fed {
            let feeder = Feeder {
                connector: Arc::clone(&self.connector),
                feed: Arc::clone(&self.feed),
            };
            *is_fed = spawn("fanfare-redis-t", || feeder.run()).is_ok();
        }
        *is_fed
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop)
}

impl Drop for RedisHistory {
    fn drop(&mut self) {
        self.close();
        // Not before: tails that are behind still read.
        self.queries.close();
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
            if self.appends.is_closed() {
                return Err(HistoryError::Closed);
            }
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
        let tail = Tail::new(&self.feed, &self.queries, after);
        // One that nobody reads for ends at once: whoever wants it opens it again.
        Box::pin(if self.feed() { tail } else { tail.ended() })
    }
}
