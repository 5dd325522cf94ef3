//! What the decoder makes of a stream: the shared vectors, however they are cut, and its limits.

use std::time::Duration;

use fanfare_core::{DecodeError, Decoded, Decoder, Message};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    input: Option<String>,
    input_hex: String,
    chunks_hex: Option<Vec<String>>,
    seed_last_event_id: Option<String>,
    expect: Vec<Expected>,
    comments: Option<Vec<String>>,
    retry: Option<u64>,
    final_last_event_id: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Expected {
    #[serde(rename = "type")]
    name: String,
    data: String,
    last_event_id: String,
}

impl Vector {
    #[track_caller]
    fn check<'a>(&self, how: &str, chunks: impl IntoIterator<Item = &'a [u8]>) {
        let name = &self.name;
        let mut decoder = Decoder::new();
        if let Some(id) = &self.seed_last_event_id {
            decoder = decoder.with_last_event_id(id.as_str());
        }
        let (mut events, mut comments, mut retry) = (Vec::new(), Vec::new(), None);
        for chunk in chunks {
            decoder
                .feed(chunk)
                .unwrap_or_else(|error| panic!("{name}, {how}: {error}"));
            for decoded in &mut decoder {
                match decoded {
                    Decoded::Event(Message {
                        name,
                        data,
                        last_event_id,
                    }) => {
                        let last_event_id = last_event_id.to_string();
                        events.push(Expected {
                            name,
                            data,
                            last_event_id,
                        });
                    }
                    Decoded::Comment(comment) => comments.push(comment),
                    Decoded::Retry(delay) => retry = Some(delay),
                }
            }
        }
        assert_eq!(events, self.expect, "{name}, {how}: events");
        assert_eq!(
            retry,
            self.retry.map(Duration::from_millis),
            "{name}, {how}: retry"
        );
        assert_eq!(decoder.retry(), retry, "{name}, {how}: retry");
        assert_eq!(
            decoder.last_event_id(),
            self.final_last_event_id,
            "{name}, {how}: last id"
        );
        if let Some(expected) = &self.comments {
            assert_eq!(&comments, expected, "{name}, {how}: comments");
        }
    }
}

#[test]
fn every_vector_however_it_is_cut() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("vectors/parser.json")).expect("the vectors are valid");
    assert!(vectors.len() >= 150, "only {} vectors", vectors.len());

    for vector in &vectors {
        let input = from_hex(&vector.input_hex);
        if let Some(text) = &vector.input {
            assert_eq!(
                text.as_bytes(),
                input,
                "{}: the vector contradicts itself",
                vector.name
            );
        }
        vector.check("whole", [&input[..]]);
        for size in 1..=3 {
            vector.check(&format!("in chunks of {size}"), input.chunks(size));
        }
        for at in 0..=input.len() {
            let (left, right) = input.split_at(at);
            vector.check(&format!("cut at {at}"), [left, right]);
        }
        if let Some(chunks) = &vector.chunks_hex {
            let chunks: Vec<_> = chunks.iter().map(|chunk| from_hex(chunk)).collect();
            assert_eq!(
                chunks.concat(),
                input,
                "{}: the vector contradicts itself",
                vector.name
            );
            vector.check("in its own chunks", chunks.iter().map(Vec::as_slice));
        }
    }
}

#[test]
fn a_bare_cr_ends_an_event_at_once() {
    let mut decoder = Decoder::new();
    feed(&mut decoder, "data: a\r\r");
    assert_eq!(decoder.next(), Some(message("a")));

    // The LF belongs to the CR before it, also in another chunk, and after an empty one.
    feed(&mut decoder, "");
    feed(&mut decoder, "\ndata: b\r");
    feed(&mut decoder, "\n\r");
    assert_eq!(decoder.next(), Some(message("b")));
    feed(&mut decoder, "\n");
    assert_eq!(decoder.next(), None);
}

#[test]
fn everything_is_reported_in_the_order_of_the_stream() {
    let mut decoder = Decoder::new();
    feed(
        &mut decoder,
        "data: a\n:one\nretry: 5\n\n: two\nretry: 6\ndata: b\n\n",
    );
    let reported: Vec<_> = decoder.by_ref().collect();
    assert_eq!(
        reported,
        [
            Decoded::Comment("one".into()),
            Decoded::Retry(Duration::from_millis(5)),
            message("a"),
            Decoded::Comment("two".into()),
            Decoded::Retry(Duration::from_millis(6)),
            message("b"),
        ],
    );
}

#[test]
fn the_next_connection_is_seeded_with_the_last_id() {
    let mut first = Decoder::new();
    feed(
        &mut first,
        "id: 1\ndata: x\n\nid: 2\ndata: never finished\n",
    );
    assert_eq!(first.last_event_id(), "1");

    let mut second = Decoder::new().with_last_event_id(first.last_event_id());
    assert_eq!(second.last_event_id(), "1");
    feed(&mut second, "data: y\n\n");
    let Some(Decoded::Event(message)) = second.next() else {
        panic!("an event is complete")
    };
    assert_eq!(&*message.last_event_id, "1");
}

