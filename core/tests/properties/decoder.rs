//! The decoder: chunks make no difference, the standard is followed, memory is bounded.

use std::time::Duration;

use allocation_counter::measure;
use fanfare_core::{DecodeError, Decoded, Decoder, Message};

/// How many bytes a line and an event may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) line: usize,
    pub(crate) event: usize,
}

/// All that there is to see of a stream: how reading it went, what was in it, the last id.
pub(crate) type Outcome = (Result<(), DecodeError>, Vec<Decoded>, String);

/// Two bytes of limits and two that say where to cut stand before the stream.
pub(crate) fn check(input: &[u8]) {
    let [line, event, high, low, stream @ ..] = input else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes([*high, *low]));
    let tight = Limits {
        line: usize::from(*line),
        event: usize::from(*event),
    };
    for limits in [Limits::default(), tight] {
        chunks_make_no_difference(stream, &[cut], limits);
        the_standard_read_literally_comes_to_the_same(stream, limits);
    }
    memory_is_bounded(stream, tight);
}

/// Bytes are read in the same way however they are cut, up to the limits and beyond.
pub(crate) fn chunks_make_no_difference(stream: &[u8], cuts: &[usize], limits: Limits) {
    let whole = decode(limits.decoder(), stream, &[]);
    assert_eq!(
        decode(limits.decoder(), stream, cuts),
        whole,
        "cut {cuts:?}"
    );
    let everywhere: Vec<_> = (0..stream.len()).collect();
    let bytewise = decode(limits.decoder(), stream, &everywhere);
    assert_eq!(bytewise, whole, "byte by byte");
}

/// The decoder agrees with a second one, written for being obvious.
pub(crate) fn the_standard_read_literally_comes_to_the_same(stream: &[u8], limits: Limits) {
    let outcome = decode(limits.decoder(), stream, &[]);
    assert_eq!(outcome, read_literally(stream, limits));
}

/// What is held depends on the limits and the chunks, not on the stream.
pub(crate) fn memory_is_bounded(stream: &[u8], limits: Limits) {
    const CHUNK: usize = 16;
    // A byte that is not UTF-8 becomes three. A line is held as it is and as each of the texts that
    // it may become, which double as they grow; a chunk of empty comments becomes one entry for
    // each two bytes.
    let bound = 4_096 + 32 * (limits.line + limits.event);
    let allocated = measure(|| {
        let mut decoder = limits.decoder();
        for chunk in stream.chunks(CHUNK) {
            let fed = decoder.feed(chunk);
            decoder.by_ref().for_each(drop);
            if fed.is_err() {
                break;
            }
        }
    });
    let most = allocated.bytes_max;
    assert!(most <= bound as u64, "{most} bytes, with {limits:?}");
}

/// Feeds `stream` cut at these places, wherever they fall.
pub(crate) fn decode(mut decoder: Decoder, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();

    let mut received = Vec::new();
    let result = places.windows(2).try_for_each(|ends| {
        let fed = decoder.feed(&stream[ends[0]..ends[1]]);
        received.extend(&mut decoder);
        fed
    });
    let last_event_id = decoder.last_event_id().to_owned();
    (result, received, last_event_id)
}

/// Every line end as LF.
pub(crate) fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: Decoder::DEFAULT_MAX_LINE,
            event: Decoder::DEFAULT_MAX_EVENT,
        }
    }
}

impl Limits {
    fn decoder(self) -> Decoder {
        Decoder::new().max_line(self.line).max_event(self.event)
    }
}

/// The standard's algorithm in its own order, on the whole stream at once.
fn read_literally(stream: &[u8], limits: Limits) -> Outcome {
    let decoded = String::from_utf8_lossy(stream);
    let text = with_lf(decoded.strip_prefix('\u{feff}').unwrap_or(&decoded));
    let mut lines: Vec<_> = text.split('\n').map(Some).collect();
    // What stands behind the last line end is not a line yet; it only has a length.
    lines.pop();
    lines.push(None);
    let lengths = line_lengths(stream);
    assert_eq!(lines.len(), lengths.len(), "line ends are ASCII");

    let mut received = Vec::new();
    let mut last_event_id = String::new();
    let (mut data, mut name, mut id) = (String::new(), String::new(), String::new());
    for (line, length) in lines.into_iter().zip(lengths) {
        if length > limits.line {
            let error = DecodeError::LineTooLong { limit: limits.line };
            return (Err(error), received, last_event_id);
        }
        let Some(line) = line else { break };
        if line.is_empty() {
            last_event_id.clone_from(&id);
            let mut data = std::mem::take(&mut data);
            let name = std::mem::take(&mut name);
            if data.pop().is_some() {
                let name = if name.is_empty() {
                    "message".into()
                } else {
                    name
                };
                let last_event_id = id.as_str().into();
                received.push(Decoded::Event(Message {
                    name,
                    data,
                    last_event_id,
                }));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => received.push(Decoded::Comment(value.into())),
            "data" => {
                data.extend([value, "\n"]);
                // The LF behind the last line is not part of the data.
                if data.len() - 1 > limits.event {
                    let error = DecodeError::EventTooLarge {
                        limit: limits.event,
                    };
                    return (Err(error), received, last_event_id);
                }
            }
            "event" => name = value.into(),
            "id" if !value.contains('\0') => id = value.into(),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                // Only a number that is too great is an error now.
                let millis = value.parse().unwrap_or(u64::MAX);
                received.push(Decoded::Retry(Duration::from_millis(millis)));
            }
            _ => {}
        }
    }
    (Ok(()), received, last_event_id)
}

/// The length of each line in bytes, as they were sent, without its end; of what stands behind
/// the last line end as well.
fn line_lengths(stream: &[u8]) -> Vec<usize> {
    let mut lengths = vec![0];
    for (at, &byte) in stream.iter().enumerate() {
        let is_within_an_end = byte == b'\n' && at > 0 && stream[at - 1] == b'\r';
        match (byte, lengths.last_mut()) {
            _ if is_within_an_end => {}
            (b'\r' | b'\n', _) => lengths.push(0),
            (_, Some(length)) => *length += 1,
            (_, None) => {}
        }
    }
    lengths
}
