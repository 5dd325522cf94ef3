//! Server-sent events for [axum](https://docs.rs/axum): a native response and an extractor.
//!
//! ```
//! use axum::{extract::State, routing::get, Router};
//! use fanfare_axum::{LastEventId, Sse};
//! use fanfare_core::Broadcaster;
//!
//! async fn prices(State(hub): State<Broadcaster>, last: LastEventId) -> Sse {
//!     Sse::new(hub.subscribe("prices").after(last))
//! }
//!
//! let app: Router = Router::new().route("/prices", get(prices)).with_state(Broadcaster::new());
//! # let _ = app;
//! ```
//!
//! # Serving
//!
//! Four things that a server of long streams needs are not axum's defaults:
//!
//! - **No delay.** Without `TCP_NODELAY` a small event can wait some 40 ms for the
//!   acknowledgement of the one before. [`bind`] sets it; for a listener of your own there is
//!   [`TcpOptions::apply`], and `axum::serve::ListenerExt::tap_io` for its connections.
//! - **Clients that die.** One that vanishes without a word is counted until TCP gives up on what
//!   was sent to it, a quarter of an hour later. On a listener from [`bind`] it is found within 30
//!   seconds, or two keep-alives if [`TcpOptions`] are told the interval.
//! - **An end.** Graceful shutdown waits for every response, and a stream of events has no end
//!   of its own: give it [`Broadcaster::close_when`](fanfare_core::Broadcaster::close_when), or
//!   [`Broadcaster::drain_when`](fanfare_core::Broadcaster::drain_when), which spreads the ends. A
//!   client that has stopped reading never takes its end;
//!   [`Broadcaster::serve`](fanfare_core::Broadcaster::serve) bounds the wait for it.
//! - **Bounds for strangers.** `axum::serve` waits for the rest of a request's head forever, and
//!   accepts as many connections as there are files. Use [`serve`] in its place, with
//!   [`max_connections`](Serve::max_connections), or put a proxy in front.
//!
//! ```no_run
//! # use std::{future::Future, time::Duration};
//! # use fanfare_core::Broadcaster;
//! # async fn serve(
//! #     app: axum::Router,
//! #     hub: Broadcaster,
//! #     signal: impl Future<Output = ()> + Send + 'static,
//! # ) -> std::io::Result<()> {
//! let options = fanfare_axum::TcpOptions::new().keep_alive(hub.keep_alive_interval());
//! let listener = fanfare_axum::bind_with("127.0.0.1:3000", options).await?;
//! let server = fanfare_axum::serve(listener, app.into_make_service())
//!     .with_graceful_shutdown(hub.close_when(signal));
//! hub.serve(server, Duration::from_secs(1)).await
//! # }
//! ```
//!
//! A client that disconnects is noticed at once, and its stream dropped. If it had sent more than
//! its request, hyper does not read on, and it is noticed by the second keep-alive.
//!
//! # Compression
//!
//! `tower_http::compression`'s default predicate leaves event streams alone. With a predicate
//! of your own, add `.and(NotForContentType::SSE)`: every client would otherwise pay for an
//! encoder of its own.

#![forbid(unsafe_code)]

mod error;
mod extract;
mod response;
mod server;

pub use error::PublishError;
pub use extract::LastEventId;
#[doc(inline)]
pub use fanfare_server::{
    tokio::{bind, bind_with, Serve},
    TcpOptions,
};
pub use response::Sse;
pub use server::serve;
