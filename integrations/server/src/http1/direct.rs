//! [`Direct`]: a stream of events that is written to its socket without hyper.

use std::pin::Pin;
use std::task::{ready, Context, Poll};

use http_body::{Body, Frame};
use hyper::body::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, Write};

use super::connection::{Connection, Io};
use crate::chunks::{Broken, Chunks};

/// A body whose head has been sent, and from here on goes to the socket in chunks.
///
/// An event costs one look at the body and one write. hyper would look three times, and keep a buffer of
/// 8 KiB for what a client does not say.
pub(super) struct Direct<I, B> {
    io: I,
    /// What the client has said meanwhile.
    early: Vec<u8>,
    /// None after its end.
    body: Option<Pin<Box<B>>>,
    chunks: Chunks,
}

impl<I: Read + Write + Unpin, B: Body> Direct<I, B> {
    pub(super) fn new(connection: Connection<I>, body: Pin<Box<B>>) -> Self {
        let (io, early) = connection.into_parts();
        Self {
            io,
            early,
            body: Some(body),
            chunks: Chunks::new(),
        }
    }

    /// The connection, for hyper to go on with.
    pub(super) fn into_connection(self) -> Connection<I> {
        Connection::new(self.io, self.early)
    }

    /// Writes until the body's end is written.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Self {
            io, body, chunks, ..
        } = self;
        match chunks.poll_write(cx, &mut Io(io), |cx| poll_piece(body, cx)) {
            Poll::Pending => self.poll_left(cx).map(Err),
            end => end,
        }
    }

    /// Ready when the client has left. What it says is kept for later; and as long as something is, it is
    /// not listened to, so that it cannot fill the memory.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        if !self.early.is_empty() {
            return Poll::Pending;
        }
        let mut room = [0; 512];
        let mut said = ReadBuf::new(&mut room);
        match ready!(Pin::new(&mut self.io).poll_read(cx, said.unfilled())) {
            Ok(()) if !said.filled().is_empty() => {
                self.early.extend_from_slice(said.filled());
                Poll::Pending
            }
            _ => Poll::Ready(Broken),
        }
    }
}

/// The body's next piece. One without bytes is its end, after which it is gone: what it holds is for others,
/// however long the client takes to read its end.
fn poll_piece<B: Body>(
    body: &mut Option<Pin<Box<B>>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, B::Error>>> {
    while let Some(there) = body {
        match ready!(there.as_mut().poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(mut data))) if data.has_remaining() => {
                let length = data.remaining();
                return Poll::Ready(Some(Ok(data.copy_to_bytes(length))));
            }
            // An empty chunk would be the last.
            Some(Ok(Ok(_))) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            // The end; or trailers, which nobody was promised.
            None | Some(Ok(Err(_))) => {
                *body = None;
                return Poll::Ready(Some(Ok(Bytes::new())));
            }
        }
    }
    Poll::Ready(None)
}
