//! A request's header and query: what is read of them, and what the stream then holds.

use std::time::Duration;

use fanfare_core::{
    Broadcaster, Decoded, Decoder, Event, EventId, KeepAlive, LastEventId, Message,
};
use futures_lite::future::{block_on, poll_once};
use futures_lite::StreamExt as _;
use serde_json::Value;

/// A header and a query, one line each; one line alone is a query.
pub(crate) fn check(input: &[u8]) {
    let at = input.iter().position(|&byte| byte == b'\n');
    let (header, query) = match at {
        Some(at) => (Some(&input[..at]), &input[at + 1..]),
        None => (None, input),
    };
    let query = String::from_utf8_lossy(query);
    let last = LastEventId::from_request(header, Some(&query));
    assert_eq!(last.as_str(), read_literally(header, &query).as_deref());
    assert_eq!(last.is_none(), last.as_str().is_none());

    let log = Log::new();
    log.resumes_without_an_error(&last);
    if let Some(text) = log.in_its_own_words(&String::from_utf8_lossy(input)) {
        let last = LastEventId::from_request(Some(text.as_bytes()), None);
        log.resumes_without_an_error(&last);
    }
}

/// The header if it says something, else the first parameter that does, by the order of the names.
fn read_literally(header: Option<&[u8]>, query: &str) -> Option<String> {
    if let Some(header) = header.filter(|header| !header.is_empty()) {
        return Some(String::from_utf8_lossy(header).into_owned());
    }
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect();
    LastEventId::QUERY_NAMES.into_iter().find_map(|name| {
        let mut pairs = pairs.iter();
        let found = pairs.find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    })
}

/// The query's own escaping: `+` is a space, `%2D` a byte.
fn decoded(text: &str) -> String {
    let text = text.as_bytes();
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let (byte, length) = match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => ((16 * high + low) as u8, 3),
            (b'+', ..) => (b' ', 1),
            (byte, ..) => (byte, 1),
        };
        bytes.push(byte);
        at += length;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A log that has lost its first events.
struct Log {
    hub: Broadcaster,
    ids: Vec<EventId>,
}

const RETAINED: usize = 3;
const PUBLISHED: usize = 5;
const GAP_REASONS: [&str; 4] = ["expired", "epoch", "ahead", "unparsable"];

impl Log {
    fn new() -> Self {
        let hub = Broadcaster::builder()
            .history(RETAINED)
            .keep_alive(KeepAlive::off())
            .build();
        let publish = |n: usize| hub.try_publish("t", Event::data(n.to_string()));
        let ids = (0..PUBLISHED).map(publish).collect::<Result<_, _>>();
        let ids = ids.expect("the log takes events");
        Self { hub, ids }
    }

    /// Nobody can guess this log's epoch: a text that starts with `E` gets it in its place.
    fn in_its_own_words(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix('E')?;
        Some(format!("{}{rest}", self.ids[0].major))
    }

    /// Whatever a client says that it saw, its stream opens; it is told what is missing in one gap
    /// event, and receives what follows, in order, and nothing else.
    fn resumes_without_an_error(&self, last: &LastEventId) {
        let seen = self.stream_after(last);
        let (opening, mut rest) = seen.split_first().expect("the stream opens");
        assert_eq!(*opening, Decoded::Retry(Duration::from_secs(2)));
        if last.is_none() {
            return assert_eq!(rest, [], "from now on");
        }

        let oldest = self.ids[PUBLISHED - RETAINED - 1];
        let newest = self.ids[PUBLISHED - 1];
        let known = last.id().filter(|id| (oldest..=newest).contains(id));
        let place = known.unwrap_or_else(|| {
            let Some((Decoded::Event(gap), behind)) = rest.split_first() else {
                panic!("{last:?} is answered with {rest:?}");
            };
            rest = behind;
            check_gap(gap, last)
        });
        let expect: Vec<_> = (self.ids.iter().enumerate())
            .filter(|(_, id)| **id > place)
            .map(|(n, id)| message("message", &n.to_string(), &id.to_string()))
            .collect();
        assert_eq!(rest, expect, "after {last:?}");
    }

    fn stream_after(&self, last: &LastEventId) -> Vec<Decoded> {
        let subscribe = self.hub.subscribe("t").after(last);
        let mut subscriber = subscribe.open().expect("no id is an error");
        let mut decoder = Decoder::new();
        while let Some(piece) = block_on(poll_once(subscriber.next())) {
            let piece = piece.expect("the stream stays open");
            decoder.feed(&piece).expect("the stream is short");
        }
        decoder.collect()
    }
}

/// Returns the place that the stream is complete after.
fn check_gap(gap: &Message, last: &LastEventId) -> EventId {
    assert_eq!((&*gap.name, &*gap.last_event_id), ("gap", ""));
    let data: Value = serde_json::from_str(&gap.data).expect("a gap's data is JSON");
    let told = last
        .as_str()
        .map(|text| text.chars().take(128).collect::<String>());
    assert_eq!(data["from"].as_str(), told.as_deref());
    let reason = data["reason"].as_str().expect("a gap has a reason");
    assert!(GAP_REASONS.contains(&reason), "{reason}");
    assert_eq!(reason == "unparsable", last.id().is_none(), "{last:?}");
    let to = data["to"].as_str().and_then(|to| to.parse().ok());
    to.expect("a gap ends at a place")
}

fn message(name: &str, data: &str, id: &str) -> Decoded {
    Decoded::Event(Message {
        name: name.into(),
        data: data.into(),
        last_event_id: id.into(),
    })
}
