//! [`Builder`]: what a broadcaster does, and why by default.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backend::Backend;
use super::feed;
use super::hub::Hub;
use super::lease::{KeyFull, KeyLimits};
use super::rate::Rate;
use super::Broadcaster;
use crate::encode::write_retry_line;
use crate::error::WhenRefused;
use crate::event::EventName;
use crate::gap::LagPolicy;
use crate::history::{History, Limits, Memory, Retention};
use crate::keep_alive::KeepAlive;
use crate::timer::{ThreadTimer, Timer};

/// Chooses what a broadcaster does. Every default is one that a careful operator would choose;
/// each says why.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    retention: Retention,
    backend: Option<Arc<dyn History>>,
    lag: LagPolicy,
    keep_alive: KeepAlive,
    gap_name: EventName,
    retry: Option<Duration>,
    max_event_bytes: usize,
    end_name: Option<EventName>,
    max_subscribers: usize,
    per_key: KeyLimits,
    max_lifetime: Option<Duration>,
    max_topics: usize,
    max_history_bytes: usize,
    when_refused: WhenRefused,
    timer: Arc<dyn Timer>,
}

const LIMITS: Limits = Limits::new(Retention::new());

/// How long clients wait before they return, where nothing else is said.
pub(super) const DEFAULT_RETRY: Duration = Duration::from_secs(2);

impl Builder {
    /// How much of each topic is kept for those who return. By default 1,000 records and 1 MiB;
    /// see [`Retention::new`].
    pub fn history(mut self, retention: impl Into<Retention>) -> Self {
        self.retention = retention.into();
        self
    }

    /// The history behind this one: records outlive the process, or are shared with others. By
    /// default there is none, and the history is this process's memory.
    ///
    /// It assigns the ids and has a retention of its own. What [`history`](Self::history) keeps is
    /// then the window in front of it, from which subscribers read; who is older than the window
    /// pages through the backend first, and notices nothing. A thread of the broadcaster's own
    /// reads the backend's tail into the window.
    pub fn backend(mut self, history: impl History) -> Self {
        self.backend = Some(Arc::new(history));
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
    /// `None` writes no `retry` into any stream, for clients that mistake one for an event. A refusal
    /// that is answered [softly](WhenRefused::Soft) still has one: it consists of nothing else.
    pub fn retry(mut self, retry: impl Into<Option<Duration>>) -> Self {
        self.retry = retry.into();
        self
    }

    /// The name of gap events. By default `gap`.
    ///
    /// It is not kept from publishers. If strangers may name events, refuse this name; a client can
    /// tell their event from a [gap](crate::Gap) by its id.
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

    /// The name of the event with which a stream ends that the server ends, so that a page can tell
    /// why: its data is `{"reason":"expired"}`, with the word of the
    /// [`EndReason`](super::EndReason). By default there is none.
    ///
    /// A browser's `EventSource` comes back after every end; a page that should not closes it when it
    /// sees this event.
    pub fn end_name(mut self, name: impl Into<EventName>) -> Self {
        self.end_name = Some(name.into());
        self
    }

    /// The most streams at once. By default there is no limit, since only you know how many
    /// files your process may open; give it one below that. A client over it is refused; no stream is
    /// ended to make room, since its client would come back.
    pub fn max_subscribers(mut self, limit: usize) -> Self {
        self.max_subscribers = limit;
        self
    }

    /// The most streams at once with the same [key](super::Subscribe::key). By default no limit.
    pub fn max_per_key(mut self, limit: usize) -> Self {
        self.per_key.streams = limit;
        self
    }

    /// What happens to a key's streams past [`max_per_key`](Self::max_per_key). By default
    /// [`KeyFull::Refuse`]. With [`KeyFull::EndOldest`], up to twice as many may be open for a
    /// while: those that were ended, until their clients have read it.
    pub fn when_key_full(mut self, what: KeyFull) -> Self {
        self.per_key.when_full = what;
        self
    }

    /// How fast new streams of the same [key](super::Subscribe::key) may be opened. By default there
    /// is no limit.
    ///
    /// At most 65,536 keys are remembered. Beyond that, the key that may open its next stream soonest
    /// is forgotten, so that a flood of new keys does not clear one that has opened too many.
    pub fn max_rate_per_key(mut self, rate: Rate) -> Self {
        self.per_key.rate = Some(rate);
        self
    }

    /// How long any stream may last: a tenth less at most, another for each, so that those who came
    /// together do not come back together. By default forever.
    ///
    /// Load balancers and proxies cut connections after a time that is fixed, an hour, say, wherever
    /// the stream is. One that ends before, between two events, costs its client a reconnect and
    /// nothing else.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// The most topics with a history at once, so that whoever may name topics cannot fill the
    /// memory. By default 16,384.
    ///
    /// One more takes the place of the topic with the oldest record that no subscriber names;
    /// who comes back for that is told of a gap. If each is named by a subscriber, the event is
    /// refused; with a [backend](Self::backend) it is kept there alone, and to who follows its topic
    /// happens what [`on_lag`](Self::on_lag) says. Topics that are followed and have no history do not count:
    /// [`max_subscribers`](Self::max_subscribers) bounds those.
    pub fn max_topics(mut self, limit: usize) -> Self {
        self.max_topics = limit;
        self
    }

    /// The most bytes that the history of all topics takes together: beyond it the oldest
    /// records of all go first. By default 256 MiB.
    pub fn max_history_bytes(mut self, bytes: usize) -> Self {
        self.max_history_bytes = bytes;
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
            end_name: self.end_name,
            max_subscribers: self.max_subscribers,
            per_key: self.per_key,
            max_lifetime: self.max_lifetime,
            when_refused: self.when_refused,
        };
        let limits = Limits {
            retention: self.retention,
            topics: self.max_topics,
            bytes: self.max_history_bytes,
        };
        let Some(history) = self.backend else {
            let memory = Memory::with(limits, self.timer);
            return Broadcaster::of(Hub::new(memory, None, settings));
        };
        let backend = Arc::new(Backend::new(history, Arc::clone(&self.timer)));
        let memory = Memory::in_front(limits, self.timer);
        let hub = Hub::new(memory, Some(Arc::clone(&backend)), settings);
        let broadcaster = Broadcaster::of(hub);
        feed::start(broadcaster.hub(), &backend);
        broadcaster
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            retention: Retention::new(),
            backend: None,
            lag: LagPolicy::default(),
            keep_alive: KeepAlive::default(),
            gap_name: EventName::from_static("gap"),
            retry: Some(DEFAULT_RETRY),
            max_event_bytes: 2 << 20,
            end_name: None,
            max_subscribers: usize::MAX,
            per_key: KeyLimits {
                streams: usize::MAX,
                when_full: KeyFull::default(),
                rate: None,
            },
            max_lifetime: None,
            max_topics: LIMITS.topics,
            max_history_bytes: LIMITS.bytes,
            when_refused: WhenRefused::default(),
            timer: Arc::new(ThreadTimer),
        }
    }
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
    pub(super) max_event_bytes: usize,
    pub(super) end_name: Option<EventName>,
    pub(super) max_subscribers: usize,
    pub(super) per_key: KeyLimits,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) when_refused: WhenRefused,
}
