//! [`Connection`]: actix-web's dispatcher, and who writes in its place while a stream waits for its events.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use fanfare_server::chunks::{Broken, Chunks};

use super::wire::Wire;

/// A connection on its way to its end.
pub(super) struct Connection<D> {
    dispatcher: Pin<Box<D>>,
    wire: Rc<Wire>,
    chunks: Chunks,
}

impl<D> Connection<D> {
    pub(super) fn new(dispatcher: D, wire: Rc<Wire>) -> Self {
        Self {
            dispatcher: Box::pin(dispatcher),
            wire,
            chunks: Chunks::new(),
        }
    }
}

impl<D, E> Future for Connection<D>
where
    D: Future<Output = Result<(), E>>,
{
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            dispatcher,
            wire,
            chunks,
        } = &mut *self;
        if wire.is_direct() {
            let mut socket = &**wire;
            match chunks.poll_write(cx, &mut socket, |cx| wire.poll_direct(cx)) {
                // The client has left.
                Poll::Ready(Err(Broken)) => return Poll::Ready(Ok(())),
                // The last chunk is the dispatcher's, and what becomes of the connection.
                Poll::Ready(Ok(())) => wire.give_back(),
                Poll::Pending if wire.poll_said(cx).is_pending() => return Poll::Pending,
                // The dispatcher notices who leaves, and keeps what is asked meanwhile.
                Poll::Pending => {}
            }
        }
        wire.listen();
        let end = dispatcher.as_mut().poll(cx);
        if end.is_pending() {
            wire.take_if_idle();
        }
        end
    }
}
