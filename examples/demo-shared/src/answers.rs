//! What the demo's routes answer, whatever the framework.

// What is turned into text is taken by value, which reads best where it is called.
#![allow(clippy::needless_pass_by_value)]

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fanfare::broadcaster::Stats;
use fanfare::response::Answer;
use fanfare::{
    Broadcaster, Decoded, Decoder, Event, EventId, EventName, EventStream, Gap, LastEventId,
    PublishError, Record, Refused, Topic, Topics,
};
use futures_lite::{future, StreamExt};
use futures_timer::Delay;
use serde_json::{json, Map, Value};

use crate::access::{Access, Credentials};
use crate::names::Names;
use crate::prometheus::Prometheus;
use crate::query::Query;
use crate::{echo, Flags, Reply};

/// The most records in one answer to a client that polls.
const PAGE_RECORDS: usize = 1_000;

/// What the broadcaster calls its gap events.
const GAP: &str = "gap";

/// The most streams that are shown at once.
const MAX_STREAMS: usize = 1_000;

/// How long a body may take if no flag says.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a long poll is held if it does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(25);

/// The longest that a long poll is held, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The application's state.
#[derive(Clone, Debug)]
pub struct Demo {
    hub: Broadcaster,
    access: Access,
    prometheus: Arc<Prometheus>,
    body_timeout: Duration,
    names: Arc<Names>,
}

impl Demo {
    /// The demo that the flags ask for: its broadcaster, and this machine's metrics published there.
    ///
    /// # Errors
    ///
    /// If its history cannot be kept where they say, or the system refuses a thread or random numbers.
    pub fn start(flags: &Flags) -> io::Result<Self> {
        let access = Access::of(flags)?;
        let hub = crate::broadcaster(flags)?;
        let demo = Self::with_access(hub, access, flags.body_timeout())?;
        if let Some(every) = flags.metrics_every() {
            crate::publish_metrics(&demo, every)?;
        }
        Ok(demo)
    }

    /// A demo around a broadcaster, open to everybody; one in a process.
    ///
    /// # Errors
    ///
    /// If the system refuses random numbers, or there is another.
    pub fn new(hub: Broadcaster) -> io::Result<Self> {
        Self::with_access(hub, Access::open()?, BODY_TIMEOUT)
    }

