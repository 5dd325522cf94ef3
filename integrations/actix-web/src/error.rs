//! [`PublishError`], as a response.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::ResponseError;

/// What a handler that publishes fails with: `?` turns the core's error into it, and actix-web
/// turns it into a response with a fitting status and the error's words.
///
/// ```
/// use actix_web::{post, web};
/// use fanfare_actix_web::PublishError;
/// use fanfare_core::{Broadcaster, Event};
///
/// #[post("/prices")]
/// async fn quote(hub: web::Data<Broadcaster>, body: String) -> Result<String, PublishError> {
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

impl ResponseError for PublishError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
