//! [`Event`], what the application writes, and the fields that refuse text the wire cannot carry.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One server-sent event, as the application writes it.
///
/// Every field is optional. An event is made by [`data`](Self::data), by `json` (feature `json`),
/// or empty by [`new`](Self::new); the setters take it and give it back.
///
/// ```
/// use fanfare_core::Event;
///
/// let event = Event::data("21.5\n22.0").name("temperature");
/// assert_eq!(event.encode(), "event: temperature\ndata: 21.5\ndata: 22.0\n\n");
/// // A client receives an event of the type "temperature" with the data "21.5\n22.0".
/// ```
///
/// No text can break out of its field: data and comments are split into lines, while a name or an
/// id that would need that cannot be built ([`EventName`], [`Id`]).
/// [`encode`](Self::encode) shows what each field becomes on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "an event does nothing until it is sent or published"]
pub struct Event {
    data: Option<String>,
    name: Option<EventName>,
    id: Option<Id>,
    retry: Option<Duration>,
    comment: Option<String>,
}

impl Event {
    /// An event without any field, which is written as nothing at all.
    ///
    /// It is where events without data begin, such as a comment alone:
    ///
    /// ```
    /// use fanfare_core::Event;
    ///
    /// assert_eq!(Event::new().comment("warming up").encode(), ": warming up\n");
    /// ```
    pub const fn new() -> Self {
        Self {
            data: None,
            name: None,
            id: None,
            retry: None,
            comment: None,
        }
    }

    /// An event with this data: any text, of any number of lines.
    ///
    /// The client receives the text as it is, but for its line breaks: LF, CR and CRLF all come
    /// back as LF, because the wire cannot tell them apart. Empty data is data: the client gets
    /// an event whose data is the empty string, whereas an event without data does not reach the
    /// page at all.
    ///
    /// ```
    /// use fanfare_core::Event;
    ///
    /// assert_eq!(Event::data("").encode(), "data: \n\n");
    /// assert_eq!(Event::data("a\r\nb\n").encode(), "data: a\ndata: b\ndata: \n\n");
    /// // The clients receive "" and "a\nb\n".
    /// ```
    pub fn data(data: impl Into<String>) -> Self {
        Self {
            data: Some(data.into()),
            ..Self::new()
        }
    }

    /// An event whose data is `value` as JSON, on one line.
    ///
    /// # Errors
    ///
    /// [`JsonError`] if `value` cannot be JSON: its `Serialize` fails, or a map's keys are not
    /// strings.
    ///
    /// ```
    /// use fanfare_core::Event;
    ///
    /// let event = Event::json(&[1.5, 2.0])?.name("prices");
    /// assert_eq!(event.encode(), "event: prices\ndata: [1.5,2.0]\n\n");
    /// # Ok::<(), fanfare_core::JsonError>(())
    /// ```
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        serde_json::to_string(value)
            .map(Self::data)
            .map_err(JsonError)
    }

    /// Names the event: the type that `addEventListener` waits for in a browser.
    ///
    /// Without a name it is a `message`. A literal is taken as it stands in the source; text from
    /// outside goes through [`EventName::new`] first.
    ///
    /// # Panics
    ///
    /// If a literal is not a valid name, as [`EventName::from_static`] does.
    ///
    /// ```
    /// use fanfare_core::{Event, EventName};
    ///
    /// let literal = Event::data("9.81").name("quote");
    /// let from_outside = Event::data("9.81").name(EventName::new(String::from("quote"))?);
    /// assert_eq!(literal, from_outside);
    /// # Ok::<(), fanfare_core::InvalidName>(())
    /// ```
    #[track_caller]
    pub fn name(self, name: impl Into<EventName>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Sets the id that the client sends back as `Last-Event-ID` when it reconnects.
    ///
    /// This is for a stream to one client, where the application keeps the positions. The log of
    /// a broadcaster assigns ids itself, and replaces this one.
    ///
    /// # Panics
    ///
    /// If a literal is not a valid id, as [`Id::from_static`] does.
    #[track_caller]
    pub fn id(self, id: impl Into<Id>) -> Self {
        Self {
            id: Some(id.into()),
            ..self
        }
    }

    /// Tells the client how long to wait before it reconnects, from now on.
    ///
    /// It is written in whole milliseconds, and at most as 2147483647 of them (almost 25 days):
    /// timers in browsers overflow beyond, and would fire at once.
    pub const fn retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Adds a comment, which clients skip and people who watch the wire can read.
    ///
    /// Every line of the text becomes a comment line, in front of the event's fields.
    pub fn comment(self, comment: impl Into<String>) -> Self {
        Self {
            comment: Some(comment.into()),
            ..self
        }
    }

    /// The data, if there is any.
    #[must_use]
    pub fn data_text(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The name, if one was given.
    #[must_use]
    pub const fn event_name(&self) -> Option<&EventName> {
        self.name.as_ref()
    }

    /// The id that the application chose, if it did.
    #[must_use]
    pub const fn chosen_id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// How long clients are told to wait before they reconnect, if they are told.
    #[must_use]
    pub const fn retry_delay(&self) -> Option<Duration> {
        self.retry
    }

    /// The comment, if there is one.
    #[must_use]
    pub fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }
}