#[test]
fn retry_beyond_every_limit_saturates() {
    let greatest = Duration::from_millis(u64::MAX);
    for (digits, delay) in [
        ("18446744073709551614", Duration::from_millis(u64::MAX - 1)),
        ("18446744073709551616", greatest),
        (&"9".repeat(1_000), greatest),
        (&format!("{}7", "0".repeat(1_000)), Duration::from_millis(7)),
    ] {
        let mut decoder = Decoder::new();
        feed(&mut decoder, &format!("retry: {digits}\n"));
        assert_eq!(decoder.next(), Some(Decoded::Retry(delay)));
    }
}

#[test]
fn a_line_may_reach_its_limit_and_not_exceed_it() {
    let error = Err(DecodeError::LineTooLong { limit: 8 });
    for size in 1..=12 {
        let decoder = || Decoder::new().max_line(8);
        assert_eq!(
            in_chunks(decoder(), "data: ab\r\n\r\n", size),
            (Ok(()), vec![message("ab")])
        );

        // It fails as soon as it must, and keeps what was complete.
        let too_long = "data: ab\n\ndata: abc";
        assert_eq!(
            in_chunks(decoder(), too_long, size),
            (error, vec![message("ab")])
        );
        // It makes no difference that the line would have been skipped.
        assert_eq!(in_chunks(decoder(), ":12345678\n\n", size), (error, vec![]));
    }
}

#[test]
fn an_event_may_reach_its_limit_and_not_exceed_it() {
    let error = Err(DecodeError::EventTooLarge { limit: 4 });
    for size in 1..=12 {
        let decoder = || Decoder::new().max_event(4);
        let fits = "data: ab\ndata: c\n\ndata: abcd\n\n";
        let events = vec![message("ab\nc"), message("abcd")];
        assert_eq!(in_chunks(decoder(), fits, size), (Ok(()), events));

        let too_large = "data: ab\n\ndata: ab\ndata: cd\n\n";
        assert_eq!(
            in_chunks(decoder(), too_large, size),
            (error, vec![message("ab")])
        );
        assert_eq!(in_chunks(decoder(), "data: abcde\n", size), (error, vec![]));
        assert_eq!(
            in_chunks(decoder(), "data\ndata\ndata\ndata\ndata\ndata", size).0,
            Ok(())
        );
        assert_eq!(
            in_chunks(decoder(), "data\ndata\ndata\ndata\ndata\ndata\n", size).0,
            error
        );
    }
}

#[test]
fn a_failed_decoder_stays_failed() {
    let mut decoder = Decoder::new().max_line(8);
    let error = decoder
        .feed(b"data: a\n\n0123456789")
        .expect_err("the line is too long");
    assert_eq!(
        error.to_string(),
        "a line of the event stream exceeds 8 bytes"
    );
    assert_eq!(decoder.feed(b"\n\ndata: b\n\n"), Err(error));
    assert_eq!(decoder.feed(b""), Err(error));
    assert_eq!(decoder.by_ref().collect::<Vec<_>>(), [message("a")]);
}

#[test]
fn the_defaults_take_large_messages() {
    let data = "x".repeat(5 << 20);
    let stream = format!("data: {data}\n\n");
    let (result, events) = in_chunks(Decoder::new(), &stream, 16 << 10);
    assert_eq!(result, Ok(()));
    assert!(
        events == [message(&data)],
        "5 MiB did not arrive as they were sent"
    );
}

#[test]
fn a_long_line_in_tiny_chunks_costs_no_more_than_its_length() {
    // Were the held line searched again at every byte, this would take hours.
    let data = "x".repeat(2 << 20);
    let (result, events) = in_chunks(Decoder::new(), &format!("data: {data}\n\n"), 1);
    assert_eq!(result, Ok(()));
    assert!(
        events == [message(&data)],
        "the line did not arrive as it was sent"
    );
}

fn in_chunks(
    mut decoder: Decoder,
    stream: &str,
    size: usize,
) -> (Result<(), DecodeError>, Vec<Decoded>) {
    let result = stream
        .as_bytes()
        .chunks(size)
        .try_for_each(|chunk| decoder.feed(chunk));
    (result, decoder.collect())
}

#[track_caller]
fn feed(decoder: &mut Decoder, stream: &str) {
    decoder
        .feed(stream.as_bytes())
        .expect("the stream is within the limits");
}

fn message(data: &str) -> Decoded {
    Decoded::Event(Message {
        name: "message".into(),
        data: data.into(),
        last_event_id: "".into(),
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hex is ASCII");
            u8::from_str_radix(pair, 16).expect("hex has digits only")
        })
        .collect()
}
