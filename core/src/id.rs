//! [`EventId`], a place in the log, and [`LastEventId`], what a client says it saw.

use std::fmt;
use std::str::FromStr;

/// A place in the log: two numbers in lexicographic order, written `major-minor` on the wire.
///
/// Where Fanfare assigns ids they are an epoch and a sequence: a log that starts empty starts a
/// new epoch, later than every earlier one, and counts from 1. Only the history that assigned an
/// id can judge it; everyone else treats it as opaque.
///
/// ```
/// use fanfare_core::EventId;
///
/// let id: EventId = "1795353535353535-10".parse()?;
/// assert_eq!(id, EventId::new(1795353535353535, 10));
/// assert!(id > EventId::new(1795353535353535, 9));
/// assert!("ten".parse::<EventId>().is_err());
/// # Ok::<(), fanfare_core::InvalidEventId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Which life of the log, or an engine's milliseconds.
    pub major: u64,
    /// The place in it.
    pub minor: u64,
}

/// The longest an id is on the wire: two numbers of 20 digits and the dash.
pub(crate) const MAX_ID_BYTES: usize = 41;

impl EventId {
    /// The place `major-minor`.
    #[must_use]
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    /// Reads exactly what [`Display`](fmt::Display) writes: no sign, no space, no leading zero.
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        fn number(digits: &str) -> Option<u64> {
            let canonical = digits == "0" || !digits.starts_with('0');
            let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
            if canonical && digits_only {
                digits.parse().ok()
            } else {
                None
            }
        }
        let (major, minor) = text.split_once('-').ok_or(InvalidEventId)?;
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(InvalidEventId),
        }
    }
}

/// The text is no id that a log of ours has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEventId;

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id is two numbers with a dash between them")
    }
}

impl std::error::Error for InvalidEventId {}

/// Where a returning client says it stopped: the `Last-Event-ID` header, or a query parameter
/// for clients that cannot set headers.
///
/// It holds whatever text the client sent. Nothing in it is an error: what cannot be used as a
/// place in the log is answered in the stream, by a gap event, because a browser's `EventSource`
/// gives up forever on any status but 200.
///
/// The standard's section: [HTML 9.2.4, the `Last-Event-ID` header](
/// https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header).
///
/// ```
/// use fanfare_core::{EventId, LastEventId};
///
/// let last = LastEventId::from_request(Some(b"7-42"), Some("lastEventId=7-1"));
/// assert_eq!(last.id(), Some(EventId::new(7, 42)), "the header comes first");
///
/// let last = LastEventId::from_request(None, Some("topics=a&lastEventId=7-1"));
/// assert_eq!(last.id(), Some(EventId::new(7, 1)));
///
/// assert!(LastEventId::from_request(None, None).is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(Option<Box<str>>);

impl LastEventId {
    /// The query parameters that are read where the header is missing, in this order.
    ///
    /// They are those that polyfills and other servers use.
    pub const QUERY_NAMES: [&'static str; 4] = [
        "lastEventId",
        "last-event-id",
        "last_event_id",
        "evs_last_event_id",
    ];

    /// A client that has seen nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// A text that is no id.
    pub(crate) fn no_id() -> Self {
        Self(Some("?".into()))
    }

    /// Reads the header's value, then the query's text (what follows the `?`, still encoded).
    ///
    /// An empty value is the same as none: the standard's client sends no header for it.
    #[must_use]
    pub fn from_request(header: Option<&[u8]>, query: Option<&str>) -> Self {
        Self::from_request_named(header, query, &Self::QUERY_NAMES)
    }

    /// [`from_request`](Self::from_request) with query parameters of your own.
    #[must_use]
    pub fn from_request_named(header: Option<&[u8]>, query: Option<&str>, names: &[&str]) -> Self {
        if let Some(value) = header.filter(|value| !value.is_empty()) {
            // The standard has the client write UTF-8 here, which is more than a
            // `HeaderValue::to_str` accepts. What is not UTF-8 cannot be an id of anybody's.
            return Self(Some(String::from_utf8_lossy(value).into()));
        }
        let query = query.unwrap_or_default().as_bytes();
        let found = names.iter().find_map(|name| {
            form_urlencoded::parse(query)
                .find(|(key, value)| key == name && !value.is_empty())
                .map(|(_, value)| value.into())
        });
        Self(found)
    }

    /// Reads the head of a request of `http`'s.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    #[must_use]
    pub fn from_http(headers: &http::HeaderMap, uri: &http::Uri) -> Self {
        let header = headers
            .get("last-event-id")
            .map(http::HeaderValue::as_bytes);
        Self::from_request(header, uri.query())
    }

    /// Whether the client named no place at all.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// What the client sent, with U+FFFD for bytes that are not UTF-8.
    ///
    /// An application that writes ids of its own into a stream to one client reads them here.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The place, if the text is one.
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        self.as_str()?.parse().ok()
    }
}

impl From<EventId> for LastEventId {
    fn from(id: EventId) -> Self {
        Self(Some(id.to_string().into()))
    }
}

impl From<&Self> for LastEventId {
    fn from(last: &Self) -> Self {
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_as_numbers_and_come_back_equal() {
        assert!(EventId::new(1, 9) < EventId::new(1, 10));
        assert!(EventId::new(1, u64::MAX) < EventId::new(2, 0));
        for id in [
            EventId::new(0, 0),
            EventId::new(7, 42),
            EventId::new(u64::MAX, u64::MAX),
        ] {
            let text = id.to_string();
            assert!(text.len() <= MAX_ID_BYTES);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn what_we_never_wrote_is_not_an_id() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "+1-2",
            "1-+2",
            " 1-2",
            "1-2 ",
            "01-2",
            "1-02",
            "1-x",
            "18446744073709551616-0",
            "0-18446744073709551616",
            "1\u{2013}2",
            "١-٢",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(InvalidEventId), "{text:?}");
        }
    }

    #[test]
    fn the_query_is_decoded_and_every_usual_name_works() {
        for name in LastEventId::QUERY_NAMES {
            let query = format!("a=b&{name}=7%2D42");
            assert_eq!(
                LastEventId::from_request(None, Some(&query)).id(),
                Some(EventId::new(7, 42)),
                "{name}"
            );
        }
        assert!(LastEventId::from_request(Some(b""), Some("lastEventId=")).is_none());
        let named = LastEventId::from_request_named(None, Some("since=7-1"), &["since"]);
        assert_eq!(named.id(), Some(EventId::new(7, 1)));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_text_that_is_no_id() {
        let last = LastEventId::from_request(Some(b"7-\xff42"), None);
        assert_eq!(last.as_str(), Some("7-\u{fffd}42"));
        assert_eq!(last.id(), None);
    }
}
