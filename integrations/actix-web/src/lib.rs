//! Server-sent events for [actix-web](https://docs.rs/actix-web): a native response, an extractor
//! and a server that ends.
//!
//! ```
//! use actix_web::{get, web, App};
//! use fanfare_actix_web::{LastEventId, Sse};
//! use fanfare_core::Broadcaster;
//!
//! #[get("/prices")]
//! async fn prices(hub: web::Data<Broadcaster>, last: LastEventId) -> Sse {
//!     Sse::new(hub.subscribe("prices").after(last))
//! }
//!
//! // Made once, outside the closure that `HttpServer` calls for each worker.
//! let hub = web::Data::new(Broadcaster::new());
//! let app = move || App::new().app_data(hub.clone()).service(prices);
//! # let _ = app();
//! ```
//!
//! # Serving
//!
//! [`serve`] is a server of actix-web's parts for long streams, on one listener without TLS; an event costs less
//! there, since it goes past actix-web's dispatcher:
//!
//! ```no_run
//! # use std::future::Future;
//! # use std::time::Duration;
//! # use actix_web::App;
//! # use fanfare_core::Broadcaster;
//! # async fn serve(
//! #     hub: Broadcaster,
//! #     signal: impl Future<Output = ()> + Send + 'static,
//! # ) -> std::io::Result<()> {
//! # let app = App::new;
//! let listener = fanfare_actix_web::bind("127.0.0.1:3000")?;
//! let server = fanfare_actix_web::serve(listener, app)
//!     .with_graceful_shutdown(hub.close_when(signal));
//! hub.serve(server.run(), Duration::from_secs(1)).await
//! # }
//! ```
//!
//! Or stay with `HttpServer`, for TLS, HTTP/2 or several listeners. Four things that long streams need are
//! not its defaults:
//!
//! - **No delay.** Without `TCP_NODELAY` a small event can wait some 40 ms for the
//!   acknowledgement of the one before.
//! - **Clients that leave.** actix-web lets a client close its half of the connection and still
//!   read, so a stream that idles outlives its client until the second keep-alive fails. With
//!   `h1_allow_half_closed(false)` it is dropped at once.
//! - **Clients that die.** One that vanishes without a word is counted until TCP gives up on what
//!   was sent to it, a quarter of an hour later. With a listener from [`bind`] it is found within
//!   30 seconds, or two keep-alives if [`TcpOptions`] are told the interval.
//! - **An end.** A stream of events has no end of its own: SIGTERM waits 30 seconds for it, and
//!   SIGINT cuts it.
//!
//! `serve` does the first two; the third comes with a listener from [`bind`], the fourth with
//! [`with_graceful_shutdown`](Serve::with_graceful_shutdown). [`HttpServerExt::stream_until`] sets all but the third,
//! which `listen` takes: also `listen_rustls_0_23` and its like. `shutdown_timeout` bounds how long a client that
//! has stopped reading can hold up the end:
//!
//! ```no_run
//! # use std::future::Future;
//! # use actix_web::{App, HttpServer};
//! # use fanfare_core::Broadcaster;
//! use fanfare_actix_web::{bind_with, HttpServerExt, TcpOptions};
//!
//! # async fn serve(
//! #     hub: Broadcaster,
//! #     signal: impl Future<Output = ()> + Send + 'static,
//! # ) -> std::io::Result<()> {
//! # let app = App::new;
//! let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
//! HttpServer::new(app)
//!     .stream_until(&hub, signal)
//!     .shutdown_timeout(1)
//!     .listen(bind_with("127.0.0.1:3000", options)?)?
//!     .run()
//!     .await
//! # }
//! ```
//!
//! Half requests are bounded, by actix-web's own `client_request_timeout` (5 seconds), but only the first
//! of each connection. Who is answered once and then sends half a request is kept until it leaves:
//! facing strangers, put a proxy in front, or set `keep_alive(KeepAlive::Disabled)`.
//!
//! `max_connections` bounds the number of connections, for each worker: 25,600, if nothing is said, which is
//! more than the files that most processes may open. Memory for each is bounded too, but not tightly: a
//! client that sends request after request before it reads the first answer has up to 128 KiB of them
//! decoded, which is tens of MiB. That is for a proxy.
//!
//! Over HTTP/2 actix-web notices a client that leaves only by the next write, so by the
//! keep-alive.
//!
//! # HEAD
//!
//! actix-web routes `HEAD` only where it is told to: `#[route("/prices", method = "GET", method =
//! "HEAD")]`. [`Sse`] then answers with the headers alone.
//!
//! # Compression
//!
//! `middleware::Compress` leaves [`Sse`] alone, which says `content-encoding: identity`: every
//! client would otherwise pay for an encoder of its own.

#![forbid(unsafe_code)]

mod error;
mod extract;
mod response;
mod serve;
mod server;

pub use error::PublishError;
pub use extract::LastEventId;
#[doc(inline)]
pub use fanfare_server::{bind, bind_with, TcpOptions};
pub use response::Sse;
pub use serve::{serve, Serve};
pub use server::HttpServerExt;
