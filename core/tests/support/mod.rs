//! What the tests share: a client that reads, decodes and remembers, and short ways to say what
//! it saw.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_core::broadcaster::Stats;
use fanfare_core::history::Page;
use fanfare_core::{
    Broadcaster, Decoded, Decoder, Event, EventId, LastEventId, Subscribe, Subscriber, Topics,
};
use futures_core::Stream;

/// What a client finds in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Event {
        id: EventId,
        name: String,
        data: String,
    },
    Gap {
        reason: String,
        from: Option<String>,
        to: EventId,
    },
    /// An event that is neither in the log nor a gap: a named keep-alive.
    Other(String),
    Comment(String),
    Retry(Duration),
    End,
}

/// Short, so that a whole stream is a string in a table: `#7`, `gap:expired>6`, `retry`, `end`.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { id, .. } => write!(f, "#{}", id.minor),
            Self::Gap { reason, to, .. } => write!(f, "gap:{reason}>{}", to.minor),
            Self::Other(name) => write!(f, "!{name}"),
            Self::Comment(text) => write!(f, ":{text}"),
            Self::Retry(_) => f.write_str("retry"),
            Self::End => f.write_str("end"),
        }
    }
}

/// A whole stream as one string.
pub fn brief(seen: &[Seen]) -> String {
    let words: Vec<_> = seen.iter().map(ToString::to_string).collect();
    words.join(" ")
}

/// `#first #second ... #last`; nothing if `first` is beyond `last`.
pub fn numbers(first: u64, last: u64) -> String {
    let words: Vec<_> = (first..=last).map(|n| format!("#{n}")).collect();
    words.join(" ")
}

/// Joins what is not empty with spaces.
pub fn words(parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    parts.join(" ")
}

/// A waker that counts.
#[derive(Debug, Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&wakes));
        (wakes, waker)
    }

    /// How often it was woken since the last time that this was asked.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// One poll, whoever is woken by it.
pub fn poll_now<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    let (_, waker) = Wakes::new();
    Pin::new(stream).poll_next(&mut Context::from_waker(&waker))
}

/// What is there now. Fails if nothing is.
pub fn next_now<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    match poll_now(stream) {
        Poll::Ready(item) => item,
        Poll::Pending => panic!("nothing is there"),
    }
}

/// A subscriber with the parser that a browser would have behind it.
#[derive(Debug)]
pub struct Client {
    subscriber: Subscriber,
    decoder: Decoder,
    wakes: Arc<Wakes>,
    waker: Waker,
    opened: bool,
    ended: bool,
}

impl Client {
    pub fn open(subscribe: Subscribe) -> Self {
        Self::new(subscribe.open().expect("admitted"))
    }

    pub fn new(subscriber: Subscriber) -> Self {
        let (wakes, waker) = Wakes::new();
        Self {
            subscriber,
            decoder: Decoder::new(),
            wakes,
            waker,
            opened: false,
            ended: false,
        }
    }

    /// One poll, decoded. What goes out with the headers is checked and left out: a poll that
    /// finds only that is `Ready` with nothing.
    pub fn poll(&mut self) -> Poll<Vec<Seen>> {
        let mut cx = Context::from_waker(&self.waker);
        Pin::new(&mut self.subscriber)
            .poll_next(&mut cx)
            .map(|bytes| self.decode(bytes))
    }

    /// Waits for what comes next.
    pub async fn next(&mut self) -> Vec<Seen> {
        let bytes = std::future::poll_fn(|cx| Pin::new(&mut self.subscriber).poll_next(cx)).await;
        self.decode(bytes)
    }

    /// Everything that is there now, until the subscriber sleeps or its stream is over.
    pub fn drain(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while !self.ended {
            self.wakes.take();
            match self.poll() {
                Poll::Ready(seen) => all.extend(seen),
                // It let others have their turn.
                Poll::Pending if self.wakes.take() > 0 => {}
                Poll::Pending => break,
            }
        }
        all
    }

    /// [`drain`](Self::drain) as one string.
    pub fn drain_brief(&mut self) -> String {
        brief(&self.drain())
    }

