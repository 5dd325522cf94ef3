//! [`LastEventId`], the request guard.

use std::convert::Infallible;
use std::ops::Deref;

use rocket::request::{FromRequest, Outcome};
use rocket::Request;

/// Where a returning client says it stopped: a request guard that always succeeds.
///
/// Reads the `Last-Event-ID` header, then the query parameters
/// [`QUERY_NAMES`](fanfare_core::LastEventId::QUERY_NAMES). What it holds cannot be wrong: an id
/// that cannot be used is answered in the stream, by a gap event.
///
/// Rocket drops headers that are not UTF-8, which ids are, before anybody sees them; a client
/// that sends one is taken for one that sends none.
///
/// ```
/// use fanfare_core::Broadcaster;
/// use fanfare_rocket::{LastEventId, Sse};
/// use rocket::{get, State};
///
/// #[get("/prices")]
/// fn prices(hub: &State<Broadcaster>, last: LastEventId) -> Sse {
///     Sse::new(hub.subscribe("prices").after(last))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(pub fanfare_core::LastEventId);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for LastEventId {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        let header = request.headers().get_one("last-event-id");
        let query = request.uri().query();
        Outcome::Success(Self(fanfare_core::LastEventId::from_request(
            header.map(str::as_bytes),
            query.map(|query| query.as_str()),
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
