//! [`Append`]: an event on its way into a history, encoded but for its id.

use bytes::Bytes;

use crate::event::Event;
use crate::record::Draft;
use crate::topic::Topic;

/// An event on its way into a [`History`](super::History): encoded once, but for its id, which
/// the history assigns.
///
/// A history that keeps its records elsewhere stores [`block`](Self::block) as it is, and makes
/// a [`Record`](crate::Record) of it again with [`Record::from_block`](crate::Record::from_block).
///
/// ```
/// use fanfare_core::{history::Append, Event, EventId, Record, Topic};
///
/// let append = Append::new(Topic::from_static("prices"), &Event::data("1.07").name("quote"));
/// assert_eq!(append.block(), "event: quote\ndata: 1.07\n\n");
///
/// let (id, topic) = (EventId::new(7, 42), append.topic().clone());
/// let record = Record::from_block(id, topic, append.block());
/// assert_eq!(record.bytes(), "id: 7-42\nevent: quote\ndata: 1.07\n\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an append does nothing until a history is given it"]
pub struct Append {
    topic: Topic,
    block: Bytes,
    key: Option<Box<str>>,
}

impl Append {
    /// Encodes an event for a topic.
    pub fn new(topic: Topic, event: &Event) -> Self {
        Self {
            topic,
            block: Draft::new(event).into_block(),
            key: None,
        }
    }

    /// Makes a repetition harmless: a history that has stored an append with this key returns the
    /// id that it had, and stores nothing.
    ///
    /// For appends whose outcome is [unknown](super::HistoryError::Unknown). A key is remembered
    /// for ten minutes or [`REMEMBERED_KEYS`](super::REMEMBERED_KEYS) keyed appends, whichever is
    /// over first; any text will do, a random one say.
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What the event is about.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The event as it will go over the wire, without the line of its id.
    #[must_use]
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// What makes a repetition harmless, if anything.
    #[must_use]
    pub fn chosen_key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}
