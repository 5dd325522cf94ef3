//! The wire: what an [`Event`] becomes, written here and nowhere else.
//!
//! The grammar is the HTML standard's, section 9.2.5 "Parsing an event stream":
//!
//! ```text
//! stream        = [ bom ] *event
//! event         = *( comment / field ) end-of-line
//! comment       = colon *any-char end-of-line
//! field         = 1*name-char [ colon [ space ] *any-char ] end-of-line
//! end-of-line   = ( cr lf / cr / lf )
//!
//! ; characters
//! lf            = %x000A ; U+000A LINE FEED (LF)
//! cr            = %x000D ; U+000D CARRIAGE RETURN (CR)
//! space         = %x0020 ; U+0020 SPACE
//! colon         = %x003A ; U+003A COLON (:)
//! bom           = %xFEFF ; U+FEFF BYTE ORDER MARK
//! name-char     = %x0000-0009 / %x000B-000C / %x000E-0039 / %x003B-10FFFF
//!                 ; a scalar value other than U+000A LINE FEED (LF),
//!                 ; U+000D CARRIAGE RETURN (CR), or U+003A COLON (:)
//! any-char      = %x0000-0009 / %x000B-000C / %x000E-10FFFF
//!                 ; a scalar value other than U+000A LINE FEED (LF)
//!                 ; or U+000D CARRIAGE RETURN (CR)
//! ```
//!
//! Of what it allows, this is what we write: lines end in LF; a field's colon is followed by one
//! space, since a reader takes one away and some insist on it; and the fields come in the order
//! comment, retry, id, event, data.
//!
//! A log learns an event's id only when it appends the event. So an event is written in two parts,
//! [`write_head`] and [`write_tail`], and whoever knows the id writes its line in between.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;

use crate::event::{Event, EventName};

impl Event {
    /// Writes the event as the bytes of an event stream.
    ///
    /// | field | input | wire | the client receives |
    /// |---|---|---|---|
    /// | data | `a` | `data: a\n\n` | `a` |
    /// | | `a\nb`, `a\rb` or `a\r\nb` | `data: a\ndata: b\n\n` | `a\nb` |
    /// | | `a\n` | `data: a\ndata: \n\n` | `a\n` |
    /// | | a space, then `a` | `data: `, the space, `a\n\n` | a space, then `a` |
    /// | | `id: 9` | `data: id: 9\n\n` | `id: 9`, and no id |
    /// | | the empty string | `data: \n\n` | the empty string |
    /// | name | `tick` | `event: tick\n` | the event's type |
    /// | id | `42` | `id: 42\n` | `lastEventId`, of this event and of those that follow |
    /// | retry | 3 s | `retry: 3000\n` | the new reconnection time |
    /// | comment | `a\nb` | `: a\n: b\n` | nothing |
    ///
    /// A blank line ends the event. A comment alone goes without: it is complete at the end of
    /// its line, and several clients take a blank line without fields for an empty event.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fanfare_core::Event;
    ///
    /// let event = Event::data("d").name("e").id("1").retry(Duration::from_millis(10)).comment("c");
    /// assert_eq!(event.encode(), ": c\nretry: 10\nid: 1\nevent: e\ndata: d\n\n");
    /// ```
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // The buffer is filled exactly, so that it becomes `Bytes` without a copy.
        let mut out = Vec::with_capacity(encoded_len(self));
        encode_into(self, &mut out);
        debug_assert_eq!(out.len(), encoded_len(self));
        out.into()
    }
}

/// Writes the whole event behind what is there.
pub(crate) fn encode_into(event: &Event, out: &mut Vec<u8>) {
    write_head(event, out);
    if has_fields(event) {
        if let Some(id) = event.chosen_id() {
            write_id_line(id.as_str(), out);
        }
        write_tail(event, out);
    }
}

