//! [`Sse`], the response.

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use fanfare_core::response::Answer;

/// A stream of server-sent events as an axum response.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s. The
/// response has the [`HEADERS`](fanfare_core::response::HEADERS) and sends its first bytes with them.
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
        self.0.into_http().map(Body::new)
    }
}
