//! [`LastEventId`], the extractor.

use std::convert::Infallible;
use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

/// Where a returning client says it stopped: an extractor that never rejects.
///
/// Reads the `Last-Event-ID` header, then the query parameters
/// [`QUERY_NAMES`](fanfare_core::LastEventId::QUERY_NAMES). What it holds cannot be wrong: an id
/// that cannot be used is answered in the stream, by a gap event.
///
/// ```
/// use axum::extract::State;
/// use fanfare_axum::{LastEventId, Sse};
/// use fanfare_core::Broadcaster;
///
/// async fn prices(State(hub): State<Broadcaster>, last: LastEventId) -> Sse {
///     Sse::new(hub.subscribe("prices").after(last))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(pub fanfare_core::LastEventId);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(fanfare_core::LastEventId::from_http(
            &parts.headers,
            &parts.uri,
        )))
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
