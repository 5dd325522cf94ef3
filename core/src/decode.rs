//! [`Decoder`]: reads an event stream piece by piece, as the HTML standard prescribes.
//!
//! It follows section 9.2.6, "Interpreting an event stream", to the letter, so it can stand in for
//! a browser in a test, and reads what other servers write.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::encode::find_line_end;

/// Turns the bytes of an event stream back into events, however the bytes arrive.
///
/// [`feed`](Self::feed) takes a chunk. The decoder is then an iterator over what has become
/// complete; `None` says that more bytes are needed, and after the next chunk it goes on.
///
/// ```
/// use fanfare_core::{Decoded, Decoder};
///
/// let mut decoder = Decoder::new();
///
/// decoder.feed(b"id: 42\nevent: tick\nda")?;
/// assert_eq!(decoder.next(), None);
///
/// decoder.feed(b"ta: a\ndata: b\n\n: still here\n")?;
/// let Some(Decoded::Event(message)) = decoder.next() else { panic!("an event is complete") };
/// assert_eq!(message.name, "tick");
/// assert_eq!(message.data, "a\nb");
/// assert_eq!(&*message.last_event_id, "42");
/// assert_eq!(decoder.next(), Some(Decoded::Comment("still here".into())));
/// assert_eq!(decoder.next(), None);
/// # Ok::<(), fanfare_core::DecodeError>(())
/// ```
///
/// # What it accepts
///
/// Everything, as the standard demands. Unknown fields are skipped, bytes that are not UTF-8
/// become U+FFFD, and one byte order mark at the very beginning is dropped. A line ends at LF, at
/// CRLF, or at a CR alone, upon which the decoder acts without waiting for the byte behind it.
///
/// # The end of a stream
///
/// An event whose blank line never came is not an event: drop the decoder, and it is gone. To
/// read on over a new connection, seed the next decoder with the last id, as a browser does:
///
/// ```
/// # use fanfare_core::Decoder;
/// # let mut decoder = Decoder::new();
/// # decoder.feed(b"id: 42\ndata: x\n\n")?;
/// let decoder = Decoder::new().with_last_event_id(decoder.last_event_id());
/// assert_eq!(decoder.last_event_id(), "42");
/// # Ok::<(), fanfare_core::DecodeError>(())
/// ```
///
/// # Memory
///
/// The decoder holds at most one unfinished line and the data of one unfinished event, each
/// [limited](Self::max_line), and what has become complete and was not taken yet. Take everything
/// after each chunk, and that last part is bounded by the size of your chunks.
#[derive(Clone, Debug)]
#[must_use = "a decoder does nothing until it is fed"]
pub struct Decoder {
    max_line: usize,
    max_event: usize,

    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// No line has been read yet, so the next one may begin with a byte order mark.
    at_start: bool,
    /// The last byte was a CR, so an LF that follows belongs to the same line end.
    after_cr: bool,

    /// The fields of the event that is being read. The standard starts with an empty data buffer
    /// and ends every line in it with LF, so that it is empty only as long as there was no data
    /// line; here that is `None`, and LF stands only between lines.
    data: Option<String>,
    name: String,
    /// Outlives the event: an event without an id repeats the id before it.
    id: Arc<str>,

    /// The id as of the last blank line. Ids in an event that is never finished do not count.
    last_event_id: Arc<str>,
    retry: Option<Duration>,
    complete: VecDeque<Decoded>,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// The longest line that is accepted unless [`max_line`](Self::max_line) says otherwise:
    /// 8 MiB, which is beyond any message that clients are tested with.
    pub const DEFAULT_MAX_LINE: usize = 8 << 20;

