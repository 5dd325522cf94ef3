//! How the pieces of a message go to the socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::Write;

/// A short event with its frame.
const SHORT: usize = 512;

/// A burst of events.
const LONG: usize = 4 * 1_024;

/// Writes some of the pieces: those of what is short are joined, what is long is handed on as it is.
///
/// An event has three pieces, since chunks have a frame. Up to [`LONG`] it costs less to join them than to
/// have the system look at three; and no buffer stays with the connection.
pub(super) fn poll_write_pieces(
    io: Pin<&mut impl Write>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length <= SHORT {
        io.poll_write(cx, join(pieces, &mut [0; SHORT]))
    } else if length <= LONG {
        io.poll_write(cx, join(pieces, &mut [0; LONG]))
    } else {
        io.poll_write_vectored(cx, pieces)
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

#[cfg(all(test, feature = "serve"))]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Writes the pieces until the connection has taken them, and returns what arrives.
    async fn written(pieces: &[&[u8]]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut peer, _) = listener.accept().await.expect("one has connected");
        let mut io = TokioIo::new(stream);
        let all = pieces.concat();
        let write = async move {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let length = poll_fn(|cx| poll_write_pieces(Pin::new(&mut io), cx, &slices))
                .await
                .expect("the peer is there");
            let mut stream = io.into_inner();
            let rest = stream.write_all(&all[length..]).await;
            rest.expect("the peer is there");
            stream.shutdown().await.expect("the peer is there");
            stream
        };
        let mut received = Vec::new();
        let (_stream, read) = tokio::join!(write, peer.read_to_end(&mut received));
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
