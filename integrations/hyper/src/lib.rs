//! Server-sent events for [hyper](https://docs.rs/hyper) and everything else that is built on
//! [`http`] and `http-body`: a response, and the reading of `Last-Event-ID`.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use fanfare_core::{response::SseBody, Broadcaster};
//! use fanfare_hyper::LastEventId;
//! use hyper::{body::Incoming, service::service_fn, Request, Response};
//!
//! fn prices<B>(hub: &Broadcaster, request: &Request<B>) -> Response<SseBody> {
//!     fanfare_hyper::response(hub.subscribe("prices").after(LastEventId::from_request(request)))
//! }
//!
//! let hub = Broadcaster::new();
//! let service = service_fn(move |request: Request<Incoming>| {
//!     let response = prices(&hub, &request);
//!     async { Ok::<_, Infallible>(response) }
//! });
//! # let _ = service;
//! ```
//!
//! Without features this crate depends neither on hyper nor on a runtime, so it serves hyper on
//! any runtime, and any framework whose body can be made of an `http_body::Body`. An app whose
//! other responses have another body boxes both, or joins them with `http_body_util::Either`.
//!
//! # Serving
//!
//! Four things that a server of long streams needs are not hyper's defaults:
//!
//! - **No delay.** Without `TCP_NODELAY` a small event can wait some 40 ms for the
//!   acknowledgement of the one before. Set it on every connection that you accept.
//! - **Clients that die.** One that vanishes without a word is counted until TCP gives up on what
//!   was sent to it, a quarter of an hour later; a user timeout on the socket finds it sooner.
//! - **An end.** `graceful_shutdown` on a connection waits for its response, and a stream of
//!   events has no end of its own: close the broadcaster first, by
//!   [`Broadcaster::close_when`](fanfare_core::Broadcaster::close_when), or drain it, by
//!   [`Broadcaster::drain_when`](fanfare_core::Broadcaster::drain_when), which spreads the ends. A
//!   client that has stopped reading never takes its end, so bound the wait, by
//!   [`Broadcaster::serve`](fanfare_core::Broadcaster::serve), say.
//! - **Bounds for strangers.** hyper gives up a request's head after 30 seconds, but only where it
//!   has a timer: give `http1::Builder` one, hyper-util's `TokioTimer` on tokio. A head may be of 408
//!   KiB, unless `max_buf_size` is less. How many connections are open at once is the accept loop's
//!   to say.
//!
//! The feature `tokio` does all four on tokio, and `smol` on smol: `fanfare_hyper::tokio::serve` and
//! `fanfare_hyper::smol::serve`.
//!
//! A client that disconnects is noticed at once, and its stream dropped, as long as
//! `http1::Builder::half_close` stays off, which is the default. If it had sent more than its
//! request, hyper does not read on, and it is noticed by the second keep-alive.
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `smol` | hyper's I/O, timer and accept loop on smol | no |
//! | `tokio` | a listener and accept loop for hyper on tokio | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod error;
mod extract;
mod response;
#[cfg(feature = "smol")]
#[cfg_attr(docsrs, doc(cfg(feature = "smol")))]
pub mod smol;

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;

pub use error::PublishError;
pub use extract::LastEventId;
pub use response::{response, Sse};
