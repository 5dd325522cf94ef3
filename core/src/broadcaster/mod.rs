//! [`Broadcaster`]: publish, subscribe, close.

mod builder;
pub(crate) mod hub;
pub(crate) mod backend;
mod feed;
mod topic_source;
mod subscribe;
mod private;
pub(crate) mod admission;
mod rate;
mod lease;
mod authorize;
mod drain;
mod counters;
mod futures;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use self::hub::Hub;
use crate::error::{PublishError, RefusedReason};
use crate::event::Event;
use crate::gap::GapReason;
use crate::history::TopicStats;
use crate::id::{EventId, LastEventId};
use crate::record::Draft;
use crate::response::EventStream;
use crate::sync::Ordering;
use crate::timer::Alarm;
use crate::topic::{Topic, Topics};
use crate::trace;
use crate::wait::Sleeper;

pub use self::authorize::Authorizing;
pub use self::backend::BackendStats;
pub use self::builder::Builder;
pub use self::counters::{DrainProgress, EndReason, Histogram, Reason, Tally};
pub use self::drain::{Drain, DrainWhen, Drained, Draining};
pub use self::futures::{CloseWhen, Ended, Publish, Replay, Serve};
pub use self::lease::{KeyFull, OpenStream};
pub use self::private::Private;
pub use self::rate::Rate;
pub use self::subscribe::Subscribe;
pub use self::topic_source::TopicSource;

/// One ordered log that everyone publishes to and follows.
///
/// It is a handle: cloning it is cheap, and all clones are the same broadcaster. A small one is
/// cheap too; who minds that ids show how busy it is gives each tenant one of its own.
///
/// ```
/// use fanfare_core::{Broadcaster, Event};
/// use futures_lite::{future, StreamExt};
///
/// let hub = Broadcaster::builder().history(1_000).build();
/// # future::block_on(async {
/// let id = hub.publish("prices", Event::data("1.07").name("quote")).await?;
///
/// let mut subscriber = hub.subscribe("prices").from_oldest().open()?;
/// assert_eq!(subscriber.next().await.unwrap(), "retry: 2000\n");
/// assert_eq!(
///     subscriber.next().await.unwrap(),
///     format!("id: {id}\nevent: quote\ndata: 1.07\n\n"),
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Replay and live
///
/// A subscriber is a cursor in the log. Replay is a cursor that starts in the past, live is one
/// at the tail, a slow client is one that is behind. There is no hand-off between them, and so
/// none to get wrong.
///
/// # Lagging
///
/// A subscriber that reads more slowly than its topics are published to costs nobody anything:
/// there is no queue per subscriber, and nobody waits. It reads what it missed from the history;
/// what the history has evicted meanwhile is announced to it by a [`Gap`](crate::Gap), as the
/// [`LagPolicy`](crate::LagPolicy) says.
///
/// # Closing
///
/// [`close`](Self::close) refuses new events and new subscribers. Each subscriber still gets
/// what it has not read, then a `retry` of its own, then the end of its stream; it does not end
/// later than its client reads. [`close_when`](Self::close_when) is made to be handed to a
/// framework's graceful shutdown, and [`ended`](Self::ended) bounds it.
///
/// Dropping the last handle closes it too: nobody could publish any more.
#[derive(Clone)]
pub struct Broadcaster(Arc<Handle>);

