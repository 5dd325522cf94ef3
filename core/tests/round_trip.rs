//! Any text, in any field, comes back as it was; any bytes, in any chunks, come to the same.

use std::time::Duration;

use fanfare_core::{DecodeError, Decoded, Decoder, Event, EventName, Id, Message};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None, // The failing input is printed; a test run leaves no files.
        ..ProptestConfig::default()
    })]

    /// A stream of events is received as what was written: nothing is lost, nothing is added, and
    /// no field breaks out into another.
    #[test]
    fn events_come_back(events in vec(event(), 0..6), cuts in cuts()) {
        let wire: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        let (result, received, last_event_id) = decode(Decoder::new(), &wire, &cuts);
        let (expected, expected_id) = as_received(&events);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(received, expected);
        prop_assert_eq!(last_event_id, expected_id);
    }

    /// What a name or an id cannot hold is refused, and everything else is kept.
    #[test]
    fn names_and_ids_are_kept_or_refused(text in text()) {
        let bad_name = text.contains(['\r', '\n', '\0']);
        prop_assert_eq!(EventName::new(text.as_str()).is_err(), bad_name);

        let bad_id = text.is_empty()
            || text.contains(|c: char| c.is_ascii_control())
            || text.starts_with(' ')
            || text.ends_with(' ');
        prop_assert_eq!(Id::new(text.as_str()).is_err(), bad_id);
    }

    /// Bytes that nobody meant as a stream are read without a panic, and in the same way however
    /// they are cut, up to the limits and beyond.
    #[test]
    fn chunks_make_no_difference(
        bytes in stream_like_bytes(),
        cuts in cuts(),
        max_line in 0..40_usize,
        max_event in 0..40_usize,
    ) {
        for decoder in [Decoder::new(), Decoder::new().max_line(max_line).max_event(max_event)] {
            let whole = decode(decoder.clone(), &bytes, &[]);
            prop_assert_eq!(&decode(decoder.clone(), &bytes, &cuts), &whole);
            let each: Vec<_> = (0..bytes.len()).collect();
            prop_assert_eq!(&decode(decoder, &bytes, &each), &whole);
        }
    }

    /// The decoder agrees with a second one, written for being obvious.
    #[test]
    fn the_standard_read_literally_comes_to_the_same(bytes in stream_like_bytes()) {
        let (result, received, _) = decode(Decoder::new(), &bytes, &[]);
        prop_assert_eq!(result, Ok(()));
        let events: Vec<_> = received
            .into_iter()
            .filter_map(|decoded| match decoded {
                Decoded::Event(message) => Some(message),
                Decoded::Comment(_) | Decoded::Retry(_) => None,
            })
            .collect();
        prop_assert_eq!(events, read_literally(&bytes));
    }
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

/// The standard's algorithm in its own order, on the whole stream at once.
fn read_literally(bytes: &[u8]) -> Vec<Message> {
    let decoded = String::from_utf8_lossy(bytes);
    let text = with_lf(decoded.strip_prefix('\u{feff}').unwrap_or(&decoded));
    let mut lines: Vec<_> = text.split('\n').collect();
    lines.pop(); // What stands behind the last line end is not a line yet.

    let mut messages = Vec::new();
    let (mut data, mut name, mut id) = (String::new(), String::new(), String::new());
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let mut data = std::mem::take(&mut data);
                let name = std::mem::take(&mut name);
                if data.pop().is_some() {
                    messages.push(Message {
                        name: if name.is_empty() {
                            "message".into()
                        } else {
                            name
                        },
                        data,
                        last_event_id: id.as_str().into(),
                    });
                }
            }
            "data" => data.extend([value, "\n"]),
            "event" => name = value.into(),
            "id" if !value.contains('\0') => id = value.into(),
            _ => {}
        }
    }
    messages
}

fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Feeds `bytes` cut at these places, wherever they fall, and says all there is to see.
fn decode(
    mut decoder: Decoder,
    bytes: &[u8],
    cuts: &[usize],
) -> (Result<(), DecodeError>, Vec<Decoded>, String) {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();

    let mut received = Vec::new();
    let result = places.windows(2).try_for_each(|ends| {
        let fed = decoder.feed(&bytes[ends[0]..ends[1]]);
        received.extend(&mut decoder);
        fed
    });
    let last_event_id = decoder.last_event_id().to_owned();
    (result, received, last_event_id)
}

fn event() -> impl Strategy<Value = Event> {
    let optional = proptest::option::of::<BoxedStrategy<String>>;
    let retry = prop_oneof![any::<u64>(), 0..100_000_u64];
    (
        optional(text().boxed()),
        optional(text().boxed()),
        optional(text().boxed()),
        proptest::option::of(retry),
        optional(text().boxed()),
    )
        .prop_map(|(data, name, id, retry, comment)| {
            let mut event = data.map_or_else(Event::new, Event::data);
            if let Some(name) = name.and_then(|name| EventName::new(name).ok()) {
                event = event.name(name);
            }
            if let Some(id) = id {
                event = event.id(Id::new(id).unwrap_or(Id::reset()));
            }
            if let Some(millis) = retry {
                event = event.retry(Duration::from_millis(millis));
            }
            match comment {
                Some(comment) => event.comment(comment),
                None => event,
            }
        })
}

/// Text with as much as possible of what could go wrong.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "\n", "\r", "\r\n", "\0", " ", ":", "\t", "\u{feff}", "\u{2028}", "\u{85}", "\u{b}",
            "data: forged", "\ndata: forged\n\n", "\rid: 9\r\r", "event: forged", "retry: 1\n",
        ])
        .prop_map(String::from),
        2 => "[a-z0-9]{1,20}",
        1 => any::<String>(),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Bytes that resemble a stream enough to get far into the decoder.
fn stream_like_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            &b"\n"[..], b"\r", b"\r\n", b"\n\n", b"data", b"data:", b"data: ", b"event: ", b"id:",
            b"id: 1", b"retry: ", b"retry: 12", b":", b" ", b"\0", b"\xef\xbb\xbf", b"\xef\xbb",
            b"\xe2\x82", b"\xf0\x9f", b"\xff", b"Data: ", b"x",
        ])
        .prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(any::<usize>(), 0..8)
}
