//! [`PublishError`], as a response.

use std::fmt;

use rocket::http::Status;
use rocket::response::{self, Responder};
use rocket::Request;

/// What a handler that publishes fails with: `?` turns the core's error into it, and it turns
/// into a response with a fitting status and the error's words.
///
/// ```
/// use fanfare_core::{Broadcaster, Event};
/// use fanfare_rocket::PublishError;
/// use rocket::{post, State};
///
/// #[post("/prices", data = "<body>")]
/// async fn quote(hub: &State<Broadcaster>, body: String) -> Result<String, PublishError> {
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

impl<'r> Responder<'r, 'static> for PublishError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        (Status::new(self.0.status()), self.to_string()).respond_to(request)
    }
}