/// What the last clone of a [`Broadcaster`] drops. Subscribers hold the hub alone.
struct Handle(Arc<Hub>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Broadcaster {
    pub(crate) fn of(hub: Hub) -> Self {
        Self(Arc::new(Handle(Arc::new(hub))))
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0 .0
    }

    /// A broadcaster with every default; see [`Builder`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Chooses what happens.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Publishes an event to everyone who follows the topic.
    ///
    /// The future is ready with the event's id once it can be replayed; it never waits for a
    /// subscriber. In memory it is ready at once.
    ///
    /// An event without data only moves the client's place, and some clients do not honour
    /// that: publish events that have data.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]. Where a backend [cannot say](crate::history::HistoryError::is_unknown) whether
    /// it has stored the event, publish it again under the same [key](Publish::key): then it is stored once.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens until the future is first polled; dropped before that, the event is not
    /// published. Dropped while a backend works on it, the event is published or it is not.
    #[track_caller]
    pub fn publish(&self, topic: impl Into<Topic>, event: Event) -> Publish {
        Publish::new(self.clone(), topic.into(), event)
    }

    /// [`publish`](Self::publish) for a thread without an executor, where the history is this
    /// process's memory: what a [backend](Builder::backend) does takes time, and somebody who
    /// awaits it.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    #[allow(clippy::needless_pass_by_value)] // As `publish` takes it: an event is given away.
    pub fn try_publish(
        &self,
        topic: impl Into<Topic>,
        event: Event,
    ) -> Result<EventId, PublishError> {
        if self.hub().backend.is_some() {
            return Err(PublishError::WouldWait);
        }
        self.publish_now(&topic.into(), None, &event)
    }

    fn check_size(&self, event: &Event) -> Result<(), PublishError> {
        let limit = self.hub().settings.max_event_bytes;
        let size = Draft::len_of(event);
        if size > limit {
            return Err(PublishError::TooLarge { size, limit });
        }
        Ok(())
    }

    fn publish_now(
        &self,
        topic: &Topic,
        key: Option<&str>,
        event: &Event,
    ) -> Result<EventId, PublishError> {
        let append = || {
            self.check_size(event)?;
            let draft = Draft::new(event);
            Ok(self.hub().memory.append_draft(topic, key, draft)?)
        };
        let id = append().inspect_err(trace::not_published)?;
        Hub::keep_sweeping(self.hub());
        trace::published(topic, id);
        Ok(id)
    }

    /// Follows topics: a literal, a parsed [`Topics`], or a [`Topic`].
    ///
    /// Does no I/O. Nothing happens until the subscription is opened, which a framework's `Sse`
    /// does.
    #[track_caller]
    pub fn subscribe(&self, topics: impl Into<Topics>) -> Subscribe {
        Subscribe::new(self.clone(), topics.into())
    }

    /// A stream to one client alone that is counted, limited, kept alive and ended with all the others:
    /// a stream of events, the stream of a [`channel`](crate::channel()), or an [`EventStream`], which
    /// may have signs of life of its own.
    ///
    /// Without this, a private stream is its producer's to end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is admitted until it is [opened](Private::open). Dropping the stream then gives its place
    /// back, and tells its producer that the client has gone.
    ///
    /// ```
    /// use fanfare_core::{channel, Broadcaster, Event, EventSource};
    /// use futures_lite::{future, StreamExt};
    ///
    /// let hub = Broadcaster::builder().max_per_key(1).build();
    /// let (mut client, stream) = channel(16);
    /// let mut body = hub.private(stream).key("ann").open()?;
    /// # future::block_on(async {
    /// client.send(Event::data("one")).await?;
    /// assert_eq!(body.next().await.unwrap(), ":\n");
    /// assert_eq!(body.next().await.unwrap(), "data: one\n\n");
    ///
    /// hub.disconnect("ann");
    /// assert!(body.next().await.unwrap().starts_with(b"retry: "));
    /// assert_eq!(body.next().await, None);
    /// # Ok::<(), fanfare_core::SendError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn private(&self, stream: impl Into<EventStream>) -> Private {
        Private::new(self.clone(), stream.into())
    }

    /// Ends every stream of a [key](Subscribe::key) now, whatever it still had to deliver: when a
    /// user logs out, or may not listen any more. How many there were.
    ///
    /// Their clients come back, unless they are refused: forget the rights first.
    #[allow(clippy::must_use_candidate)] // It is called for what it does.
    pub fn disconnect(&self, key: &str) -> usize {
        self.hub().leases.end_key(key, EndReason::Disconnected)
    }

    /// Asks again and again who may go on listening: each key that has a stream, every `interval`,
    /// from every 10 ms to once a day. A key for which `may_listen` says `false` is disconnected.
    ///
    /// The future is the application's to spawn on its own runtime. It completes when the broadcaster
    /// is closed, and does not keep it open. Up to 16 keys are asked for at a time; a round that takes
    /// longer than the interval is followed by the next at once.
    ///
    /// An answer that takes longer than the interval no longer counts towards the 16, and its key is
    /// left out of the rounds until the answer comes. So a call that hangs concerns its key alone: that
    /// key is not asked for again and its streams go on, and the call is dropped once they have ended.
    /// Give your own call a timeout, and decide what its key may do then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfare_core::Broadcaster;
    ///
    /// # struct Users;
    /// # impl Users { async fn may_listen(&self, _: &str) -> bool { true } }
    /// async fn watch(hub: Broadcaster, users: Users) {
    ///     let users = &users;
    ///     hub.authorize_every(Duration::from_secs(30), |key| async move {
    ///         users.may_listen(&key).await
    ///     })
    ///     .await;
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the asking, and no stream.
    pub fn authorize_every<C, F>(&self, interval: Duration, may_listen: C) -> Authorizing<C, F>
    where
        C: FnMut(Arc<str>) -> F,
        F: Future<Output = bool>,
    {
        Authorizing::new(Arc::clone(self.hub()), interval, may_listen)
    }

    /// The streams that are open and have a key, a deadline or a client of their own, the oldest
    /// first: for a page that shows who is behind. It takes a moment with very many.
    #[must_use]
    pub fn streams(&self) -> Vec<OpenStream> {
        let hub = self.hub();
        hub.leases.list(hub.memory.timer().now())
    }

    /// A page of the history: at most `limit` records after a place, and some 256 KiB; from the
    /// oldest that is retained if `after` is [`LastEventId::none`].
    ///
    /// This is what clients that poll read. For those that stay, [`subscribe`](Self::subscribe).
    /// In memory it is ready at once, and what the window in front of a backend holds is too.
    /// Clients that ask a backend for the same page within a second share one read of it.
    ///
    /// ```
    /// use fanfare_core::{Broadcaster, Event};
    ///
    /// let hub = Broadcaster::new();
    /// # futures_lite::future::block_on(async {
    /// let first = hub.publish("prices", Event::data("1.07")).await?;
    /// let second = hub.publish("prices", Event::data("1.08")).await?;
    ///
    /// let page = hub.replay("prices", first, 100).await?;
    /// assert!(page.gap.is_none());
    /// assert_eq!(page.records[0].bytes(), &format!("id: {second}\ndata: 1.08\n\n"));
    ///
    /// // The client goes on after its end.
    /// let page = hub.replay("prices", page.last, 100).await?;
    /// assert!(page.records.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`HistoryError`](crate::history::HistoryError); in memory there are none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future costs nobody anything. A read that others wait for goes on.
    pub fn replay(
        &self,
        topics: impl Into<Topics>,
        after: impl Into<LastEventId>,
        limit: usize,
    ) -> Replay {
        Replay::new(self.clone(), topics.into(), after.into(), limit)
    }

    /// The place of the newest event: what a page that has just been rendered resumes after.
    #[must_use]
    pub fn last_id(&self) -> EventId {
        let hub = self.hub();
        match &hub.backend {
            Some(backend) => backend.newest_known(&hub.memory),
            None => hub.memory.last(),
        }
    }

    /// An [`EventSource`](crate::EventSource) that is every subscriber of the topic.
    #[track_caller]
    pub fn topic(&self, topic: impl Into<Topic>) -> TopicSource {
        TopicSource::new(self.clone(), topic.into())
    }

    /// Refuses new events and subscribers, and lets every subscriber's stream end. Closing again
    /// does nothing. The [private](Self::private) streams that it has admitted end too; others
    /// ([`EventStream`]) are their producers' to end.
    pub fn close(&self) {
        self.hub().close();
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.hub().is_closing()
    }

    /// Closes when `signal` completes, and completes then.
    ///
    /// Made for `with_graceful_shutdown` and its like: it ends every stream that would otherwise
    /// keep the server from ending.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the signal, it leaves the broadcaster open.
    pub fn close_when<F: Future>(&self, signal: F) -> CloseWhen<F> {
        CloseWhen {
            signal,
            hub: self.clone(),
        }
    }

    /// Ends every stream, spread over a window so that the clients do not come back at once, and then
    /// closes the broadcaster.
    ///
    /// Each stream ends where it has nothing left to send, with a `retry` of its own. Meanwhile new
    /// ones are refused, softly if with a status else, and events are published and delivered as
    /// ever: who comes back elsewhere, to the same history, misses nothing. What has not ended at
    /// the [bound](Drain::bound) is not waited for, by [`serve`](Self::serve) either.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled, dropping it does not stop the drain, but nobody then closes the
    /// broadcaster.
    pub fn drain(&self, drain: Drain) -> Draining {
        Draining::new(self.clone(), drain)
    }

    /// Drains when `signal` completes, and completes when that is over: for
    /// `with_graceful_shutdown` and its like, as [`close_when`](Self::close_when). The server goes on
    /// until then.
    ///
    /// ```
    /// # use std::{future::Future, io, time::Duration};
    /// # use fanfare_core::{broadcaster::Drain, Broadcaster};
    /// # async fn signal() {}
    /// # async fn serve_until(shutdown: impl Future) -> io::Result<()> { shutdown.await; Ok(()) }
    /// # futures_lite::future::block_on(async {
    /// let hub = Broadcaster::new();
    /// let drain = Drain::over(Duration::from_secs(5));
    /// let server = serve_until(hub.drain_when(signal(), drain));
    /// hub.serve(server, Duration::from_secs(1)).await?;
    /// assert!(hub.is_closed());
    /// # io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before the signal, it leaves the broadcaster as it is; after it, see [`drain`](Self::drain).
    pub fn drain_when<F: Future>(&self, signal: F, drain: Drain) -> DrainWhen<F> {
        DrainWhen {
            signal,
            has_come: false,
            draining: self.drain(drain),
        }
    }

    /// Whether a [drain](Self::drain) has begun: what a health check answers with, so that a load
    /// balancer sends nobody here any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.hub().drain.is_draining()
    }

    /// Completes once the broadcaster is closed and either its last subscriber is gone, or
    /// `grace` has passed since the close.
    ///
    /// A client that has stopped reading can keep its connection, and with it a server that
    /// shuts down gracefully, forever. Race the server against this, and it ends:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fanfare_core::Broadcaster;
    /// use futures_lite::future;
    ///
    /// let hub = Broadcaster::new();
    /// let unread = hub.subscribe("prices").open()?;
    /// # let server = future::pending();
    /// # future::block_on(async {
    /// hub.close();
    /// future::or(server, hub.ended(Duration::from_millis(10))).await;
    ///
    /// drop(unread);
    /// // Nobody is left to wait for.
    /// hub.ended(Duration::from_secs(10)).await;
    /// # });
    /// # Ok::<(), fanfare_core::Refused>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing. The grace counts from the close, whenever it is asked for again.
    #[must_use = "futures do nothing unless awaited"]
    pub fn ended(&self, grace: Duration) -> Ended {
        Ended {
            hub: Arc::clone(self.hub()),
            sleeper: Sleeper::default(),
            grace,
            until_alone: true,
            alarm: Alarm::default(),
        }
    }

    /// Runs a server to its own end, but not for longer than `grace` after the broadcaster is
    /// closed.
    ///
    /// A graceful shutdown waits for every response; this bounds the wait, so that one client
    /// that has stopped reading does not keep the process alive. Give it the time that your other
    /// requests may take.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use fanfare_core::Broadcaster;
    /// # fn serve_until(_: impl std::future::Future) -> std::future::Ready<std::io::Result<()>> { std::future::ready(Ok(())) }
    /// # fn signal() -> std::future::Ready<()> { std::future::ready(()) }
    /// # futures_lite::future::block_on(async {
    /// let hub = Broadcaster::new();
    /// let server = serve_until(hub.close_when(signal()));
    /// hub.serve(server, Duration::from_secs(1)).await
    /// # });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the server.
    pub fn serve<S, E>(&self, server: S, grace: Duration) -> Serve<S::IntoFuture>
    where
        S: IntoFuture<Output = Result<(), E>>,
    {
        // Other requests may still be under way once the last stream is gone.
        let mut bound = self.ended(grace);
        bound.until_alone = false;
        Serve {
            server: server.into_future(),
            bound,
        }
    }

    /// How long a stream is silent at most: the interval of its [`KeepAlive`](crate::KeepAlive);
    /// `None` if that is off.
    ///
    /// A listener that is told finds dead clients as soon: see the integrations' `TcpOptions`.
    #[must_use]
    pub fn keep_alive_interval(&self) -> Option<Duration> {
        self.hub().settings.keep_alive.interval()
    }

    /// Whether anybody follows the topic in this process now.
    #[must_use]
    pub fn has_subscribers(&self, topic: &Topic) -> bool {
        self.hub().memory.has_subscribers(topic)
    }

    /// What it holds and what it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let hub = self.hub();
        let memory = hub.memory.stats();
        Stats {
            subscribers: hub.subscribers.load(Ordering::Relaxed),
            published: hub
                .backend
                .as_ref()
                .map_or(memory.published, |backend| backend.published()),
            backend: hub.backend.as_ref().map(|backend| backend.stats()),
            delivered: memory.delivered,
            delivered_bytes: memory.delivered_bytes,
            opened: hub.counters.opened.load(Ordering::Relaxed),
            ended: hub.counters.ended.tally(),
            gaps: hub.counters.gaps.tally(),
            replayed: hub.counters.replayed.load(Ordering::Relaxed),
            refused: hub.counters.refused.tally(),
            keep_alives: hub.counters.keep_alives.load(Ordering::Relaxed),
            lag: hub.counters.lag.histogram(),
            drain: hub.drain.progress(hub),
            last: memory.last,
            topics: memory.topics,
        }
    }
}