/// The name of an event, which is its type at the client: text without CR, LF and NUL.
///
/// CR and LF would end the field and let the rest of the text begin another one; NUL is legal,
/// but Firefox drops it. The empty name is the default one: nothing is written for it, and
/// clients dispatch the event as a `message`.
///
/// Avoid the names `open` and `error` for browsers: `EventSource` dispatches its own events about
/// the connection under them, and a listener cannot tell the two apart.
///
/// # Literals, and text from outside
///
/// A literal becomes a name by itself, through [`from_static`](Self::from_static), which panics
/// on an invalid one: it stands in your source, so the first run shows it. Text from outside is
/// never `&'static str`; it goes through [`new`](Self::new) or [`parse`](str::parse), which
/// return the mistake.
///
/// ```
/// use fanfare_core::{EventName, InvalidName};
///
/// const QUOTE: EventName = EventName::from_static("quote"); // A bad one does not compile.
///
/// assert_eq!("quote".parse(), Ok(QUOTE));
/// assert_eq!(
///     EventName::new("quote\ndata: forged"),
///     Err(InvalidName::Forbidden { character: '\n', at: 5 }),
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Cow<'static, str>);

impl EventName {
    /// Takes text from outside as a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if it holds CR, LF or NUL.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        match InvalidName::find_in(&name) {
            Some(invalid) => Err(invalid),
            None => Ok(Self(Cow::Owned(name))),
        }
    }

    /// Takes a literal as a name, also in a `const`. It does not allocate.
    ///
    /// # Panics
    ///
    /// If it holds CR, LF or NUL; in a `const` that is a compile error.
    ///
    /// ```compile_fail,E0080
    /// const FORGED: fanfare_core::EventName =
    ///     fanfare_core::EventName::from_static("quote\ndata: forged");
    /// ```
    #[must_use]
    #[track_caller]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(
            InvalidName::find_in(name).is_none(),
            "an event name cannot hold CR, LF or NUL"
        );
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text of an `id` field, chosen by the application for a stream to one client.
///
/// The client sends it back in the header `Last-Event-ID` when it reconnects, so it holds what
/// survives that journey: no CR, LF or NUL, nor any other ASCII control character (servers refuse
/// a header with one, and the client would be locked out), and no space at either end (HTTP trims
/// it). Text beyond ASCII comes back as UTF-8, which a server has to read as bytes. What passes
/// everywhere is visible ASCII without ``"():<>?@[\]{}``, of at most 128 bytes.
///
/// An empty id makes the client forget the last one; that is asked for by name, with
/// [`reset`](Self::reset).
///
/// As with [`EventName`], a literal becomes an id by itself and panics if it is invalid, while
/// text from outside goes through [`new`](Self::new) or [`parse`](str::parse). A counter needs
/// neither.
///
/// ```
/// use fanfare_core::{Event, Id, InvalidId};
///
/// assert_eq!(Event::data("x").id(42).encode(), "id: 42\ndata: x\n\n");
/// assert_eq!(Event::data("x").id("page-7").encode(), "id: page-7\ndata: x\n\n");
/// assert_eq!(Event::data("x").id(Id::reset()).encode(), "id: \ndata: x\n\n");
/// assert_eq!(Id::new("7 "), Err(InvalidId::OuterSpace { at: 1 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Cow<'static, str>);

