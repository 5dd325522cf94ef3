//! Server-sent events for axum, actix-web, Rocket, warp, hyper and all that is built on `http`, on any
//! async runtime.
//!
//! **Every subscriber receives a contiguous run of its topics' events, or is told in the stream
//! exactly where the gap is.** Each event is encoded once, however many clients listen. Your app keeps its
//! framework, its middleware and its executor.
//!
//! ```no_run
//! use std::time::Duration;
//! use axum::{extract::State, routing::get, Router};
//! use fanfare::{axum::{LastEventId, PublishError, Sse}, Broadcaster, Event};
//!
//! async fn prices(State(hub): State<Broadcaster>, last: LastEventId) -> Sse {
//!     Sse::new(hub.subscribe("prices").after(last))
//! }
//!
//! async fn quote(State(hub): State<Broadcaster>, body: String) -> Result<String, PublishError> {
//!     let id = hub.publish("prices", Event::data(body).name("quote")).await?;
//!     Ok(id.to_string())
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let hub = Broadcaster::builder().history(1_000).build();
//!     let app = Router::new().route("/prices", get(prices).post(quote)).with_state(hub.clone());
//!     let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
//!     let server = fanfare::axum::serve(listener, app.into_make_service())
//!         .with_graceful_shutdown(hub.close_when(fanfare::signal()));
//!     hub.serve(server, Duration::from_secs(1)).await
//! }
//! ```
//!
//! This crate is [`fanfare_core`] and, per feature, one integration: of a framework, a history, tickets or
//! metrics. Start with [`Broadcaster`]; a stream to one client is an [`EventStream`] or a [`channel`]; a producer
//! that serves both is written against [`EventSource`].
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `actix-web` | [`actix_web`]: `Sse` and `LastEventId` for actix-web 4.18, from Rust 1.89 | no |
//! | `axum` | [`axum`]: `Sse` and `LastEventId` for axum 0.8 | no |
//! | `hyper` | [`hyper`]: the same for hyper 1 and all that is built on `http` 1 | no |
//! | `json` | [`Event::json`] | no |
//! | `metrics` | [`metrics`]: what a broadcaster does, on the `metrics` facade | no |
//! | `redb` | [`redb`]: a history in a directory, which outlives the process, from Rust 1.90 | no |
//! | `redis` | [`redis`]: a history in Redis Streams, which many processes share, from Rust 1.88 | no |
//! | `redis-tls` | the same at `rediss://` URLs | no |
//! | `rocket` | [`rocket`]: `Sse` and `LastEventId` for Rocket 0.5, from Rust 1.89 | no |
//! | `signal` | [`signal`], the future of SIGINT and SIGTERM on any runtime | yes |
//! | `smol` | [`hyper::smol`]: a listener and a server for hyper on smol | no |
//! | `stream` | [`stream!`], to write a stream of events as a generator | no |
//! | `tickets` | [`tickets`]: signed, usable once, for a browser's `EventSource`, which cannot send headers | no |
//! | `tokio` | [`hyper::tokio`]: a listener and a server for hyper on tokio | no |
//! | `tracing` | what happens, as events of [`tracing`](fanfare_core#tracing) | no |
//! | `warp` | [`warp`]: `Sse` and `last_event_id` for warp 0.4 | no |
//!
//! Features add modules and functions; none changes what another does.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "signal")]
mod signal;

#[doc(inline)]
pub use fanfare_core::*;

/// actix-web: a native response, an extractor and a server that ends.
#[cfg(feature = "actix-web")]
#[cfg_attr(docsrs, doc(cfg(feature = "actix-web")))]
#[doc(inline)]
pub use fanfare_actix_web as actix_web;

/// axum: a native response, an extractor, a listener and a server that bounds half requests.
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
#[doc(inline)]
pub use fanfare_axum as axum;

/// hyper, and everything built on `http`: a native response, on any runtime; servers on tokio and on smol.
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
#[doc(inline)]
pub use fanfare_hyper as hyper;

/// warp: a native reply, a filter, a listener and a server that bounds half requests.
#[cfg(feature = "warp")]
#[cfg_attr(docsrs, doc(cfg(feature = "warp")))]
#[doc(inline)]
pub use fanfare_warp as warp;

/// What a broadcaster does, on the facade of the crate `metrics`.
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
#[doc(inline)]
pub use fanfare_metrics as metrics;

/// redb: a crash-safe history in a directory.
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
#[doc(inline)]
pub use fanfare_redb as redb;

/// Redis Streams: a history that many processes share.
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(inline)]
pub use fanfare_redis as redis;

/// Rocket: a native response, a request guard and a fairing.
#[cfg(feature = "rocket")]
#[cfg_attr(docsrs, doc(cfg(feature = "rocket")))]
#[doc(inline)]
pub use fanfare_rocket as rocket;

/// Tickets for `EventSource`, which cannot send headers: signed, short-lived, usable once.
#[cfg(feature = "tickets")]
#[cfg_attr(docsrs, doc(cfg(feature = "tickets")))]
#[doc(inline)]
pub use fanfare_tickets as tickets;

#[cfg(feature = "signal")]
#[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
pub use signal::{signal, Signal};

/// A stream written as a generator: `async_stream::stream!`.
///
/// ```
/// use fanfare::{Event, EventStream};
///
/// let stream = EventStream::new(fanfare::stream! { yield Event::data("hello"); });
/// # let _ = stream;
/// ```
#[cfg(feature = "stream")]
#[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
pub use async_stream::stream;

/// The README's code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The same of the tickets' README, which has a part for every framework.
#[cfg(doctest)]
#[doc = include_str!("../integrations/tickets/README.md")]
mod readme_of_tickets {}

#[cfg(doctest)]
#[doc = include_str!("../integrations/redb/README.md")]
mod readme_of_redb {}

#[cfg(doctest)]
#[doc = include_str!("../integrations/redis/README.md")]
mod readme_of_redis {}
