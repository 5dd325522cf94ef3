//! [`Broadcaster`]: publish, subscribe, close.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{ready, Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pin_project_lite::pin_project;

use crate::encode::write_retry_line;
use crate::error::{PublishError, Refused, RefusedReason, WhenRefused};
use crate::event::{Event, EventName};
use crate::history::{HistoryError, Memory, Page, Retention, TopicStats};
use crate::id::{EventId, LastEventId};
use crate::keep_alive::KeepAlive;
use crate::record::Draft;
use crate::source::TopicSource;
use crate::subscriber::{LagPolicy, Subscriber};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timer::{ThreadTimer, Timer};
use crate::topic::{Topic, Topics};
use crate::wait::{Sleeper, Waiters};

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
/// [`LagPolicy`] says.
///
/// # Closing
///
/// [`close`](Self::close) refuses new events and new subscribers. Each subscriber still gets
/// what it has not read, then a `retry` of its own, then the end of its stream; it does not end
/// later than its client reads. [`close_when`](Self::close_when) is made to be handed to a
/// framework's graceful shutdown, and [`ended`](Self::ended) bounds it.
#[derive(Clone)]
pub struct Broadcaster(Arc<Hub>);

/// What all handles share.
pub(crate) struct Hub {
    pub(crate) memory: Memory,
    pub(crate) settings: Settings,
    /// Whether the log is closed. Set after the log itself refuses events, so that a subscriber
    /// which sees it set finds the whole log below.
    closed: AtomicBool,
    closed_at: Mutex<Option<Instant>>,
    /// Counts the ticks at which idle subscribers may owe a sign of life.
    beat: AtomicU64,
    ticking: AtomicBool,
    next_beat: Mutex<Option<Instant>>,
    subscribers: AtomicUsize,
    keys: Mutex<HashMap<Arc<str>, usize>>,
    /// Those who wait for the close or for the last subscriber.
    ending: Waiters,
    pub(crate) counters: Counters,
    /// Makes jitter differ from hub to hub and from call to call.
    jitter: RandomState,
    jittered: AtomicU64,
}

/// What the builder was told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) lag: LagPolicy,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) keep_alive_bytes: Bytes,
    pub(crate) gap_name: EventName,
    pub(crate) retry: Option<Duration>,
    /// What goes out with the headers: the `retry` field, which so rides on the first event's
    /// block, or a comment.
    pub(crate) opening: Bytes,
    max_event_bytes: usize,
    max_subscribers: usize,
    max_per_key: usize,
    when_refused: WhenRefused,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) gaps: AtomicU64,
    pub(crate) replayed: AtomicU64,
    refused: AtomicU64,
}

impl Broadcaster {
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
    /// # Errors
    ///
    /// See [`PublishError`]: the event was not published, and has no id.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens until the future is first polled; dropped before that, the event is not
    /// published.
    pub fn publish(&self, topic: impl Into<Topic>, event: Event) -> Publish {
        Publish {
            hub: self.clone(),
            next: Some((topic.into(), event)),
        }
    }

