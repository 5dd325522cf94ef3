//! [`serve`], a server that bounds half requests and connections.

use std::convert::Infallible;
use std::future::{ready, Ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use fanfare_server::tokio::Serve;
use tokio::net::TcpListener;
use tower_service::Service;
use warp::http::Request;

/// As `warp::serve`, with a bound on half requests: a connection that does not complete a request's
/// head within [`Serve::header_read_timeout`], or idles for that long between two requests, is closed.
/// A head of more than 64 KiB or 100 headers is refused. Facing strangers, bound the number of
/// connections too: [`Serve::max_connections`].
///
/// Takes `warp::service(routes)`. Only warp's own server can tell `warp::addr::remote` who the client
/// is, so every request has its client's address among its extensions, as a [`Peer`].
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
    let peer = None;
    fanfare_server::tokio::serve(listener, WithPeer { service, peer })
}

/// A request's client, among the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

/// A service whose requests say from whom they are. See [`serve`].
#[derive(Clone, Debug)]
pub struct WithPeer<S> {
    service: S,
    /// `None` for the one of which each connection's is made.
    peer: Option<Peer>,
}

impl<S: Clone> Service<SocketAddr> for WithPeer<S> {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, peer: SocketAddr) -> Self::Future {
        ready(Ok(Self {
            service: self.service.clone(),
            peer: Some(Peer(peer)),
        }))
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.service.call(request)
    }
}