    /// The longest data that is accepted unless [`max_event`](Self::max_event) says otherwise:
    /// 16 MiB.
    pub const DEFAULT_MAX_EVENT: usize = 16 << 20;

    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            max_line: Self::DEFAULT_MAX_LINE,
            max_event: Self::DEFAULT_MAX_EVENT,
            line: Vec::new(),
            at_start: true,
            after_cr: false,
            data: None,
            name: String::new(),
            id: Arc::default(),
            last_event_id: Arc::default(),
            retry: None,
            complete: VecDeque::new(),
            failed: None,
        }
    }

    /// Starts with the id that an earlier connection ended with: events that bring no id of their
    /// own carry it on.
    pub fn with_last_event_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = id.into();
        self.last_event_id = Arc::clone(&self.id);
        self
    }

    /// Sets how many bytes a line may have, without its end;
    /// [8 MiB](Self::DEFAULT_MAX_LINE) unless set.
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Sets how many bytes of data an event may have, the LF between its lines included;
    /// [16 MiB](Self::DEFAULT_MAX_EVENT) unless set. Its name and id are one line each, and so
    /// limited by [`max_line`](Self::max_line).
    pub const fn max_event(mut self, bytes: usize) -> Self {
        self.max_event = bytes;
        self
    }

    /// Reads the next bytes of the stream, from wherever the bytes before them ended.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if a line or an event exceeds its limit. Nothing can be read behind it,
    /// because the decoder no longer knows what it left out: it stays failed, and every later call
    /// returns the same error. What was complete before can still be taken.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.read(bytes).inspect_err(|&error| {
            self.failed = Some(error);
            self.line = Vec::new();
            self.data = None;
        })
    }

    /// The id to reconnect with, as of the last blank line that was fed; empty if there is none.
    ///
    /// It is ahead of a reader who has not taken all events yet: each [`Message`] has its own.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long the server last asked to wait before reconnecting, if it did.
    #[must_use]
    pub const fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Splits the bytes into lines. Each byte is looked at once: what is kept of an unfinished line
    /// is never searched again.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while let Some(&first) = bytes.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = find_line_end(bytes) else {
                self.check_line_len(bytes)?;
                self.line.extend_from_slice(bytes);
                break;
            };
            let (rest_of_line, from_end) = bytes.split_at(end);
            self.check_line_len(rest_of_line)?;
            if self.line.is_empty() {
                self.read_line(rest_of_line)?;
            } else {
                let mut line = mem::take(&mut self.line);
                line.extend_from_slice(rest_of_line);
                self.read_line(&line)?;
                line.clear();
                self.line = line; // Keeps the allocation for the next one.
            }
            self.after_cr = from_end[0] == b'\r';
            bytes = &from_end[1..];
        }
        Ok(())
    }

    fn check_line_len(&self, more: &[u8]) -> Result<(), DecodeError> {
        if self.line.len() + more.len() > self.max_line {
            return Err(DecodeError::LineTooLong {
                limit: self.max_line,
            });
        }
        Ok(())
    }

    /// Acts on one line, given without its end.
    fn read_line(&mut self, mut line: &[u8]) -> Result<(), DecodeError> {
        if mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let (field, value) = split_field(line);
        match field {
            b"" => self.complete.push_back(Decoded::Comment(text(value))),
            b"data" => self.append_data(value)?,
            b"event" => self.name = text(value),
            b"id" if !value.contains(&b'\0') => self.id = String::from_utf8_lossy(value).into(),
            b"retry" => {
                if let Some(delay) = parse_retry(value) {
                    self.retry = Some(delay);
                    self.complete.push_back(Decoded::Retry(delay));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn append_data(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let value = String::from_utf8_lossy(value);
        let held = self.data.as_ref().map_or(0, |data| data.len() + 1);
        if held + value.len() > self.max_event {
            return Err(DecodeError::EventTooLarge {
                limit: self.max_event,
            });
        }
        match &mut self.data {
            None => self.data = Some(value.into_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(&value);
            }
        }
        Ok(())
    }

    /// Ends the event that is being read. Without data there is none, but its id counts.
    fn dispatch(&mut self) {
        self.last_event_id = Arc::clone(&self.id);
        let mut name = mem::take(&mut self.name);
        let Some(data) = self.data.take() else { return };
        if name.is_empty() {
            name.push_str("message");
        }
        let last_event_id = Arc::clone(&self.last_event_id);
        self.complete.push_back(Decoded::Event(Message {
            name,
            data,
            last_event_id,
        }));
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What has become complete, in the order of the stream. `None` is not the end: bytes that are fed
/// later can complete more.
impl Iterator for Decoder {
    type Item = Decoded;

    fn next(&mut self) -> Option<Decoded> {
        self.complete.pop_front()
    }
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// An event, complete with its blank line.
    Event(Message),
    /// A comment line, without its colon and the one space behind that.
    ///
    /// Clients skip comments; they are reported because servers show with them that they are alive.
    Comment(String),
    /// How long to wait before reconnecting, from this line on. One that is too great for 64 bits
    /// of milliseconds is the greatest that fits.
    Retry(Duration),
}

/// An event as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's type: `message` if the server gave it no name.
    pub name: String,
    /// The data, its lines joined with LF.
    pub data: String,
    /// The last id that the stream gave, with this event or before it; empty if there is none.
    ///
    /// It is shared between all events that carry it: otherwise a stream of one long id and many
    /// short events would take memory out of all proportion to its length.
    pub last_event_id: Arc<str>,
}

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A line is longer than [`Decoder::max_line`] allows, whether or not it has ended.
    LineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// An event has more data than [`Decoder::max_event`] allows.
    EventTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { limit } => {
                write!(f, "a line of the event stream exceeds {limit} bytes")
            }
            Self::EventTooLarge { limit } => {
                write!(f, "the data of an event exceeds {limit} bytes")
            }
        }
    }
}

impl Error for DecodeError {}

/// Splits a line at its first colon, and takes one space off the value. A comment is a line with
/// an empty field name; a line without a colon is a field with an empty value.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return (line, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Lines are split before they are decoded, which comes to the same: bytes that are not UTF-8
/// never swallow an ASCII byte.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// ASCII digits alone, in base ten. The standard leaves an empty value open; here it is ignored.
fn parse_retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = value.iter().fold(0_u64, |millis, digit| {
        millis
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_millis(millis))
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
