//! [`bind`], a listener whose connections send at once.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use async_io::Async;

use super::Io;

/// How many connections may wait to be accepted: a page's worth of clients that all return at
/// once. The system may cut it to its own limit.
#[cfg(unix)]
const BACKLOG: i32 = 4_096;

/// Binds a listener with room for many clients that come at once.
///
/// A name is looked up on the calling thread, which waits for it; an address is not looked up.
///
/// # Errors
///
/// The last address's error if no address could be bound, or that of the name's resolution.
///
/// ```
/// # async_io::block_on(async {
/// let listener = fanfare_hyper::smol::bind("127.0.0.1:0").await?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Listener> {
    let listener = TcpListener::bind(address)?;
    // The standard library listens with a short backlog; to listen again changes it.
    #[cfg(unix)]
    rustix::net::listen(&listener, BACKLOG)?;
    listener.try_into()
}

/// Where connections come from. See [`bind`].
#[derive(Debug)]
pub struct Listener(Async<TcpListener>);

impl Listener {
    /// Where it listens: the port too, if [`bind`] was to pick one.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The next connection, with `TCP_NODELAY`, and whose it is.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`]: of one connection that failed, or of a process that may have no
    /// more files. The next call can succeed.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, it has taken no connection.
    pub async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Io::new(stream), peer))
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    /// A listener of your own, one that a supervisor handed over, say.
    fn try_from(listener: TcpListener) -> io::Result<Self> {
        Async::new(listener).map(Self)
    }
}
