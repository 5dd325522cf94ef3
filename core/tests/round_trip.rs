//! Any text, in any field, comes back as it was; any bytes, in any chunks, come to the same.

mod properties;

use std::time::Duration;

use fanfare_core::{Event, EventName, Id};
use properties::decoder::Limits;
use properties::round_trip::Fields;
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
        properties::round_trip::events_come_back(&events, &cuts);
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
        line in 0..40_usize,
        event in 0..40_usize,
    ) {
        for limits in [Limits::default(), Limits { line, event }] {
            properties::decoder::chunks_make_no_difference(&bytes, &cuts, limits);
        }
    }

    /// The decoder agrees with a second one, written for being obvious.
    #[test]
    fn the_standard_read_literally_comes_to_the_same(
        bytes in stream_like_bytes(),
        line in 0..40_usize,
        event in 0..40_usize,
    ) {
        for limits in [Limits::default(), Limits { line, event }] {
            properties::decoder::the_standard_read_literally_comes_to_the_same(&bytes, limits);
        }
    }
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
            let fields = Fields {
                data,
                name: name.and_then(|name| EventName::new(name).ok()),
                id: id.map(|id| Id::new(id).unwrap_or(Id::reset())),
                retry: retry.map(Duration::from_millis),
                comment,
            };
            fields.to_event()
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
