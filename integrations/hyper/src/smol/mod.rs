//! hyper on [smol](https://docs.rs/smol), without tokio: I/O, a timer and an accept loop.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use fanfare_core::Broadcaster;
//! use fanfare_hyper::{smol as server, LastEventId};
//! use hyper::{body::Incoming, service::service_fn, Request};
//!
//! # fn signal() -> impl std::future::Future<Output = ()> + Send { std::future::pending() }
//! fn main() -> std::io::Result<()> {
//!     smol::block_on(async {
//!         let hub = Broadcaster::builder().history(1_000).build();
//!         let closing = hub.close_when(signal());
//!         let service = service_fn(move |request: Request<Incoming>| {
//!             let last = LastEventId::from_request(&request);
//!             let response = fanfare_hyper::response(hub.subscribe("prices").after(last));
//!             async { Ok::<_, Infallible>(response) }
//!         });
//!         let listener = server::bind("127.0.0.1:3000").await?;
//!         server::serve(listener, service).with_graceful_shutdown(closing).await
//!     })
//! }
//! ```
//!
//! The server is one future, and its connections run in the task that awaits it; to spread them over
//! several threads, give it an [`executor`](Serve::executor).
//!
//! It is built of smol's parts: `smol::Executor` is `async_executor::Executor`, and `smol::Async` is
//! `async_io::Async`. Who has not smol awaits it with `async_io::block_on`, say.
//!
//! Other settings of hyper's, and HTTP/2, take an accept loop of your own, of the same parts. One
//! connection's error is none of the listener's:
//!
//! ```no_run
//! # use hyper::{body::Incoming, server::conn::http1, service::service_fn, Request, Response};
//! # use fanfare_hyper::smol::{bind, is_of_one_connection, Timer, ACCEPT_PAUSE};
//! # async fn answer(_: Request<Incoming>) -> Result<Response<String>, std::io::Error> { todo() }
//! # fn todo() -> Result<Response<String>, std::io::Error> { Ok(Response::default()) }
//! # async fn accept(executor: &smol::Executor<'static>) -> std::io::Result<()> {
//! let listener = bind("127.0.0.1:3000").await?;
//! loop {
//!     let (io, _) = match listener.accept().await {
//!         Ok(connection) => connection,
//!         Err(error) if is_of_one_connection(&error) => continue,
//!         Err(_) => {
//!             smol::Timer::after(ACCEPT_PAUSE).await;
//!             continue;
//!         }
//!     };
//!     let connection = http1::Builder::new()
//!         .timer(Timer)
//!         .max_buf_size(16 * 1024)
//!         .serve_connection(io, service_fn(answer));
//!     executor.spawn(connection).detach();
//! }
//! # }
//! ```

mod connections;
mod io;
mod listener;
mod serve;
mod timer;

#[doc(inline)]
pub use fanfare_server::{is_of_one_connection, Peer, TcpOptions, ACCEPT_PAUSE, MAX_BUFFER};
pub use io::Io;
pub use listener::{bind, bind_with, Listener};
pub use serve::{serve, Serve};
pub use timer::Timer;
