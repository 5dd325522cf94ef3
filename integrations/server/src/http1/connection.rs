//! [`Connection`]: a connection as hyper reads and writes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::chunks::{poll_write_pieces, Socket};

/// A connection of which is known whether hyper still has something to write to it.
pub(super) struct Connection<I> {
    io: I,
    /// What has been read from it before it came to hyper.
    early: Vec<u8>,
    flushed: Flushed,
}

/// Whether everything that hyper had to write has been written. hyper flushes when that is so, and writes
/// before. All in one task.
#[derive(Clone, Default)]
pub(super) struct Flushed(Arc<AtomicBool>);

impl<I> Connection<I> {
    /// `early` is what has been read from it already.
    pub(super) fn new(io: I, early: Vec<u8>) -> Self {
        Self {
            io,
            early,
            flushed: Flushed::default(),
        }
    }

    /// With what hyper has read from it and not used.
    pub(super) fn with_early(mut self, read: Bytes) -> Self {
        self.early.splice(..0, read);
        self
    }

    pub(super) fn into_parts(self) -> (I, Vec<u8>) {
        (self.io, self.early)
    }

    pub(super) fn flushed(&self) -> Flushed {
        self.flushed.clone()
    }
}

impl Flushed {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, is_flushed: bool) {
        self.0.store(is_flushed, Ordering::Relaxed);
    }
}

impl<I: Read + Unpin> Read for Connection<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.early.len().min(buffer.remaining());
        let rest = self.early.split_off(length);
        buffer.put_slice(&self.early);
        self.early = rest;
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Connection<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.flushed.set(false);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed.set(false);
        poll_write_pieces(cx, &mut Io(&mut self.io), pieces)
    }
}

/// hyper's idea of a connection, as chunks are written to it.
pub(super) struct Io<'a, I>(pub(super) &'a mut I);

impl<I: Write + Unpin> Socket for Io<'_, I> {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }
}