/// Writes the event up to its id: the comment and retry lines.
pub(crate) fn write_head(event: &Event, out: &mut Vec<u8>) {
    if let Some(comment) = event.comment_text() {
        for line in Lines::of(comment) {
            out.extend_from_slice(if line.is_empty() { b":" } else { b": " });
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    if let Some(delay) = event.retry_delay() {
        write_retry_line(delay, out);
    }
}

/// Writes the event from behind its id to the end: the event and data lines and the blank line.
pub(crate) fn write_tail(event: &Event, out: &mut Vec<u8>) {
    if let Some(name) = name_to_write(event) {
        write_field(EVENT, name.as_bytes(), out);
    }
    if let Some(data) = event.data_text() {
        for line in Lines::of(data) {
            write_field(DATA, line, out);
        }
    }
    out.push(b'\n');
}

/// Writes the line that says how long clients wait before they reconnect.
///
/// On a stream it belongs in front of an event's fields, or has to be followed by a blank line:
/// some clients act on it only there.
pub(crate) fn write_retry_line(delay: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(RETRY);
    // Writing to a `Vec` cannot fail.
    let _ = writeln!(out, "{}", retry_millis(delay));
}

/// Writes the line of an id, which the caller knows to be free of CR, LF and NUL.
pub(crate) fn write_id_line(id: &str, out: &mut Vec<u8>) {
    write_field(ID, id.as_bytes(), out);
}

/// How many bytes [`write_head`] writes.
pub(crate) fn head_len(event: &Event) -> usize {
    let comment_line_len = |line: &[u8]| if line.is_empty() { 2 } else { 3 + line.len() };
    let comment = event
        .comment_text()
        .map_or(0, |text| Lines::of(text).map(comment_line_len).sum());
    let retry = event.retry_delay().map_or(0, |delay| {
        let digits = retry_millis(delay)
            .checked_ilog10()
            .map_or(1, |log| log as usize + 1);
        RETRY.len() + digits + 1
    });
    comment + retry
}

/// How many bytes [`write_id_line`] writes.
pub(crate) const fn id_line_len(id: &str) -> usize {
    field_len(ID, id.as_bytes())
}

/// How many bytes [`write_tail`] writes.
pub(crate) fn tail_len(event: &Event) -> usize {
    let name = name_to_write(event).map_or(0, |name| field_len(EVENT, name.as_bytes()));
    let data = event.data_text().map_or(0, |data| {
        Lines::of(data).map(|line| field_len(DATA, line)).sum()
    });
    name + data + 1
}

/// How many bytes [`Event::encode`] writes.
fn encoded_len(event: &Event) -> usize {
    let id = event.chosen_id().map_or(0, |id| id_line_len(id.as_str()));
    head_len(event)
        + if has_fields(event) {
            id + tail_len(event)
        } else {
            0
        }
}

/// Whether anything but a comment is written, so that there is a block for a blank line to end.
fn has_fields(event: &Event) -> bool {
    event.data_text().is_some()
        || name_to_write(event).is_some()
        || event.chosen_id().is_some()
        || event.retry_delay().is_some()
}

/// The name, unless it is empty: clients take that for no name, and so do we.
fn name_to_write(event: &Event) -> Option<&str> {
    event
        .event_name()
        .map(EventName::as_str)
        .filter(|name| !name.is_empty())
}

fn write_field(field: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(field);
    out.extend_from_slice(value);
    out.push(b'\n');
}

const fn field_len(field: &[u8], value: &[u8]) -> usize {
    field.len() + value.len() + 1
}

fn retry_millis(delay: Duration) -> u128 {
    delay.as_millis().min(MAX_RETRY_MILLIS)
}

const RETRY: &[u8] = b"retry: ";
const ID: &[u8] = b"id: ";
const EVENT: &[u8] = b"event: ";
const DATA: &[u8] = b"data: ";

/// The longest delay that a timer in JavaScript can hold: a greater one fires at once.
const MAX_RETRY_MILLIS: u128 = i32::MAX as u128;

/// The lines of a text, which CRLF, CR and LF end.
///
/// A text has one line more than line ends, so that what a client joins with LF is the text again:
/// `"a\n"` is `"a"` and `""`, where [`str::lines`] would stop at `"a"`.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Lines<'a> {
    const fn of(text: &'a str) -> Self {
        Self {
            rest: Some(text.as_bytes()),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let Some(end) = find_line_end(rest) else {
            self.rest = None;
            return Some(rest);
        };
        let (line, from_end) = rest.split_at(end);
        let end_len = if from_end.starts_with(b"\r\n") { 2 } else { 1 };
        self.rest = Some(&from_end[end_len..]);
        Some(line)
    }
}

/// Where the first CR or LF is.
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    // A lane is looked at as a whole, without leaving early, so that the compiler makes a vector
    // instruction of it: on long lines four times as fast as byte by byte.
    const LANE: usize = 16;
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let clear_lanes = bytes
        .chunks_exact(LANE)
        .take_while(|lane| {
            !lane
                .iter()
                .fold(false, |found, byte| found | is_line_end(byte))
        })
        .count();
    let from = clear_lanes * LANE;
    bytes[from..]
        .iter()
        .position(is_line_end)
        .map(|at| from + at)
}
