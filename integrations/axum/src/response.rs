//! [`Sse`], the response.

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use fanfare_core::response::{Answer, HEADERS};
use http::header::{HeaderName, HeaderValue, CONTENT_TYPE, RETRY_AFTER};
use http::StatusCode;

/// A stream of server-sent events as an axum response.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s. The
/// response has the [`HEADERS`] and sends its first bytes with them.
///
/// ```
/// use async_stream::stream;
/// use fanfare_axum::Sse;
/// use fanfare_core::Event;
///
/// async fn countdown() -> Sse {
///     Sse::new(stream! {
///         for n in (0..10).rev() {
///             yield Event::data(n.to_string()).name("tick");
///         }
///     })
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Sse(Answer);

impl Sse {
    /// The response to a subscription, a refusal, or a stream of events.
    ///
    /// A subscription is opened here; one that is refused is answered as the broadcaster was
    /// told to.
    pub fn new(answer: impl Into<Answer>) -> Self {
        Self(answer.into())
    }
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        // Always a valid status; were it not, it would be the server that is at fault.
        let status = StatusCode::from_u16(self.0.status());
        let retry_after = self.0.retry_after();
        let mut response = Response::new(Body::new(self.0.into_body()));
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_stream = response.status() == StatusCode::OK;
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if !is_stream {
            let words = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(CONTENT_TYPE, words);
        } else {
            for (name, value) in HEADERS {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
        }
        response
    }
}
