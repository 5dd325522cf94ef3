//! What a private stream looks like: the events of one request, answered to that request alone.

use std::time::Duration;

use fanfare::{Event, EventName, Id};
use futures_lite::{stream, Stream};
use serde::Deserialize;

use crate::Reply;

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

/// The events in a JSON array, `[{"data": "hello", "event": "greeting"}]`.
///
/// Fails with a 400 if it is not such an array, or if a name or an id could break out of its field.
pub(crate) fn parse(events: &[u8]) -> Result<impl Stream<Item = Event> + Send, Reply> {
    let events: Vec<Fields> = serde_json::from_slice(events)
        .map_err(|_| Reply::error(400, "the body is a JSON array of events"))?;
    let events = events.into_iter().map(Fields::into_event);
    Ok(stream::iter(events.collect::<Result<Vec<_>, _>>()?))
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
