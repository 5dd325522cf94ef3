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

#[cfg(test)]
mod tests {
    use fanfare_core::response::Answer;
    use fanfare_core::Event;
    use rocket::futures::stream;
    use rocket::tokio::io::AsyncReadExt;

    use super::*;

    const WIRE: &str = ":\ndata: one\n\ndata: two\n\ndata: three\n\n";

    fn three_events() -> Reader {
        let events = ["one", "two", "three"].map(Event::data);
        Reader::new(Answer::from(stream::iter(events)).into_body())
    }

    #[rocket::async_test]
    async fn all_that_is_ready_is_one_read() {
        let mut reader = three_events();
        let mut buffer = [0; 4_096];
        let length = reader.read(&mut buffer).await.expect("it never fails");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), WIRE);
        let end = reader.read(&mut buffer).await.expect("it never fails");
        assert_eq!(end, 0);
    }

    #[rocket::async_test]
    async fn a_small_buffer_loses_nothing() {
        for size in 1..=WIRE.len() {
            let mut reader = three_events();
            let (mut received, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                match reader.read(&mut buffer).await.expect("it never fails") {
                    0 => break,
                    length => received.extend_from_slice(&buffer[..length]),
                }
            }
            assert_eq!(String::from_utf8_lossy(&received), WIRE, "{size} at once");
        }
    }

    #[rocket::async_test]
    async fn what_is_ready_does_not_wait_for_more() {
        use rocket::futures::StreamExt;
        let events = stream::iter([Event::data("one")]).chain(stream::pending());
        let mut reader = Reader::new(Answer::from(events).into_body());
        let mut buffer = [0; 4_096];
        let length = reader.read(&mut buffer).await.expect("it never fails");
        assert_eq!(&buffer[..length], b":\ndata: one\n\n");
    }
}
