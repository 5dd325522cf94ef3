//! Server-sent events for [Rocket](https://docs.rs/rocket): a native response, a request guard and
//! a fairing.
//!
//! ```
//! use fanfare_core::Broadcaster;
//! use fanfare_rocket::{LastEventId, Sse};
//! use rocket::{get, routes, State};
//!
//! #[get("/prices")]
//! fn prices(hub: &State<Broadcaster>, last: LastEventId) -> Sse {
//!     Sse::new(hub.subscribe("prices").after(last))
//! }
//!
//! let app = rocket::build()
//!     .attach(fanfare_rocket::fairing(Broadcaster::new()))
//!     .mount("/", routes![prices]);
//! # let _ = app;
//! ```
//!
//! # Serving
//!
//! Rocket sends small events without delay. What is left:
//!
//! - **An end.** [`fairing`] closes the broadcaster at shutdown, so that every stream ends
//!   cleanly; Rocket would cut them. `shutdown.grace` bounds how long a client that has stopped
//!   reading can hold up the end. Launched with [`RocketExt::launch_until`], it ends so whenever
//!   the signal comes; Rocket's own handling of signals now and then cuts streams nevertheless.
//!   [`drain_when`](fanfare_core::Broadcaster::drain_when) in the signal's place spreads the ends.
//! - **Clients that leave.** Rocket drops the stream of a client that has disconnected when it next
//!   sends something: the next event, or the next [keep-alive](fanfare_core::KeepAlive). If the
//!   client had sent more than its request, it is the third. So leave the keep-alive on, as it is by
//!   default.
//! - **Clients that die.** One that vanishes without a word is counted until TCP gives up on it, a
//!   quarter of an hour later. With [`fairing`] it is found within two keep-alives, on Linux;
//!   [`fairing_with`] says how, and what to do elsewhere.
//! - **Bounds for strangers.** Rocket has none: it waits for the rest of a request's head, and for the
//!   next request, forever, and accepts as many connections as there are files. Rocket 0.5 opens its
//!   socket itself, so nothing can be put in between.
//!   Facing strangers, put a proxy in front. At shutdown such a client holds up the end for the
//!   grace period and `shutdown.mercy` (3 seconds) together.
//! - **Bodies.** Rocket waits for 14 bytes of every body, or its end, before it runs any fairing, forever:
//!   a client that announces more, sends 13 and falls silent keeps a task and a connection, and no timeout
//!   of the application's reaches it. They are the first field of a form: if a `POST` has one called
//!   `_method`, Rocket takes that for the method. The demo sets it back in a fairing.
//!
//! ```no_run
//! # use std::future::Future;
//! # use fanfare_core::Broadcaster;
//! use fanfare_rocket::RocketExt;
//!
//! # async fn serve(
//! #     hub: Broadcaster,
//! #     signal: impl Future<Output = ()> + Send,
//! # ) -> Result<(), rocket::Error> {
//! rocket::build()
//!     .attach(fanfare_rocket::fairing(hub))
//!     .launch_until(signal)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Streams of your own
//!
//! A [`channel`](fanfare_core::channel) or a generator does not belong to the broadcaster: end it
//! when [`Shutdown`](rocket::Shutdown) completes, or Rocket cuts it after the grace period.

#![forbid(unsafe_code)]

mod error;
mod extract;
mod fairing;
#[cfg(target_os = "linux")]
mod listener;
mod reader;
mod response;
mod server;

pub use error::PublishError;
pub use extract::LastEventId;
pub use fairing::{fairing, fairing_with};
#[doc(inline)]
pub use fanfare_server::TcpOptions;
pub use response::Sse;
pub use server::RocketExt;
