//! [`Sse`] and [`response`], the response.

use fanfare_core::response::{Answer, SseBody, HEADERS};
use http::header::{HeaderName, HeaderValue, CONTENT_TYPE, RETRY_AFTER};
use http::{Response, StatusCode};

/// The response to a subscription, a refusal, or a stream of events.
///
/// The same as [`Sse::new`] and [`Sse::into_response`].
///
/// ```
/// use fanfare_core::{response::SseBody, Broadcaster};
/// use fanfare_hyper::LastEventId;
/// use http::{Request, Response};
///
/// fn prices<B>(hub: &Broadcaster, request: &Request<B>) -> Response<SseBody> {
///     fanfare_hyper::response(hub.subscribe("prices").after(LastEventId::from_request(request)))
/// }
/// # let response = prices(&Broadcaster::new(), &Request::new(()));
/// # assert_eq!(response.headers()["content-type"], "text/event-stream");
/// ```
pub fn response(answer: impl Into<Answer>) -> Response<SseBody> {
    Sse::new(answer).into_response()
}

/// A stream of server-sent events as a response of [`http`]'s.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s. The
/// response has the [`HEADERS`] and sends its first bytes with them.
///
/// ```
/// use async_stream::stream;
/// use fanfare_core::{response::SseBody, Event};
/// use fanfare_hyper::Sse;
/// use http::Response;
///
/// fn countdown() -> Response<SseBody> {
///     let events = stream! {
///         for n in (0..10).rev() {
///             yield Event::data(n.to_string()).name("tick");
///         }
///     };
///     Sse::new(events).into_response()
/// }
/// # let _ = countdown();
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

    /// The response, whose body is not boxed: hyper sends it as it is.
    pub fn into_response(self) -> Response<SseBody> {
        // Always a valid status; were it not, it would be the server that is at fault.
        let status = StatusCode::from_u16(self.0.status());
        let retry_after = self.0.retry_after();
        let mut response = Response::new(self.0.into_body());
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

impl From<Sse> for Response<SseBody> {
    fn from(sse: Sse) -> Self {
        sse.into_response()
    }
}
