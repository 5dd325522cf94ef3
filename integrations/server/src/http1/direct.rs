//! [`Direct`]: a stream of events that is written to its socket without hyper.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use http_body::Body;
use hyper::body::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, Write};

use super::connection::Connection;
use super::pieces::poll_write_pieces;

/// A body whose head has been sent, and from here on goes to the socket in chunks (RFC 9112, section 7.1).
///
/// An event costs one look at the body and one write. hyper would look three times, and keep a buffer of
/// 8 KiB for what a client does not say.
pub(super) struct Direct<I, B> {
    io: I,
    /// What the client has said meanwhile.
    early: Vec<u8>,
    /// None after its end.
    body: Option<Pin<Box<B>>>,
    /// What is being written.
    chunk: Option<Chunk>,
}

/// How many events may be sent in a row, by a body that always has one to a client that always reads: others
/// on the same thread get their turn. Not every runtime sees to that.
const MAX_STREAK: usize = 64;

/// The client has left, or the body has failed: the connection is of no use any more.
pub(super) struct Broken;

impl<I: Read + Write + Unpin, B: Body> Direct<I, B> {
    pub(super) fn new(connection: Connection<I>, body: Pin<Box<B>>) -> Self {
        let (io, early) = connection.into_parts();
        Self {
            io,
            early,
            body: Some(body),
            chunk: None,
        }
    }

    /// The connection, for hyper to go on with.
    pub(super) fn into_connection(self) -> Connection<I> {
        Connection::new(self.io, self.early)
    }

    /// Writes until the body's end is written.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.poll_write(cx) {
            Poll::Pending => self.poll_left(cx).map(Err),
            end => end,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        for _ in 0..MAX_STREAK {
            if let Some(chunk) = &mut self.chunk {
                ready!(chunk.poll_write(&mut self.io, cx)).map_err(|_| Broken)?;
                // Its data is shared, and not to be kept until the next.
                self.chunk = None;
            }
            let Some(body) = &mut self.body else {
                return Poll::Ready(Ok(()));
            };
            let data = match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) if data.has_remaining() => data.copy_to_bytes(data.remaining()),
                    // An empty chunk would be the last.
                    Ok(_) => continue,
                    // Trailers, which nobody was promised.
                    Err(_) => Bytes::new(),
                },
                Some(Err(_)) => return Poll::Ready(Err(Broken)),
                None => Bytes::new(),
            };
            if data.is_empty() {
                // What it holds is for others, however long the client takes to read its end.
                self.body = None;
            }
            self.chunk = Some(Chunk::new(data));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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

/// A chunk, and how much of it has been written. One without data is the last.
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
        io: &mut (impl Write + Unpin),
        cx: &mut Context<'_>,
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
                return Pin::new(io).poll_flush(cx);
            }
            match ready!(poll_write_pieces(Pin::new(&mut *io), cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
    }
}
