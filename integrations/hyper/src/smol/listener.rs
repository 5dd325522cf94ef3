//! [`bind`], a listener whose connections send at once and whose dead peers are found.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use async_io::Async;
use fanfare_server::TcpOptions;

use super::Io;

/// Binds a listener whose connections send at once and whose dead peers are found, with room for
/// many clients that come at once.
///
/// Its connections have the default [`TcpOptions`], which say what that means; [`bind_with`] takes
/// others.
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
    bind_with(address, TcpOptions::new()).await
}

/// [`bind`] with options of your own: for another keep-alive than the default, say.
///
/// # Errors
///
/// As [`bind`].
///
/// ```
/// use std::time::Duration;
/// use fanfare_hyper::smol::{bind_with, TcpOptions};
///
/// # smol::block_on(async {
/// let options = TcpOptions::new().keep_alive(Duration::from_secs(5));
/// let listener = bind_with("127.0.0.1:0", options).await?;
/// # let _ = listener;
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn bind_with(address: impl ToSocketAddrs, options: TcpOptions) -> io::Result<Listener> {
    fanfare_server::bind_with(address, options)?.try_into()
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

    /// A listener of your own, one that a supervisor handed over, say;
    /// [`TcpOptions::apply`] gives it what [`bind`] does.
    fn try_from(listener: TcpListener) -> io::Result<Self> {
        Async::new(listener).map(Self)
    }
}

impl From<Listener> for Async<TcpListener> {
    /// For who accepts connections as they are, to speak TLS on them say.
    fn from(listener: Listener) -> Self {
        listener.0
    }
}
