//! [`Sse`], the response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{self, BodySize, BoxBody, MessageBody};
use actix_web::http::header::{ContentEncoding, ContentType, RETRY_AFTER};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::{HttpRequest, HttpResponse, Responder};
use bytes::Bytes;
use fanfare_core::response::{Answer, SseBody, HEADERS};
use futures_core::Stream;

/// A stream of server-sent events as an actix-web response.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s. The
/// response has the [`HEADERS`] and sends its first bytes with them. To a `HEAD` request it is
/// the headers alone.
///
/// ```
/// use actix_web::get;
/// use async_stream::stream;
/// use fanfare_actix_web::Sse;
/// use fanfare_core::Event;
///
/// #[get("/countdown")]
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

impl Responder for Sse {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        // Always a valid status; were it not, it would be the server that is at fault.
        let status = StatusCode::from_u16(self.0.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.0.retry_after() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if status == StatusCode::OK {
            for header in HEADERS {
                response.insert_header(header);
            }
            // The `Compress` middleware leaves alone what already has an encoding.
            response.insert_header(ContentEncoding::Identity);
        } else {
            response.insert_header(ContentType::plaintext());
        }
        // actix-web would read a body for HEAD to its end, which an endless one does not have.
        if request.method() == Method::HEAD {
            return response.body(body::None::new());
        }
        if request.version() >= Version::HTTP_11 {
            return response.body(BoxBody::new(Body(self.0.into_body())));
        }
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
        let mut response = response
            .force_close()
            .body(BoxBody::new(Body(self.0.into_body())));
        response.head_mut().no_chunking(true);
        response
    }
}

/// [`SseBody`] as actix-web reads it. An empty piece would end the response; there is none.
struct Body(SseBody);

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|bytes| bytes.map(Ok))
    }
}
