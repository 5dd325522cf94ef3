//! [`last_event_id`], the filter.

use std::convert::Infallible;
use std::ops::Deref;

use warp::http::HeaderValue;
use warp::Filter;

/// A filter for where a returning client says it stopped, that never rejects.
///
/// Reads the `Last-Event-ID` header, then the query parameters
/// [`QUERY_NAMES`](fanfare_core::LastEventId::QUERY_NAMES). warp's own
/// `warp::sse::last_event_id` answers 400 where a browser writes what is not ASCII.
///
/// ```
/// use fanfare_warp::{last_event_id, LastEventId};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let request = warp::test::request().path("/prices?lastEventId=7-42");
/// let last: LastEventId = request.filter(&last_event_id()).await.unwrap();
/// assert_eq!(last.as_str(), Some("7-42"));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn last_event_id() -> impl Filter<Extract = (LastEventId,), Error = Infallible> + Copy {
    let header = warp::header::value("last-event-id")
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    let query = warp::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    header
        .and(query)
        .map(|header: Option<HeaderValue>, query: Option<String>| {
            let header = header.as_ref().map(HeaderValue::as_bytes);
            let query = query.as_deref();
            LastEventId(fanfare_core::LastEventId::from_request(header, query))
        })
}

/// Where a returning client says it stopped, from [`last_event_id`].
///
/// What it holds cannot be wrong: an id that cannot be used is answered in the stream, by a gap
/// event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(pub fanfare_core::LastEventId);

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
