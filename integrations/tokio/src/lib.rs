//! What frameworks on tokio share: [`bind`], a listener whose connections send at once, and
//! [`serve`], which bounds half requests.

#![forbid(unsafe_code)]

mod connection;
mod serve;

pub use serve::{serve, Serve};

use std::io;
use std::net::SocketAddr;

use tokio::net::{lookup_host, TcpListener, TcpSocket, ToSocketAddrs};

/// How many connections may wait to be accepted: a page's worth of clients that all return at
/// once. The system may cut it to its own limit.
const BACKLOG: u32 = 4_096;

/// Binds a listener with `TCP_NODELAY`, and room for many clients that come at once.
///
/// On Linux an accepted connection inherits the option from its listener. Where it does not, set it
/// on each connection: with axum, `axum::serve::ListenerExt::tap_io`; with warp, by accepting them
/// yourself and serving them with `warp::service`.
///
/// # Errors
///
/// As [`TcpListener::bind`]: the last address's error if no address could be bound.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
/// let listener = fanfare_tokio::bind("127.0.0.1:0").await?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut last_error = None;
    for address in lookup_host(address).await? {
        match bind_one(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A server that restarts does not wait for the connections of the one before to time out.
    // On Windows the option means something else, which nobody wants.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
