//! [`PublishError`], as a response.

use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;

/// What a handler that publishes fails with: `?` turns the core's error into it, and it turns
/// into a response with a fitting status and the error's words.
///
/// ```
/// use axum::extract::State;
/// use fanfare_axum::PublishError;
/// use fanfare_core::{Broadcaster, Event};
///
/// async fn quote(State(hub): State<Broadcaster>, body: String) -> Result<String, PublishError> {
///     let id = hub.publish("prices", Event::data(body).name("quote")).await?;
///     Ok(id.to_string())
/// }
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

impl IntoResponse for PublishError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status());
        (
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            self.to_string(),
        )
            .into_response()
    }
}