    /// [`publish`](Self::publish) for a thread without an executor.
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
        self.publish_now(&topic.into(), &event)
    }

    fn publish_now(&self, topic: &Topic, event: &Event) -> Result<EventId, PublishError> {
        let limit = self.0.settings.max_event_bytes;
        let draft = Draft::new(event);
        let size = draft.len();
        if size > limit {
            return Err(PublishError::TooLarge { size, limit });
        }
        let id = self.0.memory.append_draft(topic, draft)?;
        if self.0.memory.retention().age.is_some() {
            Hub::keep_ticking(&self.0);
        }
        Ok(id)
    }

    /// Follows topics: a literal, a parsed [`Topics`], or a [`Topic`].
    ///
    /// Does no I/O. Nothing happens until the subscription is opened, which a framework's `Sse`
    /// does.
    pub fn subscribe(&self, topics: impl Into<Topics>) -> Subscribe {
        Subscribe {
            hub: self.clone(),
            topics: topics.into(),
            after: After::Now,
            key: None,
        }
    }

    /// A page of the history: at most `limit` records after a place; from the oldest that is
    /// retained if `after` is [`LastEventId::none`].
    ///
    /// This is what clients that poll read. For those that stay, [`subscribe`](Self::subscribe).
    #[must_use]
    pub fn replay(
        &self,
        topics: impl Into<Topics>,
        after: impl Into<LastEventId>,
        limit: usize,
    ) -> Page {
        self.0.memory.page(&topics.into(), &after.into(), limit)
    }

    /// An [`EventSource`](crate::EventSource) that is every subscriber of the topic.
    pub fn topic(&self, topic: impl Into<Topic>) -> TopicSource {
        TopicSource::new(self.clone(), topic.into())
    }

    /// Refuses new events and subscribers, and lets every stream end. Closing again does nothing.
    pub fn close(&self) {
        let hub = &self.0;
        if hub.memory.close() {
            *hub.closed_at.lock() = Some(hub.memory.timer().now());
            hub.closed.store(true, Ordering::Release);
            hub.memory.wake_all();
            hub.ending.wake_all();
        }
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
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

    /// Completes once the broadcaster is closed and either its last subscriber is gone, or
    /// `grace` has passed since the close.
    ///
    /// A client that has stopped reading can keep its connection, and with it a server that
    /// shuts down gracefully, for ever. Race the server against this, and it ends.
    #[must_use = "futures do nothing unless awaited"]
    pub fn ended(&self, grace: Duration) -> Ended {
        let sleeper = self.0.ending.join();
        Ended {
            hub: self.clone(),
            sleeper,
            grace,
            timed: None,
        }
    }

    /// Whether anybody follows the topic now.
    #[must_use]
    pub fn has_subscribers(&self, topic: &Topic) -> bool {
        self.0.memory.has_subscribers(topic)
    }

    /// What it holds and what it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let hub = &self.0;
        let memory = hub.memory.stats();
        Stats {
            subscribers: hub.subscribers.load(Ordering::Relaxed),
            published: memory.published,
            delivered: memory.delivered,
            delivered_bytes: memory.delivered_bytes,
            gaps: hub.counters.gaps.load(Ordering::Relaxed),
            replayed: hub.counters.replayed.load(Ordering::Relaxed),
            refused: hub.counters.refused.load(Ordering::Relaxed),
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
            .field("subscribers", &self.0.subscribers.load(Ordering::Relaxed))
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What a broadcaster holds and what it has done since it began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Subscribers now.
    pub subscribers: usize,
    /// Events published.
    pub published: u64,
    /// Events handed to subscribers: one that a hundred received counts a hundred times.
    pub delivered: u64,
    /// Their encoded size, in bytes.
    pub delivered_bytes: u64,
    /// Gap events sent.
    pub gaps: u64,
    /// Events handed to subscribers before they first reached the tail.
    pub replayed: u64,
    /// Subscribers refused.
    pub refused: u64,
    /// The place of the newest event.
    pub last: EventId,
    /// What is held of each topic, in no order.
    pub topics: Vec<(Topic, TopicStats)>,
}

/// A subscription that is not opened yet.
///
/// Handed to a framework's `Sse`, or [opened](Self::open) by hand.
#[derive(Clone, Debug)]
#[must_use = "a subscription does nothing until it is opened"]
pub struct Subscribe {
    hub: Broadcaster,
    topics: Topics,
    after: After,
    key: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
enum After {
    Now,
    Oldest,
    Place(LastEventId),
}

impl Subscribe {
    /// Resumes strictly after the place that a client says it saw; from now on if it names none.
    pub fn after(mut self, last: impl Into<LastEventId>) -> Self {
        let last = last.into();
        self.after = if last.is_none() {
            After::Now
        } else {
            After::Place(last)
        };
        self
    }

    /// Begins with everything that is retained.
    pub fn from_oldest(mut self) -> Self {
        self.after = After::Oldest;
        self
    }

    /// Counts this subscriber against the limit per key: a user, a tenant, an address.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().into());
        self
    }

    /// Admits the subscriber, and puts its cursor in place.
    ///
    /// # Errors
    ///
    /// [`Refused`], if a limit is reached or the broadcaster is closed.
    pub fn open(self) -> Result<Subscriber, Refused> {
        let hub = self.hub.0;
        let permit = Hub::admit(&hub, self.key)?;
        let (after, from_oldest) = match self.after {
            After::Now => (LastEventId::none(), false),
            After::Oldest => (LastEventId::none(), true),
            After::Place(last) => (last, false),
        };
        let Ok(mut start) = hub.memory.start(self.topics, &after) else {
            return Err(hub.refuse(RefusedReason::Closing));
        };
        if from_oldest {
            (start.place, start.told) = (0, start.view.evicted());
        }
        Hub::keep_ticking(&hub);
        Ok(Subscriber::new(permit, start))
    }
}

/// A subscriber's place among the others. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) hub: Arc<Hub>,
    key: Option<Arc<str>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let mut keys = self.hub.keys.lock();
            if let Some(count) = keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    keys.remove(key);
                }
            }
        }
        if self.hub.subscribers.fetch_sub(1, Ordering::AcqRel) == 1 && self.hub.is_closed() {
            self.hub.ending.wake_all();
        }
    }
}

