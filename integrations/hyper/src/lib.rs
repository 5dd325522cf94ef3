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
//! Three things that a server of long streams needs are not hyper's defaults:
//!
//! - **No delay.** Without `TCP_NODELAY` a small event can wait some 40 ms for the
//!   acknowledgement of the one before. Set it on every connection that you accept.
//! - **An end.** `graceful_shutdown` on a connection waits for its response, and a stream of
//!   events has no end of its own: close the broadcaster first, by
//!   [`Broadcaster::close_when`](fanfare_core::Broadcaster::close_when). A client that has
//!   stopped reading never takes its end, so bound the wait, by
//!   [`Broadcaster::serve`](fanfare_core::Broadcaster::serve), say.
//! - **A bound on half requests.** hyper gives up a request's head after 30 seconds, but only where it
//!   has a timer: give `http1::Builder` one, hyper-util's `TokioTimer` on tokio.
//!
//! On smol, the feature `smol` does all three: `fanfare_hyper::smol`.
//!
//! A client that disconnects is noticed at once, and its stream dropped, as long as
//! `http1::Builder::half_close` stays off, which is the default; one that vanishes without a word
//! is noticed by the keep-alive.
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `smol` | hyper's I/O, timer and accept loop on smol | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod error;
mod extract;
mod response;
#[cfg(feature = "smol")]
#[cfg_attr(docsrs, doc(cfg(feature = "smol")))]
pub mod smol;

pub use error::PublishError;
pub use extract::LastEventId;
pub use response::{response, Sse};
