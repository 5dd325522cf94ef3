//! Server-sent events on plain futures: one encoded log, many cursors.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// In the order in which an event travels.
pub mod broadcaster;
mod channel;
mod decode;
mod encode;
mod error;
mod event;
mod gap;
pub mod history;
mod id;
mod keep_alive;
mod record;
pub mod response;
mod source;
mod subscriber;
mod sync;
pub mod timer;
mod topic;
mod wait;

pub use broadcaster::{Broadcaster, Subscribe};
pub use channel::{channel, Client, ClientStream};
pub use decode::{DecodeError, Decoded, Decoder, Message};
pub use error::{PublishError, Refused, RefusedReason, SendError, WhenRefused};
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use event::JsonError;
pub use event::{Event, EventName, Id, InvalidId, InvalidName};
pub use gap::{Gap, GapReason};
pub use history::{History, Retention};
pub use id::{EventId, InvalidEventId, LastEventId};
pub use keep_alive::KeepAlive;
pub use record::Record;
pub use response::EventStream;
pub use source::{forward, EventSource, Forward, TopicSource};
pub use subscriber::{LagPolicy, Subscriber};
pub use topic::{InvalidTopic, Topic, Topics};
