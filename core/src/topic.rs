//! [`Topic`], a label in the log, and [`Topics`], a selection of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest topic or pattern, in bytes.
const MAX_BYTES: usize = 255;

/// The most topics or patterns that one selection may name.
const MAX_PATTERNS: usize = 64;

/// What an event is about: dot-separated segments, such as `prices` or `sensors.7.temp`.
///
/// At most 255 bytes of any text without control characters (so no CR, LF or NUL) and without
/// commas, in segments that are not empty. The segments `*` and `>` and the topic `all` mean
/// something in a selection and are refused here. Cloning is cheap.
///
/// ```
/// use fanfare_core::Topic;
///
/// let prices = Topic::from_static("prices");
/// assert_eq!(Topic::new("prices"), Ok(prices));
/// assert!(Topic::new("prices\nid: 7").is_err());
/// assert!(Topic::new("sensors.*").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// A topic from text of any origin.
    ///
    /// # Errors
    ///
    /// Says what in the text cannot be part of a topic.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let text = text.as_ref();
        check(text)?;
        match text {
            "all" => Err(InvalidTopic::Reserved),
            _ if text
                .split('.')
                .any(|segment| segment == "*" || segment == ">") =>
            {
                Err(InvalidTopic::Reserved)
            }
            _ => Ok(Self(text.into())),
        }
    }

    /// A topic that stands as a literal in your source.
    ///
    /// # Panics
    ///
    /// If the literal is not a topic: the first run shows it. Text from outside goes through
    /// [`Topic::new`].
    #[must_use]
    #[track_caller]
    pub fn from_static(literal: &'static str) -> Self {
        match Self::new(literal) {
            Ok(topic) => topic,
            Err(error) => panic!("{literal:?} is not a topic: {error}"),
        }
    }

    /// The topic's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Topic {
    /// See [`Topic::from_static`].
    #[track_caller]
    fn from(literal: &'static str) -> Self {
        Self::from_static(literal)
    }
}

impl From<&Self> for Topic {
    fn from(topic: &Self) -> Self {
        topic.clone()
    }
}

impl TryFrom<String> for Topic {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        Self::new(text)
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        Self::new(text)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which topics a subscriber follows.
///
/// Written as `a,b` (these topics), `all` (every topic), `*` for one segment and a last `>` for
/// one or more: `sensors.*.temp`, `orders.>`. Two selections of the same topics are equal in
/// whatever order they were written. Cloning is cheap.
///
/// ```
/// use fanfare_core::{Topic, Topics};
///
/// let topics: Topics = "prices,sensors.*.temp,orders.>".parse()?;
/// assert!(topics.matches(&Topic::from_static("sensors.7.temp")));
/// assert!(topics.matches(&Topic::from_static("orders.eu.42")));
/// assert!(!topics.matches(&Topic::from_static("orders")));
/// # Ok::<(), fanfare_core::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topics(Selection);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Selection {
    All,
    /// Sorted, without repetition; none of them is a pattern.
    Listed(Arc<[Topic]>),
    /// Sorted, without repetition; at least one of them is a pattern.
    Patterns(Arc<[Box<str>]>),
}

impl Topics {
    /// Every topic, also those that do not exist yet.
    #[must_use]
    pub fn all() -> Self {
        Self(Selection::All)
    }

    /// Whether `topic` is in the selection.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.0 {
            Selection::All => true,
            Selection::Listed(topics) => topics.binary_search(topic).is_ok(),
            Selection::Patterns(patterns) => patterns
                .iter()
                .any(|pattern| pattern_matches(pattern, topic.as_str())),
        }
    }

    /// Whether every topic of `other` is in this selection too, those that do not exist yet among them.
    ///
    /// ```
    /// use fanfare_core::Topics;
    ///
    /// let allowed = Topics::from(["sensors.*.temp", "orders.>"]);
    /// assert!(allowed.covers(&"sensors.7.temp,orders.*.new".into()));
    /// assert!(!allowed.covers(&"sensors.>".into()));
    /// assert!(!allowed.covers(&Topics::all()));
    /// ```
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Selection::All, _) => true,
            (_, Selection::Listed(topics)) => topics.iter().all(|topic| self.matches(topic)),
            (_, Selection::All) => self.covers_pattern(">"),
            (_, Selection::Patterns(patterns)) => {
                patterns.iter().all(|pattern| self.covers_pattern(pattern))
            }
        }
    }

    /// No topic has a segment `*`. So a pattern that is read as a topic matches only where a
    /// pattern of ours takes any segment, and then takes all that the pattern stands for.
    fn covers_pattern(&self, pattern: &str) -> bool {
        let has_name = |text: &str| self.names().any(|name| pattern_matches(name, text));
        let head = match pattern.strip_suffix('>') {
            Some(head) if head.is_empty() || head.ends_with('.') => head,
            _ => return has_name(pattern),
        };
        // A `>` is one segment, or two, or more. Once there are more than in any name of ours, how
        // many does not matter.
        let segments = |text: &str| text.split('.').count();
        let longest = self.names().map(segments).max().unwrap_or(0);
        let most = (longest + 2).saturating_sub(segments(pattern)).max(1);
        let mut text = format!("{head}*");
        (0..most).all(|_| {
            let is_covered = has_name(&text);
            text.push_str(".*");
            is_covered
        })
    }

    /// The names that the selection is written with.
    fn names(&self) -> impl Iterator<Item = &str> {
        let (all, topics, patterns) = match &self.0 {
            Selection::All => (Some("all"), &[][..], &[][..]),
            Selection::Listed(topics) => (None, &**topics, &[][..]),
            Selection::Patterns(patterns) => (None, &[][..], &**patterns),
        };
        let topics = topics.iter().map(Topic::as_str);
        let patterns = patterns.iter().map(AsRef::as_ref);
        all.into_iter().chain(topics).chain(patterns)
    }

    /// The topics, if each is named by its whole name: in order, none twice. `None`: the selection
    /// is wider, and [`matches`](Self::matches) says what is in it.
    #[must_use]
    pub fn listed(&self) -> Option<&[Topic]> {
        match &self.0 {
            Selection::Listed(topics) => Some(topics),
            Selection::All | Selection::Patterns(_) => None,
        }
    }

    fn of_listed(topics: BTreeSet<Topic>) -> Result<Self, InvalidTopic> {
        match topics.len() {
            0 => Err(InvalidTopic::Empty),
            1..=MAX_PATTERNS => Ok(Self(Selection::Listed(topics.into_iter().collect()))),
            _ => Err(InvalidTopic::TooMany {
                limit: MAX_PATTERNS,
            }),
        }
    }
}

