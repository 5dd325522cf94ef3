//! [`serve`], the accept loop.

use std::error::Error;
use std::fmt;
use std::future::{pending, Future, IntoFuture, Pending};
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use async_executor::Executor;
use fanfare_server::http1::{serve_connection, Phase};
use fanfare_server::{
    is_of_one_connection, Peer, ACCEPT_PAUSE, HEADER_READ_TIMEOUT, LONGEST_TIMEOUT,
};
use futures_lite::future;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;

use super::connections::Connections;
use super::{Listener, Timer};

/// How long connections have to end by themselves, if nothing else is said.
const GRACE: Duration = Duration::from_secs(5);

/// Serves HTTP/1.1 to every connection of the listener, in the task that awaits it, or on an
/// [`executor`](Serve::executor).
///
/// The service is cloned for each connection; a [`service_fn`](hyper::service::service_fn) can
/// be. Every request has its client's address among its extensions, as a [`Peer`]. A connection
/// whose next request's head is not complete in time is closed: see
/// [`header_read_timeout`](Serve::header_read_timeout). A head of more than 64 KiB or 100 headers is
/// refused. A connection that fails ends alone, without a word.
///
/// Facing strangers, bound the number of connections too:
/// [`max_connections`](Serve::max_connections).
///
/// See the [module](super) for an example.
pub fn serve<S>(listener: Listener, service: S) -> Serve<S> {
    Serve {
        listener,
        service,
        signal: pending(),
        grace: GRACE,
        header_read_timeout: HEADER_READ_TIMEOUT,
        max_connections: usize::MAX,
        executor: None,
    }
}

/// A server to be, from [`serve`]. It runs when awaited, until its shutdown is over; without
/// [`with_graceful_shutdown`](Self::with_graceful_shutdown), forever. It never fails: the `Result` is
/// for those who run it in the place of another server, by
/// [`Broadcaster::serve`](fanfare_core::Broadcaster::serve) say.
///
/// # Cancel safety
///
/// Dropped, the running server closes its listener and all connections, in the middle of whatever
/// they send.
#[must_use = "servers do nothing unless awaited"]
pub struct Serve<S, F = Pending<()>> {
    listener: Listener,
    service: S,
    signal: F,
    grace: Duration,
    header_read_timeout: Duration,
    max_connections: usize,
    /// `None` is one of its own.
    executor: Option<Spawner>,
}

/// An executor that is shared or lives forever.
type Spawner = Box<dyn Deref<Target = Executor<'static>> + Send + Sync>;

impl<S, F> Serve<S, F> {
    /// Shuts down when `signal` completes: accepts nobody any more, lets every connection finish
    /// the response that it sends, and ends after the last of them, or after the
    /// [`grace`](Self::grace).
    ///
    /// A stream of events has no end of its own: give it
    /// [`Broadcaster::close_when`](fanfare_core::Broadcaster::close_when), or
    /// [`Broadcaster::drain_when`](fanfare_core::Broadcaster::drain_when), which spreads the ends.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<S, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        Serve {
            listener: self.listener,
            service: self.service,
            signal,
            grace: self.grace,
            header_read_timeout: self.header_read_timeout,
            max_connections: self.max_connections,
            executor: self.executor,
        }
    }

    /// How long after the signal connections may go on; then they are cut. 5 seconds, if nothing
    /// is said.
    ///
    /// It is for clients that have stopped reading, which never take the end of their stream.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a connection may take for a request's head: from when it is accepted, and from when
    /// the answer before is sent, so that it bounds idle connections too. 30 seconds, if nothing is
    /// said.
    ///
    /// It does not count while a request is answered: a stream is as long as it likes.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.header_read_timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// How many connections may be open at once; 0 is taken for 1. Past that nobody is accepted until
    /// one of them closes: who comes waits where the system has clients wait. No limit, if nothing is
    /// said.
    ///
    /// Without one, strangers can take all files that the process may open (`ulimit -n`), and the
    /// application then has none for its own work. Set it well below that number, and above the
    /// broadcaster's `max_subscribers`: who is one stream too many should be told so.
    ///
    /// A connection that was upgraded is the application's: no longer counted here, nor waited for at the end.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit.max(1);
        self
    }

    /// Runs each connection as a task of `executor`: an `Arc<Executor>`, or a `&'static Executor`.
    /// The application runs that one, on as many threads as it likes.
    ///
    /// If nothing is said, all connections run in the task that awaits the server, on one thread.
    ///
    /// ```
    /// use std::sync::Arc;
    /// # use std::{convert::Infallible, future::IntoFuture, thread};
    /// # use fanfare_hyper::smol::{bind, serve};
    /// # use hyper::{body::Incoming, service::service_fn, Request, Response};
    ///
    /// # async fn answer(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    /// #     Ok(Response::default())
    /// # }
    /// # smol::block_on(async {
    /// let executor = Arc::new(smol::Executor::new());
    /// for _ in 0..2 {
    ///     let executor = Arc::clone(&executor);
    ///     thread::spawn(move || smol::block_on(executor.run(smol::future::pending::<()>())));
    /// }
    /// let listener = bind("127.0.0.1:0").await?;
    /// let server = serve(listener, service_fn(answer)).executor(executor);
    /// # drop(server.into_future());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn executor<E>(mut self, executor: E) -> Self
    where
        E: Deref<Target = Executor<'static>> + Send + Sync + 'static,
    {
        self.executor = Some(Box::new(executor));
        self
    }
}

impl<S, F> fmt::Debug for Serve<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("grace", &self.grace)
            .field("header_read_timeout", &self.header_read_timeout)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl<S, B, F> IntoFuture for Serve<S, F>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.run().await;
            Ok(())
        })
    }
}

impl<S, B, F> Serve<S, F>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(mut self) {
        match self.executor.take() {
            Some(executor) => self.run_on(&executor).await,
            None => {
                let executor = Executor::new();
                executor.run(self.run_on(&executor)).await;
            }
        }
    }

    async fn run_on(self, executor: &Executor<'static>) {
        let connections = EndOnDrop(Connections::new());
        let accept = accept(
            self.listener,
            self.service,
            self.header_read_timeout,
            self.max_connections,
            executor,
            &connections.0,
        );
        // The listener is closed as soon as the signal is there.
        future::or(self.signal, accept).await;
        connections.0.enter(Phase::Finish);
        let time_is_over = async {
            async_io::Timer::after(self.grace).await;
        };
        future::or(connections.0.fewer_than(1), time_is_over).await;
    }
}

/// Ends the connections that are left, however the server ended.
struct EndOnDrop(Connections);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.enter(Phase::End);
    }
}

async fn accept<S, B>(
    listener: Listener,
    service: S,
    header_read_timeout: Duration,
    max_connections: usize,
    executor: &Executor<'static>,
    connections: &Connections,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        connections.fewer_than(max_connections).await;
        match listener.accept().await {
            Ok((io, peer)) => {
                let service = WithPeer {
                    service: service.clone(),
                    peer: Peer(peer),
                };
                let mut place = connections.join();
                let connection = async move {
                    let phase = |cx: &mut Context<'_>| place.phase(cx);
                    serve_connection(io, Timer, header_read_timeout, service, phase).await;
                };
                executor.spawn(connection).detach();
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                async_io::Timer::after(ACCEPT_PAUSE).await;
            }
        }
        // The signal is heard even if there is always somebody to accept.
        future::yield_now().await;
    }
}

/// A service whose requests say from whom they are.
#[derive(Clone)]
struct WithPeer<S> {
    service: S,
    peer: Peer,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}
