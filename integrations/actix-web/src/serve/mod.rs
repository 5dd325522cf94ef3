//! [`serve`], a server that writes the events of a stream itself.

mod connection;
mod relay;
mod wire;

use std::fmt;
use std::future::{pending, Future, Pending};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_service::{
    apply_fn_factory, map_config, IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server};
use actix_web::rt::net::TcpStream;
use actix_web::Error;

use self::connection::Connection;
use self::relay::{lend, wire_of};
use self::wire::{Io, Wire};

/// As [`HttpServer`](actix_web::HttpServer), for one listener and HTTP/1.1 without TLS, and cheaper for streams:
/// an event costs one write, the look at the body that finds it, and the one that finds no more.
///
/// actix-web's dispatcher reads the requests and answers them. Once a response is a stream of events, and has none
/// at the moment, the dispatcher sleeps until the stream's end, or until the client says something. That is so
/// for a response 200 of `text/event-stream`, to a request of HTTP/1.1 without a body. Whatever else an app answers
/// is as it is with `HttpServer`.
///
/// `app` makes the application, once for each worker, as for `HttpServer`. What is different:
///
/// - No signal is handled, but for that of [`with_graceful_shutdown`](Serve::with_graceful_shutdown).
/// - A client that disconnects is noticed at once (`h1_allow_half_closed(false)`), unless it has said more than
///   128 KiB before that, which nobody has read. Connections do not delay what is sent (`TCP_NODELAY`).
/// - The app's [`AppConfig`] is its default: a request without a `Host` counts as one to `localhost:8080`.
/// - There is no `on_connect`.
///
/// ```no_run
/// # use std::future::Future;
/// # use std::time::Duration;
/// # use actix_web::App;
/// # use fanfare_core::Broadcaster;
/// # async fn serve(
/// #     hub: Broadcaster,
/// #     signal: impl Future<Output = ()> + Send + 'static,
/// # ) -> std::io::Result<()> {
/// let listener = fanfare_actix_web::bind("127.0.0.1:3000")?;
/// let server = fanfare_actix_web::serve(listener, App::new)
///     .with_graceful_shutdown(hub.close_when(signal));
/// hub.serve(server.run(), Duration::from_secs(1)).await
/// # }
/// ```
pub fn serve<A>(listener: TcpListener, app: A) -> Serve<A> {
    Serve {
        listener,
        app,
        signal: pending(),
        options: Options {
            client_request_timeout: Duration::from_secs(5),
            keep_alive: KeepAlive::default(),
        },
        workers: None,
        max_connections: None,
        shutdown_timeout: None,
    }
}

/// A server to be, from [`serve`]: it [runs](Self::run), and without
/// [`with_graceful_shutdown`](Self::with_graceful_shutdown) forever.
#[must_use = "a server does nothing until it runs"]
pub struct Serve<A, F = Pending<()>> {
    listener: TcpListener,
    app: A,
    signal: F,
    options: Options,
    workers: Option<usize>,
    max_connections: Option<usize>,
    shutdown_timeout: Option<u64>,
}

/// How long a client may take to read an answer that it was given before it had sent all of its request:
/// `HttpServer`'s.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What each connection needs to know.
#[derive(Clone, Copy, Debug)]
struct Options {
    client_request_timeout: Duration,
    keep_alive: KeepAlive,
}

