//! [`Reader`], a body as Rocket reads it: a run of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use fanfare_core::response::SseBody;
use rocket::futures::Stream;
use rocket::tokio::io::{AsyncRead, ReadBuf};

/// Fills Rocket's buffer with all that is ready: each read becomes one chunk of the response, at
/// the cost of a hop from task to task.
pub(crate) struct Reader {
    body: SseBody,
    /// What the body gave and the buffer had no room for.
    rest: Bytes,
    has_ended: bool,
}

impl Reader {
    pub(crate) fn new(body: SseBody) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            has_ended: false,
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            let taken = this.rest.len().min(buffer.remaining());
            buffer.put_slice(&this.rest[..taken]);
            this.rest.advance(taken);
            // A read of nothing is the end.
            if buffer.remaining() == 0 || this.has_ended {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut this.body).poll_next(cx) {
                Poll::Ready(Some(bytes)) => this.rest = bytes,
                Poll::Ready(None) => this.has_ended = true,
                Poll::Pending if buffer.filled().len() == before => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }
}
