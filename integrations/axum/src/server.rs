//! [`serve`], a server that bounds half requests and connections.

use fanfare_server::tokio::Serve;
use tokio::net::TcpListener;

/// As `axum::serve`, with a bound on half requests: a connection that does not complete a request's
/// head within [`Serve::header_read_timeout`], or idles for that long between two requests, is closed.
/// A head of more than 64 KiB or 100 headers is refused. Facing strangers, bound the number of
/// connections too: [`Serve::max_connections`].
///
/// Takes what makes a service of a client's address: `app.into_make_service()`, or
/// `app.into_make_service_with_connect_info::<SocketAddr>()`. It speaks HTTP/1.1, which is all that
/// browsers speak without TLS.
///
/// ```no_run
/// # use std::{future::Future, time::Duration};
/// # use fanfare_core::Broadcaster;
/// # async fn serve(
/// #     app: axum::Router,
/// #     hub: Broadcaster,
/// #     signal: impl Future<Output = ()> + Send + 'static,
/// # ) -> std::io::Result<()> {
/// let listener = fanfare_axum::bind("127.0.0.1:3000").await?;
/// let server = fanfare_axum::serve(listener, app.into_make_service())
///     .header_read_timeout(Duration::from_secs(10))
///     .with_graceful_shutdown(hub.close_when(signal));
/// hub.serve(server, Duration::from_secs(1)).await
/// # }
/// ```
pub fn serve<M>(listener: TcpListener, make_service: M) -> Serve<M> {
    fanfare_server::tokio::serve(listener, make_service)
}
