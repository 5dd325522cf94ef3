//! Server-sent events for [warp](https://docs.rs/warp): a native reply and a filter.
//!
//! ```
//! use fanfare_core::Broadcaster;
//! use fanfare_warp::{last_event_id, Sse};
//! use warp::Filter;
//!
//! let hub = Broadcaster::new();
//! let prices = warp::path!("prices")
//!     .and(warp::get())
//!     .and(last_event_id())
//!     .map(move |last| Sse::new(hub.subscribe("prices").after(last)));
//! # let _ = warp::service(prices);
//! ```
//!
//! # Serving
//!
//! Four things that a server of long streams needs are not warp's defaults:
//!
//! - **No delay.** Without `TCP_NODELAY` a small event can wait some 40 ms for the
//!   acknowledgement of the one before. [`bind`] sets it.
//! - **Clients that die.** One that vanishes without a word is counted until TCP gives up on what
//!   was sent to it, a quarter of an hour later. On a listener from [`bind`] it is found within 30
//!   seconds, or two keep-alives if [`TcpOptions`] are told the interval.
//! - **An end.** Graceful shutdown waits for every response, and a stream of events has no end
//!   of its own: give it [`Broadcaster::close_when`](fanfare_core::Broadcaster::close_when), or
//!   [`Broadcaster::drain_when`](fanfare_core::Broadcaster::drain_when), which spreads the ends. A
//!   client that has stopped reading never takes its end;
//!   [`Broadcaster::serve`](fanfare_core::Broadcaster::serve) bounds the wait for it.
//! - **Bounds for strangers.** `warp::serve` waits for the rest of a request's head forever, and
//!   accepts as many connections as there are files. Use [`serve`] in its place, with
//!   [`max_connections`](Serve::max_connections), or put a proxy in front.
//!
//! ```no_run
//! # use std::{future::Future, time::Duration};
//! # use fanfare_core::Broadcaster;
//! # use warp::{Filter, Reply};
//! # async fn serve<F>(
//! #     routes: F,
//! #     hub: Broadcaster,
//! #     signal: impl Future<Output = ()> + Send + 'static,
//! # ) -> std::io::Result<()>
//! # where
//! #     F: Filter<Error = warp::Rejection> + Clone + Send + Sync + 'static,
//! #     F::Extract: Reply,
//! # {
//! let options = fanfare_warp::TcpOptions::new().keep_alive(hub.keep_alive_interval());
//! let listener = fanfare_warp::bind_with("127.0.0.1:3000", options).await?;
//! let server = fanfare_warp::serve(listener, warp::service(routes))
//!     .with_graceful_shutdown(hub.close_when(signal));
//! hub.serve(server, Duration::from_secs(1)).await
//! # }
//! ```
//!
//! A client that disconnects is noticed at once, and its stream dropped. If it had sent more than
//! its request, hyper does not read on, and it is noticed by the second keep-alive.
//!
//! `warp::serve` logs the end of every such connection as an error of target `warp::server`, which
//! is nobody's: the directive `warp::server=off` of tracing-subscriber's filters leaves it out.
//! What `warp::trace::request()` logs has the target `warp::filters::trace`:
//! `info,warp::server=off` shows it, and `info,warp=off` does not.
//!
//! # Compression
//!
//! `warp::compression` compresses whatever passes it, event streams among it, and every client
//! would pay for an encoder of its own: wrap the other routes only.
//!
//! # HEAD
//!
//! `warp::get()` takes no HEAD. A route that is to answer it begins with
//! `warp::get().or(warp::head()).unify()`; it then ends at once, with the same headers.

#![forbid(unsafe_code)]

mod error;
mod extract;
mod response;
mod server;

pub use error::PublishError;
pub use extract::{last_event_id, LastEventId};
#[doc(inline)]
pub use fanfare_server::{
    tokio::{bind, bind_with, Serve, WithPeer},
    Peer, TcpOptions,
};
pub use response::Sse;
pub use server::serve;
