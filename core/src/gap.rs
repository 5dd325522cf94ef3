//! [`Gap`]: where a stream is not contiguous, said in the stream; [`LagPolicy`]: what then.

use std::fmt;

use crate::event::Event;
use crate::id::EventId;
use crate::EventName;

/// A hole in what a subscriber receives: between `from` and `to` events may be missing, after
/// `to` none is.
///
/// It travels as an ordinary named event (by default `gap`) **without an id**, so that it does
/// not move the client's place, and its data is JSON:
///
/// ```text
/// event: gap
/// data: {"reason":"expired","from":"7-3","to":"7-10"}
/// ```
///
/// Whoever may choose the names of events can publish one that is called `gap`, too. That one has an id
/// of its own, which a gap has not: a page cannot tell, since `event.lastEventId` is also that of events
/// with names that it does not listen for. So do not let strangers choose this name.
///
/// What the history still holds between the two follows the gap event; so does everything
/// after. A page that keeps a state built from events fetches it anew when it sees one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The last place the client is known to have, or said it had; none if it is not a place.
    /// Text from a client is cut after 128 characters.
    pub from: Option<String>,
    /// The stream is complete after this place.
    pub to: EventId,
}

/// Why there is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The client was away for longer than the history lasts.
    Expired,
    /// The id is from another life of the log, or from another log.
    Epoch,
    /// The id is from the future: this log has not assigned it yet.
    Ahead,
    /// The client was connected, and read more slowly than the history lasts.
    Lagged,
    /// The id is not one that a log of ours has written.
    Unparsable,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of an unparsable id is sent back: a client must not make us echo what it likes.
const MAX_ECHO_CHARS: usize = 128;

impl Gap {
    /// A gap that a history of your own tells of; `from` is what the client sent.
    #[must_use]
    pub fn new(reason: GapReason, from: Option<&str>, to: EventId) -> Self {
        let from = from.map(|text| text.chars().take(MAX_ECHO_CHARS).collect());
        Self { reason, from, to }
    }

    /// The gap as it goes out, under the name that the broadcaster was given.
    pub fn to_event(&self, name: EventName) -> Event {
        Event::data(self.to_string()).name(name)
    }
}

impl fmt::Display for Gap {
    /// The event's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"reason\":\"{}\",\"from\":", self.reason)?;
        match &self.from {
            Some(text) => write_json_string(f, text)?,
            None => f.write_str("null")?,
        }
        write!(f, ",\"to\":\"{}\"}}", self.to)
    }
}

/// The one string here that is not ours (RFC 8259, section 7).
fn write_json_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// What happens to a subscriber that has fallen behind what its topics retain.
///
/// It is always told, by a [`Gap`] or by the end of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LagPolicy {
    /// A gap event, then everything that is retained. It loses the least.
    #[default]
    Resume,
    /// A gap event, then only what is published from now on. For streams whose events replace
    /// one another.
    SkipToLatest,
    /// A gap event, a `retry` and a clean end: the client comes back, and is told once more of
    /// what it missed since the last id it has.
    Disconnect,
}

impl fmt::Display for LagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resume => "resume",
            Self::SkipToLatest => "skip to latest",
            Self::Disconnect => "disconnect",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_json_whatever_the_client_sent() {
        for from in [
            "7-3",
            "\"",
            "\\",
            "a\r\nid: 9\n\n",
            "\0\u{7f}\u{85}\t",
            "größe \u{2028}🦀",
        ] {
            let gap = Gap::new(GapReason::Unparsable, Some(from), EventId::new(7, 10));
            let json: serde_json::Value = serde_json::from_str(&gap.to_string()).expect(from);
            assert_eq!(json["reason"], "unparsable");
            assert_eq!(json["from"], from);
            assert_eq!(json["to"], "7-10");
        }
        let gap = Gap::new(GapReason::Expired, None, EventId::new(7, 10));
        assert_eq!(
            gap.to_string(),
            r#"{"reason":"expired","from":null,"to":"7-10"}"#
        );
    }

    #[test]
    fn the_echo_is_cut() {
        let gap = Gap::new(
            GapReason::Unparsable,
            Some(&"ö".repeat(60_000)),
            EventId::new(7, 10),
        );
        assert_eq!(gap.from.map(|text| text.chars().count()), Some(128));
    }
}