    fn with_access(hub: Broadcaster, access: Access, body_timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            prometheus: Prometheus::install(&hub)?,
            hub,
            access,
            body_timeout,
            names: Arc::default(),
        })
    }

    /// Reads a body, which must be there in time: else half of one would keep its connection, and what has
    /// come of it, forever.
    ///
    /// # Errors
    ///
    /// Those of reading; 408 if it has not come in time.
    pub async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, Reply>>,
    ) -> Result<T, Reply> {
        let time_is_over = async {
            Delay::new(self.body_timeout).await;
            Err(Reply::too_slow())
        };
        future::or(read, time_is_over).await
    }

    /// The broadcaster.
    #[must_use]
    pub fn hub(&self) -> &Broadcaster {
        &self.hub
    }

    /// Whether somebody may do what needs the token: all but reading the pages, the counters, and,
    /// with a ticket, [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// A 401.
    pub fn check_token(&self, credentials: &Credentials) -> Result<(), Reply> {
        self.access.check_token(credentials)
    }

    /// `POST /tickets?topics=a,b`: a ticket for one client address, for who may do what needs the
    /// token.
    ///
    /// # Errors
    ///
    /// A 400 if the query selects no topics, or too many.
    pub fn ticket(&self, query: &str, client: IpAddr) -> Result<Reply, Reply> {
        let query = Query::parse(query, &["topics"])?;
        let topics = parse_topics(query.text("topics")?.unwrap_or("all"))?;
        self.access.issue(&key(client), topics)
    }

    /// `GET /events/{topics}`: a stream for one client address, or what the broadcaster answers where
    /// there is no place for one more.
    ///
    /// # Errors
    ///
    /// A 400 if the text selects no topics; a 401 without the token or a ticket; a 429 past the client's
    /// own limits.
    pub async fn events(
        &self,
        topics: &str,
        last: impl Into<LastEventId>,
        client: IpAddr,
        credentials: Credentials,
    ) -> Result<Answer, Reply> {
        let topics = parse_topics(topics)?;
        let grant = self.access.check(&credentials, &topics).await?;
        let mut subscribe = self.hub.subscribe(topics).after(last).key(key(client));
        if let Some(grant) = grant {
            // The address to which the ticket was issued, if that is another.
            subscribe = subscribe.key(grant.key);
        }
        admitted(subscribe.open())
    }

    /// `POST /publish/{topic}?event=NAME`. Without `event` the event is named after its topic; an
    /// empty name is none, and such an event a page's `onmessage` sees.
    ///
    /// # Errors
    ///
    /// A 400 if the topic, the query or the data cannot be used; what [`PublishError::status`] says
    /// if the broadcaster does not take it.
    pub async fn publish(&self, topic: &str, query: &str, data: &[u8]) -> Result<Reply, Reply> {
        let query = Query::parse(query, &["event"])?;
        let event = query.text("event")?;
        let Ok(data) = std::str::from_utf8(data) else {
            return Err(Reply::error(400, "an event's data is UTF-8"));
        };
        let published = self.announce_and_publish(topic, event, data.to_owned());
        match published.await {
            Ok(id) => Ok(Reply::new(202, json!({ "id": id.to_string() }))),
            Err(error) => Err(Reply::error(error.status(), error)),
        }
    }

    /// Publishes, after having announced the event's name if it is new: a page's `EventSource`
    /// only sees names that it has a listener for.
    ///
    /// # Errors
    ///
    /// See [`NotPublished`].
    pub async fn announce_and_publish(
        &self,
        topic: &str,
        event: Option<&str>,
        data: String,
    ) -> Result<EventId, NotPublished> {
        let topic = Topic::new(topic).map_err(|error| NotPublished::Words(error.to_string()))?;
        let name = EventName::new(event.unwrap_or(topic.as_str()).to_owned())
            .map_err(|error| NotPublished::Words(error.to_string()))?;
        if name.as_str() == GAP {
            // Pages tell it from a real one by its id; people do not.
            let words = "an event called `gap` is the server's own: give it another name";
            return Err(NotPublished::Words(words.to_owned()));
        }
        self.names.announce(&self.hub, name.as_str()).await?;
        let event = Event::data(data).name(name);
        Ok(self.hub.publish(topic, event).await?)
    }

    /// `POST /echo`: the events in a JSON array, `[{"data": "hello", "event": "greeting"}]`.
    ///
    /// Any stream of [`Event`]s becomes a framework's `Sse`, with the same headers, a first byte at
    /// once and signs of life. It ends where the stream ends. An answer that a language model writes
    /// word by word is such a stream. The broadcaster counts it with all others, and ends it with
    /// them.
    ///
    /// # Errors
    ///
    /// A 400 if it is not such an array, or a long one, or if a name or an id could break out of its
    /// field; a 429 past the client's own limits.
    pub fn echo(&self, events: &[u8], client: IpAddr) -> Result<Answer, Reply> {
        let stream = EventStream::new(echo::parse(events)?);
        admitted(self.hub.private(stream).key(key(client)).open())
    }

    /// `DELETE /streams?client=ADDRESS`: ends every stream of a client address now.
    ///
    /// # Errors
    ///
    /// A 400 if `client` is not an address.
    pub fn disconnect(&self, query: &str) -> Result<Reply, Reply> {
        let query = Query::parse(query, &["client"])?;
        let client = query.text("client")?.and_then(|text| text.parse().ok());
        let Some::<IpAddr>(client) = client else {
            return Err(Reply::error(400, "`client` is an IP address"));
        };
        let ended = self.hub.disconnect(&key(client));
        Ok(Reply::new(200, json!({ "ended": ended })))
    }

    /// `GET /debug/streams`: the topics, and where the oldest streams are in them.
    #[must_use]
    pub fn debug(&self) -> Reply {
        let streams = self.hub.streams();
        let shown = streams.iter().take(MAX_STREAMS).map(|stream| {
            let keys: Vec<&str> = stream.keys.iter().map(AsRef::as_ref).collect();
            json!({
                "keys": keys,
                "topics": stream.topics.as_ref().map(ToString::to_string),
                "behind": stream.behind,
                "age": stream.age.as_secs_f64(),
            })
        });
        let stats = self.hub.stats();
        Reply::new(
            200,
            json!({
                "subscribers": stats.subscribers,
                "last": stats.last.to_string(),
                "draining": self.hub.is_draining(),
                "topics": topics_json(&stats),
                "streams": shown.collect::<Vec<_>>(),
                "not_shown": streams.len().saturating_sub(MAX_STREAMS),
            }),
        )
    }

    /// `GET /poll?after=ID&topics=a,b`.
    ///
    /// # Errors
    ///
    /// A 400 if the query selects no topics. An id that cannot be used is a gap, and no error.
    pub async fn poll(&self, query: &str) -> Result<Reply, Reply> {
        let query = Query::parse(query, &["after", "topics"])?;
        let topics = parse_topics(query.text("topics")?.unwrap_or("all"))?;
        self.page(&topics, &last_event_id(&query)).await
    }

    /// `GET /long-poll?after=ID&topics=a,b&wait=SECONDS`.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll); a 400 if `wait` is not a number of seconds; a 503 or 429 if there
    /// is no place for one more client.
    pub async fn long_poll(&self, query: &str, client: IpAddr) -> Result<Reply, Reply> {
        let query = Query::parse(query, &["after", "topics", "wait"])?;
        let topics = parse_topics(query.text("topics")?.unwrap_or("all"))?;
        let wait = query.bytes("wait").map_or(Ok(DEFAULT_WAIT), parse_wait)?;
        let mut after = last_event_id(&query);
        if after.is_none() {
            // Nothing was seen: everything from now on is news.
            after = self.hub.last_id().into();
        }
        let news = self.hub.subscribe(&topics).after(&after).key(key(client));
        let news = wait_for_news(news.open().map_err(Reply::refused)?);
        let time_is_over = async {
            Delay::new(wait).await;
        };
        future::or(news, time_is_over).await;
        self.page(&topics, &after).await
    }

    async fn page(&self, topics: &Topics, after: &LastEventId) -> Result<Reply, Reply> {
        let page = self.hub.replay(topics, after, PAGE_RECORDS).await;
        let page = page.map_err(|error| Reply::error(503, error))?;
        let events: Vec<Value> = page.records.iter().filter_map(event_json).collect();
        Ok(Reply::new(
            200,
            json!({
                "events": events,
                "last": page.last.to_string(),
                "gap": page.gap.as_ref().map(gap_json),
            }),
        ))
    }

    /// `GET /metrics`, of the type [`METRICS_TYPE`](crate::METRICS_TYPE).
    #[must_use]
    pub fn metrics(&self) -> String {
        self.prometheus.page()
    }

    /// `GET /stats`.
    pub async fn stats(&self) -> Reply {
        self.names.learn(&self.hub).await;
        let stats = self.hub.stats();
        Reply::new(
            200,
            json!({
                "needs_token": self.access.needs_token(),
                "subscribers": stats.subscribers,
                "published": stats.published,
                "delivered": stats.delivered,
                "gaps": stats.gaps.total(),
                "replayed": stats.replayed,
                "rejected": stats.refused.total(),
                "last": stats.last.to_string(),
                "names": self.names.all(),
                "backend": stats.backend.map(|backend| json!({
                    "ready": backend.is_ready,
                    "reads": backend.reads,
                    "failures": backend.failures,
                })),
                "topics": topics_json(&stats),
            }),
        )
    }
}