impl Hub {
    fn admit(hub: &Arc<Self>, key: Option<Arc<str>>) -> Result<Permit, Refused> {
        if hub.is_closed() {
            return Err(hub.refuse(RefusedReason::Closing));
        }
        let limit = hub.settings.max_subscribers;
        let one_more = |count| (count < limit).then_some(count + 1);
        // `SeqCst` here and in `keep_ticking`, against `tick`: either it sees the subscriber, or
        // the subscriber sees that nothing ticks.
        if hub
            .subscribers
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more)
            .is_err()
        {
            return Err(hub.refuse(RefusedReason::Full));
        }
        // From here on a return gives the place back.
        let mut permit = Permit {
            hub: Arc::clone(hub),
            key: None,
        };
        if let Some(key) = key.filter(|_| hub.settings.max_per_key < usize::MAX) {
            let mut keys = hub.keys.lock();
            let count = keys.entry(Arc::clone(&key)).or_insert(0);
            if *count >= hub.settings.max_per_key {
                drop(keys);
                return Err(hub.refuse(RefusedReason::KeyFull));
            }
            *count += 1;
            permit.key = Some(key);
        }
        Ok(permit)
    }

    fn refuse(&self, reason: RefusedReason) -> Refused {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let retry_after = self.jittered_retry();
        Refused {
            reason,
            retry_after,
            answer: self.settings.when_refused,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn beat(&self) -> u64 {
        self.beat.load(Ordering::Acquire)
    }

    /// The reconnection time, give or take a half: those who leave together should not come
    /// back together.
    fn jittered_retry(&self) -> Duration {
        let base = self.settings.retry.unwrap_or(DEFAULT_RETRY);
        let draw = self
            .jitter
            .hash_one(self.jittered.fetch_add(1, Ordering::Relaxed));
        let share = (draw % 1_000) as u32;
        base / 2 + base * share / 1_000
    }

    /// The last bytes of a stream that the server ends: when to come back.
    pub(crate) fn farewell(&self) -> Option<Bytes> {
        self.settings.retry?;
        let mut bytes = Vec::with_capacity(32);
        write_retry_line(self.jittered_retry(), &mut bytes);
        bytes.push(b'\n');
        Some(bytes.into())
    }

    /// Sees to it that one call of [`tick`](Self::tick) is scheduled, if there is anything to
    /// do for it.
    fn keep_ticking(hub: &Arc<Self>) {
        let Some(every) = hub.tick_interval() else {
            return;
        };
        if !hub.ticking.swap(true, Ordering::SeqCst) {
            let timer = hub.memory.timer();
            let tick = Waker::from(Arc::new(Tick(Arc::downgrade(hub))));
            if timer.wake_at(timer.now() + every, tick).is_err() {
                hub.ticking.store(false, Ordering::Release);
            }
        }
    }

    /// Half a keep-alive interval, so that a stream which was written to just after one tick is
    /// not silent for two; a quarter of the age, if that is shorter.
    fn tick_interval(&self) -> Option<Duration> {
        let beat = self
            .settings
            .keep_alive
            .interval()
            .map(|interval| interval / 2);
        let sweep = self
            .memory
            .retention()
            .age
            .map(|age| (age / 4).max(SHORTEST_SWEEP));
        match (beat, sweep) {
            (Some(beat), Some(sweep)) => Some(beat.min(sweep)),
            (one, other) => one.or(other),
        }
    }

    fn tick(hub: &Arc<Self>) {
        let now = hub.memory.timer().now();
        if let Some(interval) = hub.settings.keep_alive.interval() {
            let mut next_beat = hub.next_beat.lock();
            if next_beat.map_or(true, |next| next <= now) {
                *next_beat = Some(now + interval / 2);
                drop(next_beat);
                hub.beat.fetch_add(1, Ordering::SeqCst);
                hub.memory.wake_all();
            }
        }
        let more_to_sweep = hub.memory.sweep();
        hub.ticking.store(false, Ordering::SeqCst);
        if more_to_sweep || hub.subscribers.load(Ordering::SeqCst) > 0 {
            Self::keep_ticking(hub);
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What the timer calls. It does not keep the broadcaster alive.
struct Tick(Weak<Hub>);

impl Wake for Tick {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            Hub::tick(&hub);
        }
    }
}

/// Chooses what a broadcaster does. Every default is one that a careful operator would choose;
/// each says why.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    retention: Retention,
    lag: LagPolicy,
    keep_alive: KeepAlive,
    gap_name: EventName,
    retry: Option<Duration>,
    max_event_bytes: usize,
    max_subscribers: usize,
    max_per_key: usize,
    max_topics: usize,
    when_refused: WhenRefused,
    timer: Arc<dyn Timer>,
}

const DEFAULT_RETRY: Duration = Duration::from_secs(2);

/// Sweeping more often than this would not make anybody's history better.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);

impl Builder {
    /// How much of each topic is kept for those who return. By default 1,000 records and 1 MiB;
    /// see [`Retention::new`].
    pub fn history(mut self, retention: impl Into<Retention>) -> Self {
        self.retention = retention.into();
        self
    }

    /// What happens to a subscriber that falls behind what is kept. By default
    /// [`LagPolicy::Resume`]: it loses the least, and is told.
    pub fn on_lag(mut self, policy: LagPolicy) -> Self {
        self.lag = policy;
        self
    }

    /// What keeps idle streams alive. By default a comment every 15 seconds, which clears every
    /// idle timeout that is usual between a server and a browser.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// How long clients wait before they reconnect, written in whole milliseconds. By default 2
    /// seconds: soon enough that nobody notices, late enough that a server can restart.
    ///
    /// `None` writes no `retry` at all, for clients that mistake one for an event.
    pub fn retry(mut self, retry: impl Into<Option<Duration>>) -> Self {
        self.retry = retry.into();
        self
    }

    /// The name of gap events. By default `gap`.
    pub fn gap_name(mut self, name: impl Into<EventName>) -> Self {
        self.gap_name = name.into();
        self
    }

    /// The largest event, encoded, in bytes. By default 2 MiB: room for a text of 1 MiB, whose
    /// lines each grow by a field name.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// The most subscribers at once. By default there is no limit, since only you know how many
    /// files your process may open; give it one below that.
    pub fn max_subscribers(mut self, limit: usize) -> Self {
        self.max_subscribers = limit;
        self
    }

    /// The most subscribers at once with the same [key](Subscribe::key). By default no limit.
    pub fn max_per_key(mut self, limit: usize) -> Self {
        self.max_per_key = limit;
        self
    }

    /// The most topics at once, so that whoever may name topics cannot fill the memory. By
    /// default 100,000.
    pub fn max_topics(mut self, limit: usize) -> Self {
        self.max_topics = limit;
        self
    }

    /// How a refused subscriber is answered over HTTP. By default with a status, which every
    /// program understands; [`WhenRefused::Soft`] is for browsers.
    pub fn when_refused(mut self, answer: WhenRefused) -> Self {
        self.when_refused = answer;
        self
    }

    /// The clock. By default [`ThreadTimer`].
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.timer = Arc::new(timer);
        self
    }

    /// The broadcaster.
    #[must_use]
    pub fn build(self) -> Broadcaster {
        let opening = match self.retry {
            None => Bytes::from_static(b":\n"),
            Some(retry) => {
                let mut bytes = Vec::new();
                write_retry_line(retry, &mut bytes);
                bytes.into()
            }
        };
        let settings = Settings {
            lag: self.lag,
            keep_alive_bytes: self.keep_alive.bytes(),
            keep_alive: self.keep_alive,
            gap_name: self.gap_name,
            retry: self.retry,
            opening,
            max_event_bytes: self.max_event_bytes,
            max_subscribers: self.max_subscribers,
            max_per_key: self.max_per_key,
            when_refused: self.when_refused,
        };
        Broadcaster(Arc::new(Hub {
            memory: Memory::with(self.retention, self.max_topics, self.timer),
            settings,
            closed: AtomicBool::new(false),
            closed_at: Mutex::new(None),
            beat: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
            next_beat: Mutex::new(None),
            subscribers: AtomicUsize::new(0),
            keys: Mutex::new(HashMap::new()),
            ending: Waiters::default(),
            counters: Counters::default(),
            jitter: RandomState::new(),
            jittered: AtomicU64::new(0),
        }))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            retention: Retention::new(),
            lag: LagPolicy::default(),
            keep_alive: KeepAlive::default(),
            gap_name: EventName::from_static("gap"),
            retry: Some(DEFAULT_RETRY),
            max_event_bytes: 2 << 20,
            max_subscribers: usize::MAX,
            max_per_key: usize::MAX,
            max_topics: crate::history::DEFAULT_MAX_TOPICS,
            when_refused: WhenRefused::default(),
            timer: Arc::new(ThreadTimer),
        }
    }
}

