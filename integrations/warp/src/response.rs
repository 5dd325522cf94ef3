//! [`Sse`], the reply.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use fanfare_core::response::{Answer, SseBody};
use futures_core::Stream;
use warp::reply::{self, Reply, Response};

/// A stream of server-sent events as a warp reply.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s, which
/// need not be `Sync`. The response has the
/// [`HEADERS`](fanfare_core::response::HEADERS) and sends its first bytes with them.
///
/// ```
/// use async_stream::stream;
/// use fanfare_core::Event;
/// use fanfare_warp::Sse;
/// use warp::Filter;
///
/// let countdown = warp::path!("countdown").map(|| {
///     Sse::new(stream! {
///         for n in (0..10).rev() {
///             yield Event::data(n.to_string()).name("tick");
///         }
///     })
/// });
/// # let _ = warp::service(countdown);
/// ```
#[derive(Debug)]
#[must_use]
pub struct Sse(Answer);

impl Sse {
    /// The reply to a subscription, a refusal, or a stream of events.
    ///
    /// A subscription is opened here; one that is refused is answered as the broadcaster was
    /// told to.
    pub fn new(answer: impl Into<Answer>) -> Self {
        Self(answer.into())
    }
}

impl Reply for Sse {
    fn into_response(self) -> Response {
        let (head, body) = self.0.into_http().into_parts();
        let mut response = reply::stream(Unfailing(body)).into_response();
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

/// The body as the stream of results that warp takes.
struct Unfailing(SseBody);

impl Stream for Unfailing {
    type Item = Result<<SseBody as Stream>::Item, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|piece| piece.map(Ok))
    }
}
