//! Events: whatever text they hold comes back as it was, and nothing breaks out of its field.

use std::str;
use std::time::Duration;

use fanfare_core::{Decoded, Decoder, Event, EventId, EventName, Id, Message, Record, Topic};

use super::decoder::{decode, with_lf};
use super::SEPARATOR;

/// Fields with separators between them, each a letter and its text; without a letter, the next
/// event begins.
pub(crate) fn check(input: &[u8]) {
    let mut events = vec![Fields::default()];
    for field in input.split(|&byte| byte == SEPARATOR) {
        match (field.split_first(), events.last_mut()) {
            (Some((letter, text)), Some(event)) => {
                event.set(*letter, &String::from_utf8_lossy(text));
            }
            _ => events.push(Fields::default()),
        }
    }
    for event in &events {
        nothing_breaks_out_of_its_field(&event.to_event());
        a_record_is_its_event(event);
    }
    let events: Vec<_> = events.iter().map(Fields::to_event).collect();
    events_come_back(&events, &[input.len() / 2]);
}

/// What an event is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) data: Option<String>,
    pub(crate) name: Option<EventName>,
    pub(crate) id: Option<Id>,
    pub(crate) retry: Option<Duration>,
    pub(crate) comment: Option<String>,
}

impl Fields {
    fn set(&mut self, letter: u8, text: &str) {
        match letter {
            b'n' => self.name = EventName::new(text).ok(),
            b'i' => self.id = Some(Id::new(text).unwrap_or(Id::reset())),
            b'r' => self.retry = text.parse().ok().map(Duration::from_millis),
            b'c' => self.comment = Some(text.to_owned()),
            _ => self.data = Some(text.to_owned()),
        }
    }

    pub(crate) fn to_event(&self) -> Event {
        let fields = self.clone();
        let mut event = fields.data.map_or_else(Event::new, Event::data);
        if let Some(name) = fields.name {
            event = event.name(name);
        }
        if let Some(id) = fields.id {
            event = event.id(id);
        }
        if let Some(delay) = fields.retry {
            event = event.retry(delay);
        }
        match fields.comment {
            Some(comment) => event.comment(comment),
            None => event,
        }
    }
}

/// A stream of events is received as what was written: nothing is lost, nothing is added.
pub(crate) fn events_come_back(events: &[Event], cuts: &[usize]) {
    let wire: Vec<u8> = events.iter().flat_map(Event::encode).collect();
    let (received, last_event_id) = as_received(events);
    assert_eq!(
        decode(Decoder::new(), &wire, cuts),
        (Ok(()), received, last_event_id)
    );
}

/// Each line on the wire is of a field that the event has, as often as its text has lines; one
/// blank line ends those that are more than a comment.
fn nothing_breaks_out_of_its_field(event: &Event) {
    let wire = event.encode();
    let wire = str::from_utf8(&wire).expect("the wire is UTF-8");
    assert!(!wire.contains('\r') && (wire.is_empty() || wire.ends_with('\n')));
    let lines: Vec<_> = wire.split_terminator('\n').collect();
    let count = |field: &str| lines.iter().filter(|line| line.starts_with(field)).count();

    let lines_of = |text: Option<&str>| text.map_or(0, |text| with_lf(text).split('\n').count());
    let name = event.event_name().filter(|name| !name.as_str().is_empty());
    let (comments, mut others) = (lines_of(event.comment_text()), 0);
    assert_eq!(count(":"), comments);
    for (field, expect) in [
        ("data: ", lines_of(event.data_text())),
        ("event: ", usize::from(name.is_some())),
        ("id: ", usize::from(event.chosen_id().is_some())),
        ("retry: ", usize::from(event.retry_delay().is_some())),
    ] {
        assert_eq!(count(field), expect, "{field}");
        others += expect;
    }
    let blank = usize::from(others > 0);
    assert_eq!(lines.len(), comments + others + blank, "{wire:?}");
    assert_eq!(lines.last() == Some(&""), blank == 1, "{wire:?}");
}

/// A history that kept an event's block makes the event of it again, with an id of the log's.
fn a_record_is_its_event(fields: &Fields) {
    let id = EventId::new(u64::MAX, 7);
    let sent = |id| Fields {
        // A block has fields, or it has no blank line.
        data: Some(fields.data.clone().unwrap_or_default()),
        id,
        ..fields.clone()
    };
    let block = sent(None).to_event().encode();
    let record = Record::from_block(id, Topic::from_static("t"), &block);
    let expect = sent(Id::new(id.to_string()).ok()).to_event();
    assert_eq!(*record.bytes(), expect.encode());

    let (received, _) = as_received(&[expect]);
    let message = received.into_iter().find_map(|decoded| match decoded {
        Decoded::Event(message) => Some(message),
        Decoded::Comment(_) | Decoded::Retry(_) => None,
    });
    assert_eq!(record.message(), message);
}

/// What a client receives of these events: data with LF for every line end, ids that last until
/// the next one, comments by line.
fn as_received(events: &[Event]) -> (Vec<Decoded>, String) {
    let mut received = Vec::new();
    let mut last_event_id = String::new();
    for event in events {
        if let Some(comment) = event.comment_text() {
            let comment = with_lf(comment);
            received.extend(
                comment
                    .split('\n')
                    .map(|line| Decoded::Comment(line.into())),
            );
        }
        if let Some(delay) = event.retry_delay() {
            let millis = delay.as_millis().min(2_147_483_647) as u64;
            received.push(Decoded::Retry(Duration::from_millis(millis)));
        }
        if let Some(id) = event.chosen_id() {
            last_event_id = id.to_string();
        }
        if let Some(data) = event.data_text() {
            let name = event.event_name().map_or("", EventName::as_str);
            received.push(Decoded::Event(Message {
                name: if name.is_empty() {
                    "message".into()
                } else {
                    name.into()
                },
                data: with_lf(data),
                last_event_id: last_event_id.as_str().into(),
            }));
        }
    }
    (received, last_event_id)
}
