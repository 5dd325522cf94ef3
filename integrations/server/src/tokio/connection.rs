//! [`Connection`], a connection as hyper reads and writes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A short event with its frame.
const SHORT: usize = 512;

/// A burst of events.
const LONG: usize = 4 * 1_024;

/// A connection that joins the pieces of what is short, and hands on what is long as it is.
///
/// hyper has an event in three pieces, since chunks have a frame. Up to [`LONG`] it costs less to join
/// them than to have the system look at three; and no buffer stays with the connection, as hyper's own
/// does without `writev`.
pub(crate) struct Connection(TokioIo<TcpStream>);

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(TokioIo::new(stream))
    }
}

impl Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length <= SHORT {
            self.poll_write(cx, join(pieces, &mut [0; SHORT]))
        } else if length <= LONG {
            self.poll_write(cx, join(pieces, &mut [0; LONG]))
        } else {
            Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
        }
    }
}

/// Copies the pieces, one behind the other, into a buffer that has room for them.
fn join<'a>(pieces: &[IoSlice<'_>], buffer: &'a mut [u8]) -> &'a [u8] {
    let mut length = 0;
    for piece in pieces {
        buffer[length..length + piece.len()].copy_from_slice(piece);
        length += piece.len();
    }
    &buffer[..length]
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Writes the pieces until the connection has taken them, and returns what arrives.
    async fn written(pieces: &[&[u8]]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut peer, _) = listener.accept().await.expect("one has connected");
        let mut connection = Connection::new(stream);
        let mut all = pieces.concat();
        let write = async move {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let vectored =
                |cx: &mut Context<'_>| Pin::new(&mut connection).poll_write_vectored(cx, &slices);
            let length = poll_fn(vectored).await.expect("the peer is there");
            let mut rest = all.split_off(length);
            while !rest.is_empty() {
                let write = |cx: &mut Context<'_>| Pin::new(&mut connection).poll_write(cx, &rest);
                let length = poll_fn(write).await.expect("the peer is there");
                rest.drain(..length);
            }
            poll_fn(|cx| Pin::new(&mut connection).poll_shutdown(cx))
                .await
                .expect("the peer is there");
            connection
        };
        let mut received = Vec::new();
        let (_connection, read) = tokio::join!(write, peer.read_to_end(&mut received));
        read.expect("the connection ends cleanly");
        received
    }

    #[tokio::test]
    async fn pieces_arrive_whole_whatever_their_length() {
        for length in [0, 1, SHORT - 8, SHORT - 7, LONG - 8, LONG - 7, 100 * LONG] {
            let event: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
            let pieces: [&[u8]; 4] = [b"1ff\r\n", &event, b"", b"\r\n0"];
            assert!(written(&pieces).await == pieces.concat(), "{length} bytes");
        }
    }
}
