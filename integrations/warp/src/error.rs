//! [`PublishError`], as a reply.

use std::fmt;

use warp::http::StatusCode;
use warp::reply::{self, Reply, Response};

/// What a handler that publishes fails with: `?` turns the core's error into it, and it turns
/// into a reply with a fitting status and the error's words.
///
/// A `Result` of two replies is a reply, so such a handler goes into `then`; no rejection has to
/// be made of the error, and none recovered.
///
/// ```
/// use fanfare_core::{Broadcaster, Event};
/// use fanfare_warp::PublishError;
/// use warp::{hyper::body::Bytes, Filter};
///
/// async fn quote(hub: Broadcaster, body: Bytes) -> Result<String, PublishError> {
///     let data = String::from_utf8_lossy(&body);
///     let id = hub.publish("prices", Event::data(data).name("quote")).await?;
///     Ok(id.to_string())
/// }
///
/// let hub = Broadcaster::new();
/// let quotes = warp::path!("prices")
///     .and(warp::post())
///     .map(move || hub.clone())
///     .and(warp::body::content_length_limit(1 << 16))
///     .and(warp::body::bytes())
///     .then(quote);
/// # let _ = warp::service(quotes);
/// ```
#[derive(Debug)]
pub struct PublishError(pub fanfare_core::PublishError);

impl From<fanfare_core::PublishError> for PublishError {
    fn from(error: fanfare_core::PublishError) -> Self {
        Self(error)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Reply for PublishError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status());
        reply::with_status(
            self.to_string(),
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        )
        .into_response()
    }
}