impl Id {
    /// Takes text from outside as an id.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] if it would not come back as it is.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        match InvalidId::find_in(&id) {
            Some(invalid) => Err(invalid),
            None => Ok(Self(Cow::Owned(id))),
        }
    }

    /// Takes a literal as an id, also in a `const`. It does not allocate.
    ///
    /// # Panics
    ///
    /// If [`new`](Self::new) would refuse it; in a `const` that is a compile error.
    #[must_use]
    #[track_caller]
    pub const fn from_static(id: &'static str) -> Self {
        assert!(
            InvalidId::find_in(id).is_none(),
            "an id cannot be empty, hold control characters, or begin or end with a space"
        );
        Self(Cow::Borrowed(id))
    }

    /// The empty id: the client forgets the last one, and reconnects without `Last-Event-ID`.
    #[must_use]
    pub const fn reset() -> Self {
        Self(Cow::Borrowed(""))
    }

    /// The id as text; empty for a [`reset`](Self::reset).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For counters. It is the one integer type taken, so that a literal needs no suffix.
impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }
}

/// The conversions that follow from a fallible `new`, an infallible `from_static` and `as_str`.
macro_rules! text_conversions {
    ($text:ident, $invalid:ident) => {
        impl From<&'static str> for $text {
            /// Takes a literal, as [`from_static`](Self::from_static) does.
            ///
            /// # Panics
            ///
            /// If the literal is invalid.
            #[track_caller]
            fn from(literal: &'static str) -> Self {
                Self::from_static(literal)
            }
        }

        impl TryFrom<String> for $text {
            type Error = $invalid;

            fn try_from(text: String) -> Result<Self, $invalid> {
                Self::new(text)
            }
        }

        impl FromStr for $text {
            type Err = $invalid;

            fn from_str(text: &str) -> Result<Self, $invalid> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $text {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

text_conversions!(EventName, InvalidName);
text_conversions!(Id, InvalidId);

/// Why a text is not an [`EventName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidName {
    /// It holds a character that no event name can.
    Forbidden {
        /// CR, LF or NUL.
        character: char,
        /// Where the character stands, in bytes from the beginning.
        at: usize,
    },
}

impl InvalidName {
    /// The first mistake in a would-be name. A loop over bytes, because `const` has no iterators.
    const fn find_in(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b'\r' | b'\n' | b'\0') {
                return Some(Self::Forbidden {
                    character: bytes[at] as char,
                    at,
                });
            }
            at += 1;
        }
        None
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { character, at } => {
                write!(
                    f,
                    "an event name cannot hold {character:?}, found at byte {at}"
                )
            }
        }
    }
}

impl Error for InvalidName {}

/// Why a text is not an [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidId {
    /// It is empty, which is a reset: [`Id::reset`] asks for that by name.
    Empty,
    /// It holds a character that no id can.
    Forbidden {
        /// CR, LF, NUL or another ASCII control character.
        character: char,
        /// Where the character stands, in bytes from the beginning.
        at: usize,
    },
    /// It begins or ends with a space, which HTTP trims off.
    OuterSpace {
        /// Where the space stands, in bytes from the beginning.
        at: usize,
    },
}

impl InvalidId {
    /// The first mistake in a would-be id. A loop over bytes, because `const` has no iterators.
    const fn find_in(id: &str) -> Option<Self> {
        let bytes = id.as_bytes();
        if bytes.is_empty() {
            return Some(Self::Empty);
        }
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at].is_ascii_control() {
                return Some(Self::Forbidden {
                    character: bytes[at] as char,
                    at,
                });
            }
            let is_outer = at == 0 || at == bytes.len() - 1;
            if is_outer && bytes[at] == b' ' {
                return Some(Self::OuterSpace { at });
            }
            at += 1;
        }
        None
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an id cannot be empty, unless it is a reset"),
            Self::Forbidden { character, at } => {
                write!(f, "an id cannot hold {character:?}, found at byte {at}")
            }
            Self::OuterSpace { at } => {
                write!(
                    f,
                    "an id cannot begin or end with a space, found at byte {at}"
                )
            }
        }
    }
}

impl Error for InvalidId {}

/// Why a value could not become an event's data as JSON.
///
/// The serializer's own error is its [`source`](Error::source).
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
#[derive(Debug)]
pub struct JsonError(serde_json::Error);

#[cfg(feature = "json")]
impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be written as JSON")
    }
}

#[cfg(feature = "json")]
impl Error for JsonError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
