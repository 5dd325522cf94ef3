//! [`serve`], a server that bounds half requests and connections.

use fanfare_server::tokio::{Serve, WithPeer};
use tokio::net::TcpListener;

/// As `warp::serve`, with a bound on half requests: a connection that does not complete a request's
/// head within [`Serve::header_read_timeout`], or idles for that long between two requests, is closed.
/// A head of more than 64 KiB or 100 headers is refused. Facing strangers, bound the number of
/// connections too: [`Serve::max_connections`].
///
/// Takes `warp::service(routes)`. Only warp's own server can tell `warp::addr::remote` who the client
/// is, so every request has its client's address among its extensions, as a [`Peer`](crate::Peer).
///
/// ```no_run
/// # use std::{future::Future, time::Duration};
/// # use fanfare_core::Broadcaster;
/// use fanfare_warp::Peer;
/// use warp::Filter;
///
/// # async fn serve(
/// #     hub: Broadcaster,
/// #     signal: impl Future<Output = ()> + Send + 'static,
/// # ) -> std::io::Result<()> {
/// let hello = warp::ext::get().map(|Peer(client)| format!("hello, {client}"));
/// let listener = fanfare_warp::bind("127.0.0.1:3000").await?;
/// let server = fanfare_warp::serve(listener, warp::service(hello))
///     .header_read_timeout(Duration::from_secs(10))
///     .with_graceful_shutdown(hub.close_when(signal));
/// hub.serve(server, Duration::from_secs(1)).await
/// # }
/// ```
pub fn serve<S>(listener: TcpListener, service: S) -> Serve<WithPeer<S>> {
    fanfare_server::tokio::serve_with_peer(listener, service)
}