/// The future of [`Broadcaster::publish`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Publish {
    hub: Broadcaster,
    next: Option<(Topic, Event)>,
}

impl Future for Publish {
    type Output = Result<EventId, PublishError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.next.take() {
            Some((topic, event)) => Poll::Ready(self.hub.publish_now(&topic, &event)),
            // Polled again after it was ready, which no executor does.
            None => Poll::Ready(Err(PublishError::History(HistoryError::Closed))),
        }
    }
}

pin_project! {
    /// The future of [`Broadcaster::close_when`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct CloseWhen<F> {
        #[pin]
        signal: F,
        hub: Broadcaster,
    }
}

impl<F: Future> Future for CloseWhen<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        ready!(this.signal.poll(cx));
        this.hub.close();
        Poll::Ready(())
    }
}

/// The future of [`Broadcaster::ended`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Ended {
    hub: Broadcaster,
    sleeper: Sleeper,
    grace: Duration,
    /// Whom the timer wakes at the deadline, once it knows.
    timed: Option<Waker>,
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let hub = &this.hub.0;
        // Marked before the look, which so cannot find old news.
        this.sleeper.mark(cx.waker());
        let closed_at = hub.is_closed().then(|| *hub.closed_at.lock()).flatten();
        let Some(closed_at) = closed_at else {
            return Poll::Pending;
        };
        let timer = hub.memory.timer();
        let deadline = closed_at + this.grace;
        if hub.subscribers.load(Ordering::Acquire) == 0 || timer.now() >= deadline {
            return Poll::Ready(());
        }
        if !this
            .timed
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            this.timed = Some(cx.waker().clone());
            if timer.wake_at(deadline, cx.waker().clone()).is_err() {
                // Without a timer there is no bound to keep but an early one.
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.hub.0.ending.leave(&self.sleeper);
    }
}
