//! The listener, for tokio, and a server on it.

#[cfg(feature = "serve")]
mod peer;
#[cfg(feature = "serve")]
mod serve;

use std::io;

use tokio::net::{lookup_host, TcpListener, ToSocketAddrs};

use crate::{bind_first, TcpOptions};

#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use peer::{serve_with_peer, WithPeer};
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use serve::{serve, Serve};

/// Binds a listener whose connections send at once and whose dead peers are found, with room for
/// many clients that come at once.
///
/// Its connections have the default [`TcpOptions`], which say what that means; [`bind_with`] takes
/// others.
///
/// # Errors
///
/// As [`TcpListener::bind`]: the last address's error if no address could be bound.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// let listener = fanfare_server::tokio::bind("127.0.0.1:0").await?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
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
/// use fanfare_server::TcpOptions;
///
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// let options = TcpOptions::new().keep_alive(Duration::from_secs(5));
/// let listener = fanfare_server::tokio::bind_with("127.0.0.1:0", options).await?;
/// # let _ = listener;
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn bind_with(
    address: impl ToSocketAddrs,
    options: TcpOptions,
) -> io::Result<TcpListener> {
    TcpListener::from_std(bind_first(lookup_host(address).await?, options)?)
}
