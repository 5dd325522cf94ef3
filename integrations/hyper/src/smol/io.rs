//! [`Io`]: a socket as hyper reads and writes it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use async_io::Async;
use hyper::rt;

/// The most that is read at once. It is read onto the stack, since only unsafe code reads into
/// memory that is not initialized, and to zero hyper's buffer costs each of its polls more.
const READ_BYTES: usize = 4 * 1024;

/// A connection, for hyper.
///
/// An event wakes its connection, and both directions are then polled. One that had nothing to
/// read remembers that, and asks the system again only when the reactor says that there is
/// something: so an event costs one system call, the write.
#[derive(Debug)]
pub struct Io {
    socket: Arc<Async<TcpStream>>,
    /// Whether the socket had nothing more to read.
    is_drained: bool,
    /// Whether the socket took no more.
    is_full: bool,
}

impl Io {
    /// A connection that sends at once: it sets `TCP_NODELAY`.
    ///
    /// Takes an `Async<TcpStream>` and a `smol::net::TcpStream`.
    pub fn new(stream: impl Into<Arc<Async<TcpStream>>>) -> Self {
        let socket = stream.into();
        // Refused only where the client is gone already, and then nobody waits.
        let _ = socket.get_ref().set_nodelay(true);
        Self {
            socket,
            is_drained: false,
            is_full: false,
        }
    }

    /// Writes until the socket takes something.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.is_full {
                ready!(self.socket.poll_writable(cx))?;
                self.is_full = false;
            }
            match write(self.socket.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.is_drained {
                ready!(self.socket.poll_readable(cx))?;
                self.is_drained = false;
            }
            let mut bytes = [0; READ_BYTES];
            let room = buffer.remaining().min(READ_BYTES);
            match self.socket.get_ref().read(&mut bytes[..room]) {
                Ok(count) => {
                    // Should there be more by now, the reactor says so.
                    self.is_drained = count < room;
                    buffer.put_slice(&bytes[..count]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_drained = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut socket| socket.write_vectored(slices))
    }

    /// So that hyper keeps events shared: else it copies them, for each client, into a buffer that
    /// only grows.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}
