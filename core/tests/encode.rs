//! What events become on the wire: the shared vectors, byte for byte, and what they leave out.

use std::error::Error;
use std::panic::Location;
use std::time::Duration;

use fanfare_core::{Decoded, Decoder, Event, EventName, Id, InvalidId, InvalidName};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    event: Fields,
    wire: Option<String>,
    decoded: Option<Vec<Received>>,
    decoded_retry: Option<u64>,
    final_last_event_id: Option<String>,
    reject: Option<String>,
}

#[derive(Deserialize)]
struct Fields {
    data: Option<String>,
    event: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    comment: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Received {
    #[serde(rename = "type")]
    name: String,
    data: String,
    last_event_id: String,
}

impl Fields {
    fn into_event(self) -> Result<Event, Box<dyn Error>> {
        let mut event = self.data.map_or_else(Event::new, Event::data);
        if let Some(name) = self.event {
            event = event.name(EventName::new(name)?);
        }
        if let Some(id) = self.id {
            event = event.id(if id.is_empty() {
                Id::reset()
            } else {
                Id::new(id)?
            });
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

#[test]
fn every_vector() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("vectors/encoder.json")).expect("the vectors are valid");
    assert!(vectors.len() >= 30, "only {} vectors", vectors.len());

    for vector in vectors {
        let name = vector.name;
        let event = vector.event.into_event();
        if let Some(reason) = vector.reject {
            assert!(event.is_err(), "{name} must be rejected: {reason}");
            continue;
        }
        let wire = event
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .encode();
        assert_eq!(Some(text(&wire)), vector.wire.as_deref(), "{name}: wire");

        let (received, decoder) = receive(&wire);
        assert_eq!(Some(received), vector.decoded, "{name}: received");
        assert_eq!(
            decoder.last_event_id(),
            vector.final_last_event_id.unwrap_or_default(),
            "{name}: last event id",
        );
        assert_eq!(
            decoder.retry(),
            vector.decoded_retry.map(Duration::from_millis),
            "{name}: retry",
        );
    }
}

#[test]
fn what_the_vectors_leave_out() {
    #[track_caller]
    fn check(event: &Event, wire: &str) {
        assert_eq!(text(&event.encode()), wire);
    }

    // Nothing at all, and what counts as nothing.
    check(&Event::new(), "");
    check(&Event::new().name(""), "");
    check(&Event::data("x").name(""), "data: x\n\n");

    // Blocks without data.
    check(&Event::new().name("ping"), "event: ping\n\n");
    check(
        &Event::new().retry(Duration::from_secs(2)),
        "retry: 2000\n\n",
    );
    check(&Event::new().id(Id::reset()), "id: \n\n");
    check(&Event::new().comment("c").id("1"), ": c\nid: 1\n\n");

    // Line ends of every kind, beside each other.
    check(
        &Event::data("a\r\r\nb\n\rc"),
        "data: a\ndata: \ndata: b\ndata: \ndata: c\n\n",
    );
    check(&Event::data("\r"), "data: \ndata: \n\n");
    check(&Event::data("\r\n\r\n"), "data: \ndata: \ndata: \n\n");

    // Comments are split in the same way; an empty line is a bare colon.
    check(&Event::new().comment("a\r\nb\rc\n"), ": a\n: b\n: c\n:\n");
    check(&Event::new().comment(" a"), ":  a\n");
    check(
        &Event::new().comment("x\n\ndata: forged\n\n"),
        ": x\n:\n: data: forged\n:\n:\n",
    );

    // Bytes that mean nothing here.
    check(
        &Event::data("a\0b\u{b}\u{c}\u{85}\u{2028}"),
        "data: a\0b\u{b}\u{c}\u{85}\u{2028}\n\n",
    );
}

#[test]
fn a_line_end_is_found_wherever_it_stands() {
    // Long enough for the search to go through whole lanes and through what remains.
    for len in 0..70 {
        for at in 0..len {
            for line_end in ["\n", "\r", "\r\n"] {
                let (before, after) = ("x".repeat(at), "y".repeat(len - at));
                let wire = Event::data(format!("{before}{line_end}{after}")).encode();
                assert_eq!(text(&wire), format!("data: {before}\ndata: {after}\n\n"));
            }
        }
    }
}

#[test]
fn retry_is_whole_milliseconds_that_a_timer_can_hold() {
    #[track_caller]
    fn check(delay: Duration, millis: &str) {
        assert_eq!(
            text(&Event::data("x").retry(delay).encode()),
            format!("retry: {millis}\ndata: x\n\n"),
        );
    }
    check(Duration::ZERO, "0");
    check(Duration::from_micros(999), "0");
    check(Duration::from_micros(9_999), "9");
    check(Duration::from_millis(10), "10");
    check(Duration::from_millis(2_147_483_647), "2147483647");
    check(Duration::from_millis(2_147_483_648), "2147483647");
    check(Duration::MAX, "2147483647");
}

#[test]
fn text_that_a_field_cannot_hold_is_refused_with_its_place() {
    let forbidden = |character, at| Err(InvalidName::Forbidden { character, at });
    assert_eq!(EventName::new("a\nb"), forbidden('\n', 1));
    assert_eq!(EventName::new("\u{e9}\rb\n"), forbidden('\r', 2));
    assert_eq!(EventName::try_from(String::from("\0")), forbidden('\0', 0));
    assert_eq!("x\n".parse::<EventName>(), forbidden('\n', 1));
    assert_eq!(
        InvalidName::Forbidden {
            character: '\n',
            at: 1
        }
        .to_string(),
        r"an event name cannot hold '\n', found at byte 1",
    );

    let forbidden = |character, at| Err(InvalidId::Forbidden { character, at });
    assert_eq!(Id::new(""), Err(InvalidId::Empty));
    assert_eq!(Id::new("1\r"), forbidden('\r', 1));
    assert_eq!(Id::new("\n1"), forbidden('\n', 0));
    assert_eq!(Id::try_from(String::from("1\0")), forbidden('\0', 1));
    assert_eq!("1\t2".parse::<Id>(), forbidden('\t', 1));
    assert_eq!(Id::new("1\x7f"), forbidden('\x7f', 1));
    assert_eq!(Id::new(" "), Err(InvalidId::OuterSpace { at: 0 }));
    assert_eq!(Id::new(" 1"), Err(InvalidId::OuterSpace { at: 0 }));
    assert_eq!(Id::new("1 2 "), Err(InvalidId::OuterSpace { at: 3 }));
    assert_eq!(
        InvalidId::OuterSpace { at: 3 }.to_string(),
        "an id cannot begin or end with a space, found at byte 3",
    );
}

#[test]
fn text_that_a_field_can_hold_is_kept() {
    let name = EventName::new(" price \u{2028}\t:").expect("all of it is legal");
    assert_eq!(name.as_str(), " price \u{2028}\t:");
    assert_eq!(name.to_string(), name.as_ref());

    let id = Id::new("a b:\u{2026}").expect("all of it is legal");
    assert_eq!(id.as_str(), "a b:\u{2026}");
    assert_eq!(Id::from(u64::MAX).as_str(), "18446744073709551615");
}

#[test]
fn a_bad_literal_panics_where_it_stands() {
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    // Another test that fails meanwhile is only remembered here, and its own report says the rest.
    let places = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&places);
    let default = take_hook();
    set_hook(Box::new(move |panic| {
        let place = panic.location().map(|at| (at.file().to_owned(), at.line()));
        seen.lock().expect("no panic holds it").extend(place);
    }));
    let line = Location::caller().line();
    let name = catch_unwind(|| Event::data("x").name("a\ndata: forged"));
    let id = catch_unwind(|| Event::data("x").id("1\r"));
    set_hook(default);

