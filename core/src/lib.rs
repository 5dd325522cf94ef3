//! Broadcast server-sent events, with replay, on any async runtime.
//!
//! **Every subscriber receives a contiguous run of its topics' events, or is told in the stream
//! exactly where the gap is.** This is the core of [fanfare](https://docs.rs/fanfare), on plain
//! futures: it knows no runtime and no web framework.
//!
//! ```
//! use fanfare_core::{Broadcaster, Event};
//! use futures_lite::{future, StreamExt};
//!
//! let hub = Broadcaster::builder().history(1_000).build();
//! # future::block_on(async {
//! let first = hub.publish("prices", Event::data("1.07")).await?;
//! let second = hub.publish("prices", Event::data("1.08")).await?;
//!
//! // A client returns, and says what it saw last.
//! let mut body = hub.subscribe("prices").after(first).open()?;
//! assert_eq!(body.next().await.unwrap(), "retry: 2000\n");
//! assert_eq!(body.next().await.unwrap(), format!("id: {second}\ndata: 1.08\n\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # The path of an event
//!
//! ```text
//! publish ─► encode ─► append to the log (an id is assigned) ─► wake ─► a cursor advances ─► body
//! ```
//!
//! - [`Event`] is what the application writes, [`Topic`] what it is about; [`Topics`] selects some.
//! - [`EventId`] is a place in the log, [`LastEventId`] where a client says it stopped.
//! - [`Record`] is an event in the log, encoded once; [`History`] is the log that can be read again.
//! - [`Broadcaster`] publishes, admits subscribers and closes; [`EventSource`] is the sink that a
//!   producer is written against, whether a topic or one client ([`channel()`]) stands behind it.
//! - [`Subscriber`] is one client's cursor, a stream of shared bytes; [`Gap`] tells it of a hole,
//!   [`KeepAlive`] keeps it alive.
//! - [`response`] is what a framework's response is made of, [`timer`] the only seam to a clock.
//! - [`Decoder`] reads streams: the standard's parser, incremental and bounded.
//!
//! # Replay
//!
//! A subscriber is a cursor. Given a place, it starts strictly after it: with the next event if that
//! is retained, else with a gap event and then everything that is. Live is a cursor at the tail, so
//! there is no hand-off from replay to live.
//!
//! # Lagging
//!
//! Nobody waits for a slow client, and nothing is queued for it. It reads what it missed from the
//! history; what was evicted meanwhile is announced by a gap event, or ends its stream, as the
//! [`LagPolicy`] says. Memory is bounded by the history's limits, whatever clients do.
//!
//! # Limits and rights
//!
//! Streams are limited in all, per [key](Subscribe::key) and in how fast a key opens them
//! ([`Builder`](broadcaster::Builder)); who comes past a limit is refused as the route
//! [likes](Subscribe::when_refused). A key's streams can be [ended](Broadcaster::disconnect), a right
//! can [expire](Subscribe::expires_in) or be [asked for again](Broadcaster::authorize_every). What a
//! client may see is what the application subscribes it to: replay follows the same topics.
//!
//! # Closing
//!
//! [`Broadcaster::close`] ends every stream: what was published is delivered first, then a `retry`
//! of its own for each client, then a clean end. [`Broadcaster::drain`] does so spread over a window.
//!
//! # Cancel safety
//!
//! Every future and stream may be dropped at any point. An event is published or not, never half.
//!
//! # Pitfalls of server-sent events
//!
//! - A browser's `EventSource` gives up forever on any status but 200; see [`WhenRefused`].
//! - It only shows events whose name has a listener; one without a name is a `message`.
//! - Over HTTP/1.1 a browser opens six connections per host, over all tabs. Many topics fit into
//!   one stream.
//! - Line breaks in data all come back as LF: the wire cannot tell them apart.
//!
//! # Tracing
//!
//! With the feature `tracing`, these are told to the application's subscriber, each with a target of
//! its own; like the names of functions, they are an interface:
//!
//! | target | level | message | fields |
//! |---|---|---|---|
//! | `fanfare::stream` | DEBUG | `opened` | |
//! | `fanfare::stream` | DEBUG | `ended` | `reason`, the word of an [`EndReason`](broadcaster::EndReason) |
//! | `fanfare::stream` | DEBUG | `refused` | `reason`, of a [`RefusedReason`]; `retry_after_seconds` |
//! | `fanfare::stream` | DEBUG | `lagging` | `at`, the id it has |
//! | `fanfare::stream` | DEBUG | `gap` | `reason`, of a [`GapReason`]; `to`, the id it ends at |
//! | `fanfare::publish` | TRACE | `published` | `topic`, `id` |
//! | `fanfare::publish` | DEBUG | `not published` | `error` |
//! | `fanfare::backend` | WARN | `unavailable` | `error`; once, until it is available |
//! | `fanfare::backend` | INFO | `available` | |
//! | `fanfare::backend` | DEBUG | `read failed` | `error`, `tries` |
//! | `fanfare::drain` | INFO | `begun` | `streams`, `window_seconds` |
//! | `fanfare::drain` | INFO | `progress`, up to ten times | `streams`, `open` |
//! | `fanfare::drain` | INFO | `over` | `streams`, `forced`, `took_seconds` |
//!
//! A delivery tells nothing. The keys of streams, the ids that clients send and the data of events are
//! never told, and topics at TRACE only: they may say who somebody is.
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `conformance` | `history::conformance`, the checks that a [`History`] of your own has to pass | no |
//! | `json` | `Event::json` | no |
//! | `http` | [`response::Answer`] and [`LastEventId`] as the types of `http` and `http-body` | no |
//! | `tracing` | what happens to streams, publishes, backends and drains, as [events](#tracing) | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// In the order in which an event travels.
mod event;
mod encode;
mod topic;
mod id;
mod record;
mod source;
pub mod broadcaster;
pub mod history;
mod wait;
mod subscriber;
mod catch_up;
mod gap;
mod keep_alive;
mod channel;
pub mod response;

// What they stand on.
mod decode;
mod error;
mod sync;
mod trace;
pub mod timer;

pub use broadcaster::{Broadcaster, Subscribe, TopicSource};
pub use channel::{channel, Client, ClientStream};
pub use decode::{DecodeError, Decoded, Decoder, Message};
pub use error::{PublishError, Refused, RefusedReason, SendError, WhenRefused};
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use event::JsonError;
pub use event::{Event, EventName, Id, InvalidId, InvalidName};
pub use gap::{Gap, GapReason, LagPolicy};
pub use history::{History, Retention};
pub use id::{EventId, InvalidEventId, LastEventId};
pub use keep_alive::KeepAlive;
pub use record::Record;
pub use response::EventStream;
pub use source::{forward, EventSource, Forward};
pub use subscriber::Subscriber;
pub use topic::{InvalidTopic, Topic, Topics};
