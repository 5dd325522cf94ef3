//! What a private stream looks like: the events of one request, answered to that request alone.

use std::fmt;
use std::time::Duration;

use fanfare::{Event, EventName, Id};
use futures_lite::{stream, Stream};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Reply;

/// The most events that are sent back: each takes far more than the three bytes that JSON may have it in.
const MAX_EVENTS: usize = 1_000;

/// An event as JSON has it. What is left out is not sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    data: Option<String>,
    event: Option<String>,
    /// Empty for the reset of the client's last event id.
    id: Option<String>,
    /// In milliseconds.
    retry: Option<u64>,
    comment: Option<String>,
}

/// What an array begins with. Of more than [`MAX_EVENTS`], one too many is kept, which shows it.
struct Beginning(Vec<Fields>);

/// The events in a JSON array, `[{"data": "hello", "event": "greeting"}]`.
///
/// Fails with a 400 if it is not such an array, or has too many events, or if a name or an id could break
/// out of its field.
pub(crate) fn parse(events: &[u8]) -> Result<impl Stream<Item = Event> + Send, Reply> {
    let Beginning(events) = serde_json::from_slice(events)
        .map_err(|_| Reply::error(400, "the body is a JSON array of events"))?;
    if events.len() > MAX_EVENTS {
        let words = format!("at most {MAX_EVENTS} events are sent back");
        return Err(Reply::error(400, words));
    }
    let events = events.into_iter().map(Fields::into_event);
    Ok(stream::iter(events.collect::<Result<Vec<_>, _>>()?))
}

impl<'de> Deserialize<'de> for Beginning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BeginningVisitor)
    }
}

struct BeginningVisitor;

impl<'de> Visitor<'de> for BeginningVisitor {
    type Value = Beginning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Beginning, A::Error> {
        let mut events = Vec::new();
        while events.len() <= MAX_EVENTS {
            match array.next_element()? {
                Some(event) => events.push(event),
                None => return Ok(Beginning(events)),
            }
        }
        // serde wants an array to be read to its end.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Beginning(events))
    }
}

impl Fields {
    fn into_event(self) -> Result<Event, Reply> {
        let mut event = self.data.map_or_else(Event::new, Event::data);
        if let Some(name) = self.event {
            event = event.name(EventName::new(name).map_err(|error| Reply::error(400, error))?);
        }
        match self.id.as_deref() {
            None => {}
            Some("") => event = event.id(Id::reset()),
            Some(id) => event = event.id(Id::new(id).map_err(|error| Reply::error(400, error))?),
        }
        if let Some(millis) = self.retry {
            event = event.retry(Duration::from_millis(millis));
        }
        if let Some(comment) = self.comment {
            event = event.comment(comment);
        }
        Ok(event)
    }
}