    /// Whether it was woken since it was last asked or polled by `drain`.
    pub fn was_woken(&self) -> bool {
        self.wakes.take() > 0
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What a browser would send as `Last-Event-ID`; empty before the first event.
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    fn decode(&mut self, bytes: Option<Bytes>) -> Vec<Seen> {
        let Some(bytes) = bytes else {
            self.ended = true;
            return vec![Seen::End];
        };
        assert!(!self.ended, "nothing follows the end");
        assert!(!bytes.is_empty(), "no piece is empty");
        let before = self.decoder.last_event_id().to_owned();
        self.decoder.feed(&bytes).expect("within the limits");
        let mut last = before;
        let mut seen: Vec<_> = std::iter::from_fn(|| self.decoder.next())
            .map(|decoded| see(decoded, &mut last))
            .collect();
        if !self.opened {
            self.opened = true;
            let opening = seen.remove(0);
            assert!(
                matches!(opening, Seen::Retry(_) | Seen::Comment(_)),
                "a stream opens with a retry or a comment, not with {opening:?}"
            );
        }
        seen
    }
}

fn see(decoded: Decoded, last: &mut String) -> Seen {
    match decoded {
        Decoded::Comment(text) => Seen::Comment(text),
        Decoded::Retry(delay) => Seen::Retry(delay),
        Decoded::Event(message) if &*message.last_event_id != last.as_str() => {
            *last = message.last_event_id.to_string();
            let id = last.parse().expect("an id of ours");
            Seen::Event {
                id,
                name: message.name,
                data: message.data,
            }
        }
        // No id of its own: it does not move the client's place.
        Decoded::Event(message) if message.name == "gap" => {
            let gap: serde_json::Value = serde_json::from_str(&message.data).expect("JSON");
            let text = |field: &str| gap[field].as_str().map(str::to_owned);
            Seen::Gap {
                reason: text("reason").expect("a reason"),
                from: text("from"),
                to: text("to").expect("a place").parse().expect("an id"),
            }
        }
        Decoded::Event(message) => Seen::Other(message.name),
    }
}

/// Publishes one event that says its topic.
pub fn publish(hub: &Broadcaster, topic: &'static str) -> EventId {
    hub.try_publish(topic, Event::data(topic))
        .expect("published")
}

/// Publishes so many, one after another.
pub fn publish_many(hub: &Broadcaster, topic: &'static str, count: u64) {
    for _ in 0..count {
        publish(hub, topic);
    }
}

/// The place `minor` in this broadcaster's log.
pub fn place(hub: &Broadcaster, minor: u64) -> EventId {
    EventId::new(hub.stats().last.major, minor)
}

/// The bytes that all topics hold.
pub fn bytes_held(stats: &Stats) -> usize {
    stats.topics.iter().map(|(_, topic)| topic.bytes).sum()
}

/// The future's output, or a failed test after `limit`: on any runtime, and without the clock that
/// is under test.
pub async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    let (_alive, done) = mpsc::channel::<()>();
    let rings = Arc::clone(&alarm);
    thread::spawn(move || {
        if done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            rings.has_rung.store(true, Ordering::SeqCst);
            let task = rings.task.lock().expect("not poisoned").take();
            task.into_iter().for_each(Waker::wake);
        }
    });
    let deadline = std::future::poll_fn(|cx| {
        *alarm.task.lock().expect("not poisoned") = Some(cx.waker().clone());
        if alarm.has_rung.load(Ordering::SeqCst) {
            panic!("not done within {limit:?}");
        }
        Poll::Pending
    });
    futures_lite::future::or(future, deadline).await
}

#[derive(Default)]
struct Alarm {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

/// A page of the history in memory, which is there at once.
pub fn replay(
    hub: &Broadcaster,
    topics: impl Into<Topics>,
    after: impl Into<LastEventId>,
    limit: usize,
) -> Page {
    let page = futures_lite::future::block_on(hub.replay(topics, after, limit));
    page.expect("in memory")
}

/// How long anything is waited for.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for what another thread does.
#[track_caller]
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reads until the client has seen so many events. Returns all that it has seen.
#[track_caller]
pub fn read(client: &mut Client, events: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let is_event = |seen: &&Seen| matches!(seen, Seen::Event { .. });
    let until = Instant::now() + DEADLINE;
    while seen.iter().filter(is_event).count() < events {
        match client.poll() {
            Poll::Ready(more) => seen.extend(more),
            Poll::Pending => thread::sleep(Duration::from_millis(1)),
        }
        let so_far = brief(&seen);
        assert!(Instant::now() < until, "{events} events, and only {so_far}");
    }
    seen
}

/// The ids of the events.
pub fn ids(seen: &[Seen]) -> Vec<EventId> {
    let id = |seen: &Seen| match seen {
        Seen::Event { id, .. } => Some(*id),
        _ => None,
    };
    seen.iter().filter_map(id).collect()
}

/// The gaps, in short.
pub fn gaps(seen: &[Seen]) -> Vec<String> {
    let is_gap = |seen: &&Seen| matches!(seen, Seen::Gap { .. });
    seen.iter()
        .filter(is_gap)
        .map(ToString::to_string)
        .collect()
}