impl FromStr for Topics {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let mut names = BTreeSet::new();
        let mut is_all = false;
        for name in text.split(',') {
            check(name)?;
            let mut segments = name.split('.').peekable();
            while let Some(segment) = segments.next() {
                if segment == ">" && segments.peek().is_some() {
                    return Err(InvalidTopic::Reserved);
                }
            }
            is_all |= name == "all" || name == ">";
            names.insert(name);
            if names.len() > MAX_PATTERNS {
                return Err(InvalidTopic::TooMany {
                    limit: MAX_PATTERNS,
                });
            }
        }
        if is_all {
            return Ok(Self::all());
        }
        match names.iter().map(Topic::new).collect() {
            Ok(topics) => Self::of_listed(topics),
            Err(_) => Ok(Self(Selection::Patterns(
                names.into_iter().map(Box::<str>::from).collect(),
            ))),
        }
    }
}

impl TryFrom<String> for Topics {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, InvalidTopic> {
        text.parse()
    }
}

impl TryFrom<Vec<Topic>> for Topics {
    type Error = InvalidTopic;

    fn try_from(topics: Vec<Topic>) -> Result<Self, InvalidTopic> {
        Self::of_listed(topics.into_iter().collect())
    }
}

impl From<Topic> for Topics {
    fn from(topic: Topic) -> Self {
        Self(Selection::Listed([topic].into()))
    }
}

impl From<&Topic> for Topics {
    fn from(topic: &Topic) -> Self {
        topic.clone().into()
    }
}

impl From<&Self> for Topics {
    fn from(topics: &Self) -> Self {
        topics.clone()
    }
}

impl From<&'static str> for Topics {
    /// A selection that stands as a literal in your source.
    ///
    /// # Panics
    ///
    /// If the literal is not a selection: the first run shows it. Text from outside goes
    /// through [`str::parse`].
    #[track_caller]
    fn from(literal: &'static str) -> Self {
        match literal.parse() {
            Ok(topics) => topics,
            Err(error) => panic!("{literal:?} does not select topics: {error}"),
        }
    }
}

impl<const N: usize> From<[&'static str; N]> for Topics {
    /// Several literals at once.
    ///
    /// # Panics
    ///
    /// As from one literal, and if there is none.
    #[track_caller]
    fn from(literals: [&'static str; N]) -> Self {
        match literals.join(",").parse() {
            Ok(topics) => topics,
            Err(error) => panic!("{literals:?} do not select topics: {error}"),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// Why a text names no topic, or selects none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTopic {
    /// There is no text, or a segment between two dots has none.
    Empty,
    /// The topic is longer than `limit` bytes.
    TooLong {
        /// The longest a topic can be, in bytes.
        limit: usize,
    },
    /// A control character or a comma.
    Character {
        /// Where it stands, in bytes from the start of the name.
        at: usize,
    },
    /// A word that only selections use: `all`, `*`, or a `>` that is not at the end.
    Reserved,
    /// The selection names more than `limit` topics and patterns.
    TooMany {
        /// The most that one selection can name.
        limit: usize,
    },
}

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a topic needs text in each of its segments"),
            Self::TooLong { limit } => write!(f, "a topic has at most {limit} bytes"),
            Self::Character { at } => {
                write!(f, "a topic cannot hold the character at byte {at}")
            }
            Self::Reserved => f.write_str("all, * and > only have a meaning in a selection"),
            Self::TooMany { limit } => write!(f, "a selection names at most {limit} topics"),
        }
    }
}

