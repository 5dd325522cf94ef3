//! What integrations share in serving: [`bind`], a listener whose connections send at once and
//! whose dead peers are found; [`TcpOptions`] says how soon; and [`chunks`], in which a stream's events go to a
//! socket.
//!
//! The listener is the standard library's, which every runtime can take over.
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `http1` | HTTP/1.1 on one connection, on any runtime | no |
//! | `tokio` | a listener for tokio | no |
//! | `serve` | on tokio, an HTTP/1.1 server that bounds half requests and connections | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod accept;
pub mod chunks;
#[cfg(feature = "http1")]
#[cfg_attr(docsrs, doc(cfg(feature = "http1")))]
pub mod http1;
mod options;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

pub use accept::{
    is_of_one_connection, ACCEPT_PAUSE, HEADER_READ_TIMEOUT, LONGEST_TIMEOUT, MAX_BUFFER,
};
pub use options::TcpOptions;

/// A request's client, among the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

/// How many connections may wait to be accepted: a page's worth of clients that all return at
/// once. The system may cut it to its own limit.
pub const BACKLOG: u16 = 4_096;

/// Binds a listener with the default [`TcpOptions`], and room for many clients that come at once.
///
/// # Errors
///
/// As [`TcpListener::bind`]: the last address's error if no address could be bound.
///
/// ```
/// let listener = fanfare_server::bind("127.0.0.1:0")?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    bind_with(address, TcpOptions::new())
}

/// [`bind`] with options of your own.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_with(address: impl ToSocketAddrs, options: TcpOptions) -> io::Result<TcpListener> {
    bind_first(address.to_socket_addrs()?, options)
}

/// [`bind_with`] for names that are resolved already: the first address that can be bound is.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_first(
    addresses: impl IntoIterator<Item = SocketAddr>,
    options: TcpOptions,
) -> io::Result<TcpListener> {
    let mut last_error = None;
    for address in addresses {
        match bind_one(address, options) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_one(address: SocketAddr, options: TcpOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that restarts does not wait for the connections of the one before to time out.
    // On Windows the option means something else, which nobody wants.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Before it listens, so that no connection comes without them.
    options.apply(&socket)?;
    // As runtimes want it.
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}
