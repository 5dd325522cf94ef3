//! [`Relay`]: an answer's body on its way through actix-web's dispatcher, from which a stream of events can be taken.

use std::error::Error;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use actix_http::{Payload, Request, Response};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::Bytes;
use fanfare_server::chunks::is_of_events;
use pin_project_lite::pin_project;

use super::wire::Wire;

/// The wire of a request, if a stream may be taken from its answer: nothing more is to be read of the request, and
/// a body goes in chunks.
pub(super) fn wire_of(request: &mut Request) -> Option<Rc<Wire>> {
    let is_over = request.version() == Version::HTTP_11
        && ![Method::HEAD, Method::CONNECT].contains(request.method())
        && matches!(request.payload(), Payload::None);
    is_over.then(|| request.conn_data::<Weak<Wire>>()?.upgrade())?
}

/// Puts the body of a stream of events on the wire, from where it can be taken.
pub(super) fn lend<B: MessageBody + 'static>(
    wire: Option<Rc<Wire>>,
    response: Response<B>,
) -> Response<Relay<B>> {
    let wire = wire.filter(|_| is_of_chunks(&response));
    response.map_body(|_, body| match wire {
        Some(wire) => {
            wire.lend(body.boxed());
            Relay::Lent { loan: Loan(wire) }
        }
        None => Relay::Given { body },
    })
}

/// Whether a response is a stream of events, and nothing else is said of how its body is sent.
fn is_of_chunks<B: MessageBody>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK
        && headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| is_of_events(value.as_bytes()))
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
        && response.head().chunked()
        && !response.head().upgrade()
        && response.body().size() == BodySize::Stream
}

/// The dispatcher's hold on a body. It lets go of the body at its end, and not only of this.
pub(super) struct Loan(Rc<Wire>);

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.forget();
    }
}

pin_project! {
    /// A response's body for the dispatcher.
    #[project = RelayProjection]
    pub(super) enum Relay<B> {
        /// The dispatcher's until its end.
        Given { #[pin] body: B },
        /// A stream of events, which can be taken.
        Lent { loan: Loan },
    }
}

impl<B: MessageBody> MessageBody for Relay<B> {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        match self {
            Self::Given { body } => body.size(),
            Self::Lent { .. } => BodySize::Stream,
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.project() {
            RelayProjection::Given { body } => body.poll_next(cx).map_err(Into::into),
            RelayProjection::Lent { loan: Loan(wire) } => wire.poll_relayed(cx),
        }
    }
}