impl std::error::Error for InvalidTopic {}

/// What topics and patterns have in common.
fn check(name: &str) -> Result<(), InvalidTopic> {
    if name.len() > MAX_BYTES {
        return Err(InvalidTopic::TooLong { limit: MAX_BYTES });
    }
    if let Some((at, _)) = name
        .char_indices()
        .find(|(_, c)| c.is_control() || *c == ',')
    {
        return Err(InvalidTopic::Character { at });
    }
    if name.split('.').any(str::is_empty) {
        return Err(InvalidTopic::Empty);
    }
    Ok(())
}

fn pattern_matches(pattern: &str, topic: &str) -> bool {
    let mut segments = topic.split('.');
    for part in pattern.split('.') {
        match (part, segments.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(segment)) if part == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_refuse_what_selections_or_the_wire_would_misread() {
        for (text, expect) in [
            ("a", Ok(())),
            ("a.b.c", Ok(())),
            ("größe", Ok(())),
            ("", Err(InvalidTopic::Empty)),
            (".", Err(InvalidTopic::Empty)),
            ("a..b", Err(InvalidTopic::Empty)),
            ("a.", Err(InvalidTopic::Empty)),
            ("a,b", Err(InvalidTopic::Character { at: 1 })),
            ("a\rb", Err(InvalidTopic::Character { at: 1 })),
            ("a\nb", Err(InvalidTopic::Character { at: 1 })),
            ("ab\0", Err(InvalidTopic::Character { at: 2 })),
            ("all", Err(InvalidTopic::Reserved)),
            ("a.all", Ok(())),
            ("*", Err(InvalidTopic::Reserved)),
            ("a.>", Err(InvalidTopic::Reserved)),
        ] {
            assert_eq!(Topic::new(text).map(drop), expect, "{text:?}");
        }
        assert!(Topic::new("x".repeat(255)).is_ok());
        assert_eq!(
            Topic::new("x".repeat(256)),
            Err(InvalidTopic::TooLong { limit: 255 })
        );
    }

    #[test]
    fn selections_match_as_written() {
        for (selection, topic, expect) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a,b", "b", true),
            ("all", "x.y", true),
            (">", "x", true),
            ("*", "x", true),
            ("*", "x.y", false),
            ("sensors.*.temp", "sensors.7.temp", true),
            ("sensors.*.temp", "sensors.temp", false),
            ("sensors.*.temp", "sensors.7.8.temp", false),
            ("orders.>", "orders", false),
            ("orders.>", "orders.1", true),
            ("orders.>", "orders.1.2", true),
            ("a,orders.>", "a", true),
            ("*.x", "all.x", true),
        ] {
            let topics: Topics = selection.parse().expect(selection);
            assert_eq!(
                topics.matches(&topic.into()),
                expect,
                "{selection} against {topic}"
            );
        }
    }

    #[test]
    fn a_selection_covers_what_is_in_it() {
        for (selection, other, expect) in [
            ("all", "all", true),
            ("all", "a,b.*,c.>", true),
            ("a,b", "b", true),
            ("a,b", "b,c", false),
            ("a", "*", false),
            ("*", "a", true),
            ("*", "*", true),
            ("*", "all", false),
            ("*,*.>", "all", true),
            ("*,*.*,*.*.>", "all", true),
            ("a.*", "a.>", false),
            ("a.>", "a.*", true),
            ("a.>", "a.>", true),
            ("a.>", "a", false),
            ("a.>", "a.b.>", true),
            ("a.*.c", "a.>", false),
            ("a.*,a.*.>", "a.>", true),
            ("a.*.>", "a.>", false),
            ("a.b.c.d", "a.>", false),
            ("*.b", "a.*", false),
            ("a.*", "*.b", false),
            ("*.b>", "*.b>", true),
            ("*.b*", "*.b>", false),
        ] {
            let parse = |text: &str| text.parse::<Topics>().expect(text);
            let covers = parse(selection).covers(&parse(other));
            assert_eq!(covers, expect, "{other} in {selection}");
        }
    }

    #[test]
    fn the_same_selection_is_equal_however_it_is_written() {
        let parse = |text: &str| text.parse::<Topics>();
        assert_eq!(parse("b,a,b"), parse("a,b"));
        assert_eq!(parse("a,>"), Ok(Topics::all()));
        assert_eq!(
            parse("b,*.x").map(|topics| topics.to_string()),
            Ok("*.x,b".to_owned())
        );
        assert_eq!(parse(""), Err(InvalidTopic::Empty));
        assert_eq!(parse("a,"), Err(InvalidTopic::Empty));
        assert_eq!(parse("a.>.b"), Err(InvalidTopic::Reserved));
        let many = |n: usize| {
            (0..n)
                .map(|i| format!("t{i}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert!(parse(&many(64)).is_ok());
        assert_eq!(parse(&many(65)), Err(InvalidTopic::TooMany { limit: 64 }));
    }
}