    assert!(name.is_err() && id.is_err());
    let places = places.lock().expect("no panic holds it");
    for offset in [1, 2] {
        assert!(
            places.contains(&(file!().to_owned(), line + offset)),
            "{places:?}"
        );
    }
}

#[test]
fn fields_can_be_read_back() {
    let event = Event::data("d")
        .name("e")
        .id(7)
        .retry(Duration::from_secs(1))
        .comment("c");
    assert_eq!(event.data_text(), Some("d"));
    assert_eq!(event.event_name(), Some(&EventName::from_static("e")));
    assert_eq!(event.chosen_id(), Some(&Id::from(7)));
    assert_eq!(event.retry_delay(), Some(Duration::from_secs(1)));
    assert_eq!(event.comment_text(), Some("c"));

    let empty = Event::new();
    assert_eq!(empty, Event::default());
    assert_eq!(empty.data_text(), None);
    assert_eq!(empty.event_name(), None);
    assert_eq!(empty.chosen_id(), None);
    assert_eq!(empty.retry_delay(), None);
    assert_eq!(empty.comment_text(), None);
}

#[cfg(feature = "json")]
#[test]
fn json_is_one_line() {
    let event = Event::json(&serde_json::json!({ "text": "a\r\nb" })).expect("it is JSON");
    assert_eq!(text(&event.encode()), "data: {\"text\":\"a\\r\\nb\"}\n\n");

    let error = Event::json(&std::collections::HashMap::from([(vec![1], 2)]))
        .expect_err("a list cannot be a key");
    assert_eq!(error.to_string(), "the value cannot be written as JSON");
    assert!(error.source().is_some());
}

fn receive(wire: &[u8]) -> (Vec<Received>, Decoder) {
    let mut decoder = Decoder::new();
    decoder.feed(wire).expect("the vectors are short");
    let received = decoder
        .by_ref()
        .filter_map(|decoded| match decoded {
            Decoded::Event(message) => Some(Received {
                name: message.name,
                data: message.data,
                last_event_id: message.last_event_id.to_string(),
            }),
            Decoded::Comment(_) | Decoded::Retry(_) => None,
        })
        .collect();
    (received, decoder)
}

fn text(wire: &[u8]) -> &str {
    std::str::from_utf8(wire).expect("an event stream is UTF-8")
}
