//! [`LastEventId`], read from a request.

use std::ops::Deref;

use http::request::Parts;
use http::Request;

/// Where a returning client says it stopped. Reading it never fails.
///
/// Reads the `Last-Event-ID` header, then the query parameters
/// [`QUERY_NAMES`](fanfare_core::LastEventId::QUERY_NAMES). What it holds cannot be wrong: an id
/// that cannot be used is answered in the stream, by a gap event.
///
/// ```
/// use fanfare_hyper::LastEventId;
/// use http::Request;
///
/// let request = Request::get("/prices").header("last-event-id", "7-42").body(())?;
/// assert_eq!(LastEventId::from_request(&request).as_str(), Some("7-42"));
///
/// let request = Request::get("/prices?lastEventId=7-42").body(())?;
/// assert_eq!(LastEventId::from_request(&request).as_str(), Some("7-42"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(pub fanfare_core::LastEventId);

impl LastEventId {
    /// What this request's client says.
    #[must_use]
    pub fn from_request<B>(request: &Request<B>) -> Self {
        Self(fanfare_core::LastEventId::from_http(
            request.headers(),
            request.uri(),
        ))
    }

    /// What the client of the request with this head says.
    #[must_use]
    pub fn from_parts(parts: &Parts) -> Self {
        Self(fanfare_core::LastEventId::from_http(
            &parts.headers,
            &parts.uri,
        ))
    }
}

impl Deref for LastEventId {
    type Target = fanfare_core::LastEventId;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<LastEventId> for fanfare_core::LastEventId {
    fn from(last: LastEventId) -> Self {
        last.0
    }
}
