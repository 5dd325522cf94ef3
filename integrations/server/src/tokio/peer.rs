//! [`serve_with_peer`], for frameworks whose requests do not say from whom they are.

use std::convert::Infallible;
use std::future::{ready, Ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::Request;
use tokio::net::TcpListener;
use tower_service::Service;

use super::{serve, Serve};
use crate::Peer;

/// As [`serve`], with one service that is cloned for each connection. Every request has its client's
/// address among its extensions, as a [`Peer`].
pub fn serve_with_peer<S>(listener: TcpListener, service: S) -> Serve<WithPeer<S>> {
    let peer = None;
    serve(listener, WithPeer { service, peer })
}

/// A service whose requests say from whom they are. See [`serve_with_peer`].
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
