//! [`PublishError`], as a response.

use std::fmt;

use http::header::{HeaderValue, CONTENT_TYPE};
use http::{Response, StatusCode};

/// What a handler that publishes fails with: `?` turns the core's error into it, and it turns
/// into a response with a fitting status and the error's words.
///
/// ```
/// use fanfare_core::{Broadcaster, Event};
/// use fanfare_hyper::PublishError;
/// use http::Response;
///
/// async fn quote(hub: &Broadcaster, body: String) -> Result<String, PublishError> {
///     let id = hub.publish("prices", Event::data(body).name("quote")).await?;
///     Ok(id.to_string())
/// }
///
/// async fn answer(hub: &Broadcaster, body: String) -> Response<String> {
///     match quote(hub, body).await {
///         Ok(id) => Response::new(id),
///         Err(error) => error.into_response(),
///     }
/// }
/// # futures_lite::future::block_on(async {
/// # let hub = Broadcaster::new();
/// # hub.close();
/// # assert_eq!(answer(&hub, "1.07".to_owned()).await.status(), 503);
/// # });
/// ```
#[derive(Debug)]
pub struct PublishError(pub fanfare_core::PublishError);

impl PublishError {
    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response<String> {
        let status = StatusCode::from_u16(self.0.status());
        let mut response = Response::new(self.to_string());
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    }
}

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
