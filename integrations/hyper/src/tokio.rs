//! hyper on [tokio](https://docs.rs/tokio): a listener, and an accept loop.
//!
//! ```no_run
//! use std::{convert::Infallible, time::Duration};
//!
//! use fanfare_core::Broadcaster;
//! use fanfare_hyper::{tokio as server, LastEventId};
//! use hyper::{body::Incoming, service::service_fn, Request};
//!
//! # fn signal() -> impl std::future::Future<Output = ()> + Send { std::future::pending() }
//! # #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     let hub = Broadcaster::builder().history(1_000).build();
//!     let streams = hub.clone();
//!     let service = service_fn(move |request: Request<Incoming>| {
//!         let last = LastEventId::from_request(&request);
//!         let response = fanfare_hyper::response(streams.subscribe("prices").after(last));
//!         async { Ok::<_, Infallible>(response) }
//!     });
//!     let listener = server::bind("127.0.0.1:3000").await?;
//!     let server =
//!         server::serve(listener, service).with_graceful_shutdown(hub.close_when(signal()));
//!     hub.serve(server, Duration::from_secs(1)).await
//! }
//! ```
//!
//! Other settings of hyper's take an accept loop of your own, over hyper-util's `TokioIo`; after an error
//! that [is not of one connection](is_of_one_connection), it waits for [`ACCEPT_PAUSE`]. Events
//! then go through hyper; here they are [written past it](fanfare_server::http1::serve_connection), once the head is sent.

use std::task::{Context, Poll};

#[doc(inline)]
pub use fanfare_server::{
    is_of_one_connection,
    tokio::{bind, bind_with, Serve, WithPeer},
    Peer, TcpOptions, ACCEPT_PAUSE, MAX_BUFFER,
};
use http::Request;
use hyper::body::Incoming;
use tower_service::Service;

/// Serves HTTP/1.1 to every connection of the listener, each in a task of tokio's.
///
/// The service is cloned for each connection; a [`service_fn`](hyper::service::service_fn) can be.
/// Every request has its client's address among its extensions, as a [`Peer`]. A connection that does
/// not complete a request's head within [`Serve::header_read_timeout`], or idles for that long between
/// two requests, is closed. One that fails ends alone, without a word.
///
/// See the [module](self) for an example.
pub fn serve<S>(
    listener: ::tokio::net::TcpListener,
    service: S,
) -> Serve<WithPeer<TowerService<S>>> {
    fanfare_server::tokio::serve_with_peer(listener, TowerService(service))
}

/// A service of hyper's as one of tower's, which [`Serve`] takes.
#[derive(Clone, Debug)]
pub struct TowerService<S>(S);

impl<S: hyper::service::Service<Request<Incoming>>> Service<Request<Incoming>> for TowerService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        self.0.call(request)
    }
}
