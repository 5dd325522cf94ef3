//! What the demo's routes answer where they do not answer with a stream or the page.

// What is turned into text is taken by value, which reads best where it is called.
#![allow(clippy::needless_pass_by_value)]

use std::time::Duration;

use fanfare::Refused;
use serde_json::{json, Value};

use crate::MAX_DATA;

/// A status, headers and JSON.
///
/// Each framework's demo writes it as its framework writes answers; what is in it is decided here.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers beside those of JSON: names in lower case, and values that HTTP allows.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub json: Value,
}

impl Reply {
    pub(crate) fn new(status: u16, json: Value) -> Self {
        Self {
            status,
            // All of it is news: a copy in a cache would be old at once.
            headers: vec![("cache-control", "no-store".to_owned())],
            json,
        }
    }

    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// What went wrong, in plain words.
    #[must_use]
    pub fn error(status: u16, words: impl ToString) -> Self {
        Self::new(status, json!({ "error": words.to_string() }))
    }

    /// The answer to a request that no route took: 405 with `Allow` where a route takes another
    /// method, which HTTP asks for and which tells a wrong method from a wrong address, else 404.
    #[must_use]
    pub fn no_route(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let allow = match segments[..] {
            ["" | "events" | "poll" | "long-poll" | "stats" | "metrics" | "debug"]
            | ["debug", "streams"] => "GET, HEAD, OPTIONS",
            ["events", topics] if !topics.is_empty() => "GET, HEAD, OPTIONS",
            ["streams"] => "DELETE, OPTIONS",
            ["echo" | "tickets"] => "POST, OPTIONS",
            ["publish", topic] if !topic.is_empty() => "POST, OPTIONS",
            _ => return Self::error(404, "there is nothing here"),
        };
        Self::error(405, format!("only {allow} can be used here")).header("allow", allow)
    }

    /// The answer to who may not do this, whatever the reason.
    pub(crate) fn unauthorized() -> Self {
        let words = "this needs the token; for streams a ticket will do, which is valid once";
        Self::error(401, words).header("www-authenticate", "Bearer")
    }

    /// The answer to a path that is not UTF-8.
    #[must_use]
    pub fn path_not_utf8() -> Self {
        Self::error(400, "a path is UTF-8")
    }

    /// The answer to a body that did not arrive.
    #[must_use]
    pub fn unreadable_body() -> Self {
        Self::error(400, "the body cannot be read")
    }

    /// The answer to a body that is longer than [`MAX_DATA`].
    #[must_use]
    pub fn too_large() -> Self {
        Self::error(413, "an event's data is at most 1 MiB")
    }

    /// The answer to a body that has not come in time.
    pub(crate) fn too_slow() -> Self {
        Self::error(408, "the body does not come in time")
    }

    /// The answer to a client that is one too many, with the time after which to come back.
    pub(crate) fn refused(refused: Refused) -> Self {
        let seconds = whole_seconds(refused.retry_after);
        Self::error(refused.status(), refused).header("retry-after", seconds)
    }
}

/// Rounded up, as the integrations' `Sse` does: who comes back too early is refused again.
fn whole_seconds(wait: Duration) -> u128 {
    wait.as_millis().div_ceil(1_000).max(1)
}

/// Refuses a body by the length that is stated before it, so that it need not be read.
///
/// # Errors
///
/// [`Reply::too_large`].
///
/// ```
/// assert!(demo_shared::check_length(Some(7)).is_ok());
/// assert!(demo_shared::check_length(None).is_ok()); // Then it is counted as it is read.
/// assert_eq!(demo_shared::check_length(Some(u64::MAX)), Err(demo_shared::Reply::too_large()));
/// ```
pub fn check_length(length: Option<u64>) -> Result<(), Reply> {
    match length {
        Some(length) if usize::try_from(length).map_or(true, |length| length > MAX_DATA) => {
            Err(Reply::too_large())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_come_back_too_early() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_999, 3)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn a_wrong_method_is_told_from_a_wrong_address() {
        for (path, allow) in [
            ("/", Some("GET, HEAD, OPTIONS")),
            ("/events/a", Some("GET, HEAD, OPTIONS")),
            ("/publish/a", Some("POST, OPTIONS")),
            ("/streams", Some("DELETE, OPTIONS")),
            ("/events/", None),
            ("/publish", None),
            ("", None),
            ("//", None),
        ] {
            let reply = Reply::no_route(path);
            assert_eq!(
                reply.status,
                if allow.is_some() { 405 } else { 404 },
                "{path}"
            );
            let headers = reply.headers.iter();
            let value = headers.clone().find(|(name, _)| *name == "allow");
            assert_eq!(value.map(|(_, value)| value.as_str()), allow, "{path}");
        }
    }
}