impl Default for Broadcaster {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Broadcaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster")
            .field(
                "subscribers",
                &self.hub().subscribers.load(Ordering::Relaxed),
            )
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What a broadcaster holds and what it has done since it began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Streams now: subscribers, and the private streams that it has admitted.
    pub subscribers: usize,
    /// Streams that were opened.
    pub opened: u64,
    /// Streams that are over, and why.
    pub ended: Tally<EndReason>,
    /// Events published here. One that is published again under its [key](Publish::key) counts once.
    pub published: u64,
    /// Events handed to subscribers: one that a hundred received counts a hundred times.
    pub delivered: u64,
    /// Their encoded size, in bytes.
    pub delivered_bytes: u64,
    /// Gap events sent, and why.
    pub gaps: Tally<GapReason>,
    /// Events handed to subscribers before they first reached the tail.
    pub replayed: u64,
    /// Streams refused, and why.
    pub refused: Tally<RefusedReason>,
    /// Signs of life sent.
    pub keep_alives: u64,
    /// How far behind streams were that had fallen behind, whenever they were read again: places in
    /// the log between such a stream and the newest of its topics.
    ///
    /// A stream that is sent all there is at once is not in it: that costs it no time.
    pub lag: Histogram,
    /// How far a drain has come, once one has begun.
    pub drain: Option<DrainProgress>,
    /// The place of the newest event.
    pub last: EventId,
    /// What has passed between it and its backend, if there is one.
    pub backend: Option<BackendStats>,
    /// What is held of each topic here, in no order.
    pub topics: Vec<(Topic, TopicStats)>,
}
