//! [`Chunks`]: a stream of events on its way to a socket, in the chunks of HTTP/1.1.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::task::{ready, Context, Poll};

use bytes::Bytes;

/// What takes bytes: a socket, or what stands before one.
pub trait Socket {
    /// Takes some of the bytes, and says how many.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Takes some of the pieces' bytes, and says how many.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends what has been taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// How many events may be sent in a row, by a body that always has one to a client that always reads: others
/// on the same thread get their turn. Not every runtime sees to that.
const MAX_STREAK: usize = 64;

/// Pieces of a body as chunks (RFC 9112, section 7.1), one after the other: none is asked for before the one
/// before is written.
#[derive(Debug, Default)]
pub struct Chunks {
    /// What is being written.
    chunk: Option<Chunk>,
}

impl Chunks {
    /// None yet.
    pub const fn new() -> Self {
        Self { chunk: None }
    }

    /// Writes what `next` has, until that says that there is no more. A piece without bytes is the last chunk.
    ///
    /// # Errors
    ///
    /// Those of `next`; and the socket's, of which nobody needs to know more than that it has failed.
    pub fn poll_write<E>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut impl Socket,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>>,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..MAX_STREAK {
            if let Some(chunk) = &mut self.chunk {
                ready!(chunk.poll_write(cx, socket)).map_err(|_| Broken)?;
                // Its data is shared, and not to be kept until the next.
                self.chunk = None;
            }
            match ready!(next(cx)) {
                Some(Ok(data)) => self.chunk = Some(Chunk::new(data)),
                Some(Err(_)) => return Poll::Ready(Err(Broken)),
                None => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The client has left, or the body has failed: the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has left, or the body has failed")
    }
}

impl Error for Broken {}

/// Whether a `content-type` is that of events.
pub fn is_of_events(content_type: &[u8]) -> bool {
    content_type.starts_with(b"text/event-stream")
}

/// A chunk, and how much of it has been written. One without data is the last.
#[derive(Debug)]
struct Chunk {
    /// Its size in hexadecimal, as hyper writes it, at the end.
    head: [u8; HEAD],
    head_starts: usize,
    data: Bytes,
    written: usize,
}

/// Every number's digits, and a line's end.
const HEAD: usize = usize::BITS as usize / 4 + END.len();
const END: &[u8] = b"\r\n";

impl Chunk {
    fn new(data: Bytes) -> Self {
        let mut head = [0; HEAD];
        let mut head_starts = HEAD - END.len();
        head[head_starts..].copy_from_slice(END);
        let mut size = data.len();
        loop {
            head_starts -= 1;
            head[head_starts] = b"0123456789ABCDEF"[size % 16];
            size /= 16;
            if size == 0 {
                break;
            }
        }
        Self {
            head,
            head_starts,
            data,
            written: 0,
        }
    }

    /// Writes what has not been written, and has it sent.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut impl Socket,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut pieces = [
                IoSlice::new(&self.head[self.head_starts..]),
                IoSlice::new(&self.data),
                IoSlice::new(END),
            ];
            let mut rest = &mut pieces[..];
            IoSlice::advance_slices(&mut rest, self.written);
            if rest.is_empty() {
                return socket.poll_flush(cx);
            }
            match ready!(poll_write_pieces(cx, socket, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
    }
}

/// A short event with its frame.
const SHORT: usize = 512;

/// A burst of events.
const LONG: usize = 4 * 1_024;

/// Writes some of the pieces of a message: those of what is short are joined, what is long is handed on as it
/// is.
///
/// An event has three pieces, since chunks have a frame. Up to 4 KiB it costs less to join them than to
/// have the system look at three; and no buffer stays with the connection.
pub fn poll_write_pieces(
    cx: &mut Context<'_>,
    socket: &mut impl Socket,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length <= SHORT {
        socket.poll_write(cx, join(pieces, &mut [0; SHORT]))
    } else if length <= LONG {
        socket.poll_write(cx, join(pieces, &mut [0; LONG]))
    } else {
        socket.poll_write_vectored(cx, pieces)
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
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time, and then has to be asked again.
    struct Narrow {
        width: usize,
        is_full: bool,
        taken: Vec<u8>,
    }

    impl Socket for Narrow {
        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.is_full = !self.is_full;
            if self.is_full {
                return Poll::Pending;
            }
            let length = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            &mut self,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What a socket of this width is sent of the pieces.
    fn sent(pieces: &[Bytes], width: usize) -> Vec<u8> {
        let mut socket = Narrow {
            width,
            is_full: false,
            taken: Vec::new(),
        };
        let mut cx = Context::from_waker(Waker::noop());
        let (mut chunks, mut rest) = (Chunks::new(), pieces.iter());
        loop {
            let next = |_: &mut Context<'_>| {
                Poll::Ready(rest.next().map(|piece| Ok::<_, ()>(piece.clone())))
            };
            if let Poll::Ready(end) = chunks.poll_write(&mut cx, &mut socket, next) {
                assert_eq!(end, Ok(()));
                return socket.taken;
            }
        }
    }

    #[test]
    fn chunks_arrive_whole_whatever_their_length_and_the_sockets_width() {
        for length in [
            1,
            15,
            16,
            SHORT - 7,
            SHORT - 6,
            LONG - 8,
            LONG - 7,
            4 * LONG,
        ] {
            let event: Bytes = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
            let mut wire = format!("{length:X}\r\n").into_bytes();
            wire.extend_from_slice(&event);
            wire.extend_from_slice(b"\r\n3\r\nend\r\n0\r\n\r\n");
            let pieces = [event, Bytes::from_static(b"end"), Bytes::new()];
            for width in [length / 50 + 1, length / 3 + 1, length + 5, usize::MAX] {
                assert!(
                    sent(&pieces, width) == wire,
                    "{length} bytes, {width} at once"
                );
            }
        }
    }

    #[test]
    fn a_piece_that_fails_ends_the_connection() {
        let mut socket = Narrow {
            width: 1,
            is_full: true,
            taken: Vec::new(),
        };
        let mut cx = Context::from_waker(Waker::noop());
        let next = |_: &mut Context<'_>| Poll::Ready(Some(Err(())));
        let end = Chunks::new().poll_write(&mut cx, &mut socket, next);
        assert_eq!(end, Poll::Ready(Err(Broken)));
    }
}