/// Why the demo did not publish an event.
#[derive(Debug)]
pub enum NotPublished {
    /// The topic or the name cannot be one; in words.
    Words(String),
    /// The broadcaster did not take it.
    Publish(PublishError),
}

impl NotPublished {
    fn status(&self) -> u16 {
        match self {
            Self::Words(_) => 400,
            Self::Publish(error) => error.status(),
        }
    }
}

impl std::fmt::Display for NotPublished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Publish(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotPublished {}

impl From<PublishError> for NotPublished {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

/// Until there is an event or a gap, or the stream has ended.
async fn wait_for_news(mut subscriber: fanfare::Subscriber) {
    let mut decoder = Decoder::new();
    while let Some(bytes) = subscriber.next().await {
        // Our own encoding, which the decoder takes; were it not, there would be news to fetch.
        if decoder.feed(&bytes).is_err() {
            return;
        }
        if decoder
            .by_ref()
            .any(|decoded| matches!(decoded, Decoded::Event(_)))
        {
            return;
        }
    }
}

/// What a client's streams are known by. One of IPv4 has an address of IPv6's where the listener takes
/// both; it is the same client.
fn key(client: IpAddr) -> String {
    client.to_canonical().to_string()
}

/// A stream, or what its client is told instead. Past limits of its own that is a 429, however those are
/// answered who find the house full.
fn admitted(opened: Result<impl Into<Answer>, Refused>) -> Result<Answer, Reply> {
    match opened {
        Ok(stream) => Ok(stream.into()),
        Err(refused) if refused.status() == 429 => Err(Reply::refused(refused)),
        Err(refused) => Ok(refused.into()),
    }
}

fn parse_topics(text: &str) -> Result<Topics, Reply> {
    text.parse().map_err(|error| Reply::error(400, error))
}

/// A number of seconds, fractions allowed, of which at most [`MAX_WAIT`] is waited.
fn parse_wait(seconds: &[u8]) -> Result<Duration, Reply> {
    let seconds = std::str::from_utf8(seconds).ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(wait)) => Ok(wait.min(MAX_WAIT)),
        _ => Err(Reply::error(400, "`wait` is a number of seconds")),
    }
}

fn last_event_id(query: &Query) -> LastEventId {
    LastEventId::from_request(query.bytes("after"), None)
}

fn event_json(record: &Record) -> Option<Value> {
    let message = record.message()?;
    Some(json!({
        "id": record.id().to_string(),
        "topic": record.topic().as_str(),
        "event": message.name,
        "data": message.data,
    }))
}

fn topics_json(stats: &Stats) -> Map<String, Value> {
    let id = |id: Option<EventId>| id.map(|id| id.to_string());
    let topics = stats.topics.iter().map(|(topic, stats)| {
        let stats = json!({
            "records": stats.records,
            "bytes": stats.bytes,
            "oldest": id(stats.oldest),
            "newest": id(stats.newest),
            "subscribers": stats.subscribers,
        });
        (topic.to_string(), stats)
    });
    topics.collect()
}

fn gap_json(gap: &Gap) -> Value {
    json!({ "reason": gap.reason.as_str(), "from": gap.from, "to": gap.to.to_string() })
}
