//! [`Relay`]: a stream of events on its way through hyper, out of which it can be taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{ready, Context, Poll};

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::connection::Flushed;
use crate::chunks::is_of_events;

/// Where the body of a stream of events is, while hyper has it.
pub(super) struct Lent<B> {
    body: Mutex<Option<Pin<Box<B>>>>,
    /// Whether the body had nothing when it was last asked. Set and read in one task.
    is_waiting: AtomicBool,
    flushed: Flushed,
}

impl<B> Lent<B> {
    pub(super) fn new(flushed: Flushed) -> Self {
        Self {
            body: Mutex::new(None),
            is_waiting: AtomicBool::new(false),
            flushed,
        }
    }

    /// Whether hyper has asked the body for more, which had nothing, and has nothing left of it, or of the
    /// head, to write.
    pub(super) fn is_idle(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed) && self.flushed.get()
    }

    /// The body, which hyper is not to be asked for any more.
    pub(super) fn take_back(&self) -> Option<Pin<Box<B>>> {
        self.body().take()
    }

    fn lend(&self, body: B) {
        *self.body() = Some(Box::pin(body));
        self.note(false);
    }

    /// What the body has said: that it has nothing, or something.
    fn note(&self, is_waiting: bool) {
        if !is_waiting {
            // What it has given is still to be written.
            self.flushed.set(false);
        }
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
    }

    fn body(&self) -> MutexGuard<'_, Option<Pin<Box<B>>>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// hyper's hold on a body. It lets go of the body at its end, and not only of this.
pub(super) struct Loan<B>(Arc<Lent<B>>);

impl<B> Drop for Loan<B> {
    fn drop(&mut self) {
        // Foreign code, outside the lock.
        drop(self.0.take_back());
    }
}

pin_project! {
    /// A response's body for hyper.
    #[project = RelayProjection]
    pub(super) enum Relay<B> {
        /// hyper's until its end.
        Given { #[pin] body: B },
        /// A stream of events, which can be taken back.
        Lent { loan: Loan<B> },
    }
}

impl<B: Body> Body for Relay<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            RelayProjection::Given { body } => body.poll_frame(cx),
            RelayProjection::Lent { loan: Loan(lent) } => {
                let frame = match &mut *lent.body() {
                    Some(body) => body.as_mut().poll_frame(cx),
                    None => Poll::Ready(None),
                };
                lent.note(frame.is_pending());
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Given { body } => body.is_end_stream(),
            Self::Lent { loan: Loan(lent) } => lent.body().as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Given { body } => body.size_hint(),
            Self::Lent { loan: Loan(lent) } => match &*lent.body() {
                Some(body) => body.size_hint(),
                None => SizeHint::default(),
            },
        }
    }
}

/// A service whose streams of events can be taken out of hyper again.
pub(super) struct Relaying<S, B> {
    service: S,
    lent: Arc<Lent<B>>,
}

impl<S, B> Relaying<S, B> {
    pub(super) fn new(service: S, lent: Arc<Lent<B>>) -> Self {
        Self { service, lent }
    }
}

impl<S, B> Service<Request<Incoming>> for Relaying<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<Relay<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future, B>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answer {
            lent: is_over(&request).then(|| Arc::clone(&self.lent)),
            response: self.service.call(request),
        }
    }
}

pin_project! {
    /// A response to be.
    pub(super) struct Answer<F, B> {
        #[pin]
        response: F,
        // There if a stream of events may be taken back.
        lent: Option<Arc<Lent<B>>>,
    }
}

impl<F, B, E> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Relay<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let lent = this.lent.take().filter(|_| is_of_chunks(&response));
        Poll::Ready(Ok(response.map(|body| match lent {
            Some(lent) => {
                lent.lend(body);
                let loan = Loan(lent);
                Relay::Lent { loan }
            }
            None => Relay::Given { body },
        })))
    }
}

/// Whether hyper has nothing more to read of a request, can write a body in chunks, and then keeps the
/// connection.
fn is_over(request: &Request<Incoming>) -> bool {
    let says_more = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"keep-alive");
    request.version() == Version::HTTP_11
        && ![Method::HEAD, Method::CONNECT].contains(request.method())
        && request.body().is_end_stream()
        && !request.headers().get_all(CONNECTION).iter().any(says_more)
}

/// Whether a response is a stream of events, and nothing else is said of how its body is sent.
fn is_of_chunks<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    // hyper makes HTTP/1.1 of anything but this.
    response.version() != Version::HTTP_10
        && response.status() == StatusCode::OK
        && headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| is_of_events(value.as_bytes()))
        && [CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING]
            .iter()
            .all(|name| !headers.contains_key(name))
        && response.body().size_hint().exact().is_none()
}