impl<A, F> Serve<A, F> {
    /// Shuts down when `signal` completes: accepts nobody any more, and lets every connection finish the
    /// response that it sends, for as long as [`shutdown_timeout`](Self::shutdown_timeout) says.
    ///
    /// A stream of events has no end of its own: give it `Broadcaster::close_when` or `drain_when`.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<A, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        Serve {
            listener: self.listener,
            app: self.app,
            signal,
            options: self.options,
            workers: self.workers,
            max_connections: self.max_connections,
            shutdown_timeout: self.shutdown_timeout,
        }
    }

    /// How long a connection may take for the head of its first request: 5 seconds, if nothing is said, and
    /// no limit if it is zero. As [`HttpServer`](actix_web::HttpServer)'s.
    pub fn client_request_timeout(mut self, timeout: Duration) -> Self {
        self.options.client_request_timeout = timeout;
        self
    }

    /// How long a connection is kept that has been answered: 5 seconds, if nothing is said. As
    /// [`HttpServer`](actix_web::HttpServer)'s.
    pub fn keep_alive(mut self, keep_alive: impl Into<KeepAlive>) -> Self {
        self.options.keep_alive = keep_alive.into();
        self
    }

    /// The number of workers, each a thread: as many as the machine has processors, if nothing is said. 0 is
    /// taken for 1, and more than 512 for 512.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.clamp(1, 512));
        self
    }

    /// How many connections **each worker** may have open at once: 25,600, if nothing is said; 0 is taken for 1.
    /// Past that nobody is accepted until one of them closes. Otherwise as [`HttpServer`](actix_web::HttpServer)'s.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = Some(limit.max(1));
        self
    }

    /// How many seconds a shutdown waits for connections that do not end: 30, if nothing is said. As
    /// [`HttpServer`](actix_web::HttpServer)'s.
    pub fn shutdown_timeout(mut self, seconds: u64) -> Self {
        self.shutdown_timeout = Some(seconds);
        self
    }
}

impl<A, F> fmt::Debug for Serve<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("options", &self.options)
            .field("workers", &self.workers)
            .field("max_connections", &self.max_connections)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .finish_non_exhaustive()
    }
}

impl<A, F> Serve<A, F>
where
    F: Future<Output = ()> + Send + 'static,
{
    /// Serves until the shutdown is over, in actix's runtime or tokio's, as `HttpServer` does.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses the listener or a thread.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the listener is closed, and connections are cut.
    // The bounds are those of `HttpServer`'s own methods.
    pub async fn run<I, S, B>(self) -> io::Result<()>
    where
        A: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let mut server = Server::build().shutdown_signal(self.signal);
        if let Some(workers) = self.workers {
            server = server.workers(workers);
        }
        if let Some(limit) = self.max_connections {
            server = server.max_concurrent_connections(limit);
        }
        if let Some(seconds) = self.shutdown_timeout {
            server = server.shutdown_timeout(seconds);
        }
        let shutdown = server.graceful_shutdown_signal();
        let (app, options) = (self.app, self.options);
        let connections = move || {
            let shutdown = shutdown.clone();
            let is_ending = move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            };
            connections(app(), options, is_ending)
        };
        server
            .listen("fanfare", self.listener, connections)?
            .run()
            .await
    }
}

/// A worker's connections, each served to its end.
fn connections<I, S, B, E>(
    app: I,
    options: Options,
    is_ending: impl Fn() -> E + 'static,
) -> impl ServiceFactory<TcpStream, Config = (), Response = ()>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    E: Future<Output = ()> + 'static,
{
    let app = app
        .into_factory()
        .map_err(|error| error.into().error_response());
    let app = map_config(app, |()| AppConfig::default());
    let app = apply_fn_factory(app, |mut request: Request, app: &_| {
        let wire = wire_of(&mut request);
        let response = Service::call(app, request);
        async move {
            let response: Response<B> = response.await?.into();
            Ok(lend(wire, response))
        }
    });
    let http = HttpService::build()
        .client_request_timeout(options.client_request_timeout)
        .keep_alive(options.keep_alive)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(is_ending)
        .on_connect_ext(|Io(wire): &Io, data| {
            // Who keeps a request does not keep its connection.
            data.insert(Rc::downgrade(wire));
        })
        .h1(app);
    apply_fn_factory(http, |socket: TcpStream, http: &_| {
        let peer = socket.peer_addr().ok();
        // Where it cannot be set, the peer is gone already.
        let _ = socket.set_nodelay(true);
        let wire = Rc::new(Wire::new(socket));
        let dispatcher = Service::call(http, (Io(Rc::clone(&wire)), peer));
        Connection::new(dispatcher, wire)
    })
}
