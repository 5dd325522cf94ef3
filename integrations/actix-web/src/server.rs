//! [`HttpServerExt`], what a server of long streams needs set.

use std::fmt;
use std::future::Future;

use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory};
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::{Error, HttpServer};
use fanfare_core::Broadcaster;
use fanfare_server::BACKLOG;

/// Makes a server one of long streams.
pub trait HttpServerExt {
    /// Sets what a server of event streams needs and actix-web does not do by default; and when
    /// `signal` completes, closes the broadcaster, which ends its streams, and shuts the server
    /// down gracefully.
    ///
    /// It replaces actix-web's own handling of signals, in which SIGTERM waits for streams that do
    /// not end, and SIGINT cuts them.
    ///
    /// - `tcp_nodelay(true)`: a small event does not wait some 40 ms for the acknowledgement of
    ///   the one before.
    /// - `h1_allow_half_closed(false)`: a client that disconnects is noticed at once, rather than
    ///   by the second write that fails.
    /// - `backlog`: room for many clients that come back at once, for whom calls `bind` after this.
    ///
    /// Clients that die without a word are left to the listener: give `listen` one from
    /// [`bind`](crate::bind).
    ///
    /// How long clients that do not read may hold up the end is `shutdown_timeout`: 30 seconds
    /// unless you set it.
    ///
    /// To spread the ends, wait for [`drain_when`](Broadcaster::drain_when) in the signal's place:
    /// `stream_until(&hub, hub.drain_when(signal, drain))`.
    ///
    /// ```no_run
    /// use actix_web::{App, HttpServer};
    /// use fanfare_actix_web::HttpServerExt;
    /// use fanfare_core::Broadcaster;
    ///
    /// # async fn serve(signal: impl std::future::Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    /// let hub = Broadcaster::new();
    /// HttpServer::new(App::new)
    ///     .stream_until(&hub, signal)
    ///     .shutdown_timeout(1)
    ///     .listen(fanfare_actix_web::bind("127.0.0.1:3000")?)?
    ///     .run()
    ///     .await
    /// # }
    /// ```
    #[must_use]
    fn stream_until(
        self,
        hub: &Broadcaster,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self;
}

// The bounds are those of `HttpServer`'s own methods.
impl<F, I, S, B> HttpServerExt for HttpServer<F, I, S, B>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as actix_service::Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    fn stream_until(
        self,
        hub: &Broadcaster,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.tcp_nodelay(true)
            .h1_allow_half_closed(false)
            .backlog(BACKLOG.into())
            .shutdown_signal(hub.close_when(signal))
    }
}
