//! [`LastEventId`], the extractor.

use std::convert::Infallible;
use std::future::{ready, Ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::header::HeaderValue;
use actix_web::{FromRequest, HttpRequest};

/// Where a returning client says it stopped: an extractor that never fails.
///
/// Reads the `Last-Event-ID` header, then the query parameters
/// [`QUERY_NAMES`](fanfare_core::LastEventId::QUERY_NAMES). What it holds cannot be wrong: an id
/// that cannot be used is answered in the stream, by a gap event.
///
/// ```
/// use actix_web::{get, web};
/// use fanfare_actix_web::{LastEventId, Sse};
/// use fanfare_core::Broadcaster;
///
/// #[get("/prices")]
/// async fn prices(hub: web::Data<Broadcaster>, last: LastEventId) -> Sse {
///     Sse::new(hub.subscribe("prices").after(last))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastEventId(pub fanfare_core::LastEventId);

impl FromRequest for LastEventId {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = request.headers().get("last-event-id");
        ready(Ok(Self(fanfare_core::LastEventId::from_request(
            header.map(HeaderValue::as_bytes),
            request.uri().query(),
        ))))
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
