//! [`Wire`]: a connection's socket, and the stream of events that goes to it, which actix-web's dispatcher
//! shares with [`Connection`](super::connection::Connection).

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use fanfare_server::chunks::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection has. All of it is used in one task.
pub(super) struct Wire {
    socket: RefCell<TcpStream>,
    /// Whether everything that the dispatcher had to write has been written. It flushes when that is so, and
    /// writes before.
    is_flushed: Cell<bool>,
    /// The body of a stream of events, until its end.
    body: RefCell<Option<BoxBody>>,
    /// What the body has failed with, for the dispatcher to say.
    failure: RefCell<Option<Box<dyn Error>>>,
    /// Whether the body had nothing when the dispatcher last asked.
    is_waiting: Cell<bool>,
    /// Whether the body goes to the socket directly, and the dispatcher is not to have any of it.
    is_direct: Cell<bool>,
    heard: Cell<Heard>,
}

/// What came of the dispatcher's looks at the socket when it was last polled: the greatest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// It did not look. It does not once it has more requests than it keeps, and asks to be polled again and
    /// again.
    NotAsked,
    /// Nothing.
    Silence,
    /// What it may have to be polled once more for: after bytes that are no request, it closes so.
    Words,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket: RefCell::new(socket),
            is_flushed: Cell::new(false),
            body: RefCell::new(None),
            failure: RefCell::new(None),
            is_waiting: Cell::new(false),
            is_direct: Cell::new(false),
            heard: Cell::new(Heard::NotAsked),
        }
    }

    pub(super) fn is_direct(&self) -> bool {
        self.is_direct.get()
    }

    /// Takes the body from the dispatcher, if that has asked it for more, which had nothing, and has
    /// nothing left of it, or of the head, to write.
    pub(super) fn take_if_idle(&self) {
        if self.is_waiting.get() && self.is_flushed.get() {
            self.is_direct.set(true);
        }
    }

    /// Has the dispatcher end the response.
    pub(super) fn give_back(&self) {
        self.is_waiting.set(false);
        self.is_direct.set(false);
    }

    /// The body's next piece, which has bytes; none when the body has ended or failed, which the dispatcher is
    /// to be told.
    pub(super) fn poll_direct(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = match ready!(self.poll_piece(cx)) {
            Some(Ok(bytes)) => Some(Ok(bytes)),
            Some(Err(error)) => {
                self.failure.replace(Some(error));
                None
            }
            None => None,
        };
        Poll::Ready(piece)
    }

    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<dyn Error>>>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut body = self.body.borrow_mut();
        while let Some(there) = &mut *body {
            match ready!(there.as_pin_mut().poll_next(cx)) {
                // An empty chunk would be the last.
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(piece) => return Poll::Ready(Some(piece)),
                None => break,
            }
        }
        let ended = body.take();
        // Foreign code, while nothing is borrowed.
        drop(body);
        drop(ended);
        Poll::Ready(None)
    }

    /// Ready if the dispatcher is to look at the socket: the client has said something, or has left.
    pub(super) fn poll_said(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.heard.get() {
            Heard::NotAsked => Poll::Pending,
            Heard::Silence => self.socket.borrow().poll_read_ready(cx).map(drop),
            Heard::Words => Poll::Ready(()),
        }
    }

    /// Before the dispatcher is polled: what it hears is to be known.
    pub(super) fn listen(&self) {
        self.heard.set(Heard::NotAsked);
    }

    /// Puts the body of a stream of events here, for the dispatcher until it is taken.
    pub(super) fn lend(&self, body: BoxBody) {
        *self.body.borrow_mut() = Some(body);
        self.give_back();
    }

    /// Lets go of the body.
    pub(super) fn forget(&self) {
        self.give_back();
        self.failure.take();
        // Foreign code, while nothing is borrowed.
        let body = self.body.borrow_mut().take();
        drop(body);
    }

    /// The body's next piece for the dispatcher.
    pub(super) fn poll_relayed(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Box<dyn Error>>>> {
        if self.is_direct() {
            // It is asked elsewhere, in the same task.
            return Poll::Pending;
        }
        let piece = self.poll_piece(cx);
        self.is_waiting.set(piece.is_pending());
        if piece.is_ready() {
            // What it has given is still to be written.
            self.is_flushed.set(false);
        }
        piece
    }

    fn has_heard(&self, heard: Heard) {
        self.heard.set(self.heard.get().max(heard));
    }
}

impl Socket for &Wire {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_flush(cx)
    }
}

/// The socket as the dispatcher has it.
pub(super) struct Io(pub(super) Rc<Wire>);

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.0.socket.borrow_mut()).poll_read(cx, buffer);
        self.0.has_heard(if buffer.filled().len() > before {
            Heard::Words
        } else {
            Heard::Silence
        });
        read
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.is_flushed.set(false);
        Pin::new(&mut *self.0.socket.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *self.0.socket.borrow_mut()).poll_flush(cx))?;
        self.0.is_flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.socket.borrow_mut()).poll_shutdown(cx)
    }
}
