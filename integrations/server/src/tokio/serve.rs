//! [`serve`], the accept loop of those whose own has no bound on half requests, nor on connections.

use std::error::Error;
use std::fmt;
use std::future::{pending, poll_fn, Future, IntoFuture, Pending};
use std::io;
use std::net::SocketAddr;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{watch, Semaphore};
use tower_service::Service;

use crate::http1::{serve_connection, Phase};
use crate::{is_of_one_connection, ACCEPT_PAUSE, HEADER_READ_TIMEOUT, LONGEST_TIMEOUT};

/// Serves HTTP/1.1 to every connection of the listener, each in a task of tokio's.
///
/// `make_service` makes each connection's service, of its client's address. A connection whose next
/// request's head is not complete in time is closed: see [`Serve::header_read_timeout`]. A head of more
/// than 64 KiB or 100 headers is refused. A connection that fails ends alone, without a word.
/// Connections can be upgraded, to a WebSocket say.
///
/// Facing strangers, bound the number of connections too: [`Serve::max_connections`].
pub fn serve<M>(listener: TcpListener, make_service: M) -> Serve<M> {
    Serve {
        listener,
        make_service,
        signal: pending(),
        header_read_timeout: HEADER_READ_TIMEOUT,
        max_connections: Semaphore::MAX_PERMITS,
    }
}

/// A server to be, from [`serve`]. It runs when awaited, in a tokio runtime with I/O and time; without
/// [`with_graceful_shutdown`](Self::with_graceful_shutdown), forever. It never fails: the `Result` is
/// for those who run it in the place of another server.
///
/// # Cancel safety
///
/// Dropped, the running server closes its listener, and its connections end after the response that
/// is on its way.
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<M, F = Pending<()>> {
    listener: TcpListener,
    make_service: M,
    signal: F,
    header_read_timeout: Duration,
    max_connections: usize,
}

impl<M, F> Serve<M, F> {
    /// Shuts down when `signal` completes: accepts nobody any more, lets every connection finish the
    /// response that it sends, and ends after the last of them.
    ///
    /// A stream of events has no end of its own: give it `Broadcaster::close_when` or `drain_when`, and
    /// bound the wait for clients that have stopped reading by `Broadcaster::serve`.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<M, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        Serve {
            listener: self.listener,
            make_service: self.make_service,
            signal,
            header_read_timeout: self.header_read_timeout,
            max_connections: self.max_connections,
        }
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
    /// A connection that was upgraded is the application's, and no longer counted.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit.clamp(1, Semaphore::MAX_PERMITS);
        self
    }
}

impl<M, F> fmt::Debug for Serve<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("header_read_timeout", &self.header_read_timeout)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl<M, S, B, F> IntoFuture for Serve<M, F>
where
    M: Service<SocketAddr, Response = S> + Send + 'static,
    M::Future: Send,
    M::Error: Send,
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
            let (end, ending) = watch::channel(());
            let accept = accept(
                self.listener,
                self.make_service,
                self.header_read_timeout,
                self.max_connections,
                ending,
            );
            // The listener is closed as soon as the signal is there.
            until(self.signal, accept).await;
            end.send_replace(());
            end.closed().await;
            Ok(())
        })
    }
}

/// Runs `work`, which does not end, until the signal, and drops it then.
async fn until(signal: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    let (mut signal, mut work) = (pin!(signal), pin!(work));
    poll_fn(|cx| match signal.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await;
}

async fn accept<M, S, B>(
    listener: TcpListener,
    mut make_service: M,
    header_read_timeout: Duration,
    max_connections: usize,
    ending: watch::Receiver<()>,
) where
    M: Service<SocketAddr, Response = S>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        // An error is a semaphore that was closed, which this one never is.
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                if poll_fn(|cx| make_service.poll_ready(cx)).await.is_err() {
                    continue;
                }
                let Ok(service) = make_service.call(peer).await else {
                    continue;
                };
                let phase = phase(&ending);
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    let service = TowerToHyperService::new(service);
                    let timer = TokioTimer::new();
                    serve_connection(io, timer, header_read_timeout, service, phase).await;
                    drop(place);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// What a connection is to do. Its task is woken when that changes.
fn phase(ending: &watch::Receiver<()>) -> impl FnMut(&mut Context<'_>) -> Phase {
    let mut waiting = ending.clone();
    let mut changed = Box::pin(async move {
        // A server that was dropped is at its end as well, and is an error here.
        let _ = waiting.changed().await;
    });
    let ending = ending.clone();
    let mut is_waiting = false;
    move |cx| {
        // Once it waits, its lock is not for every event: a task's waker stays the same. It is the first
        // thing that the task does, and so never put off by tokio's budget.
        let is_serving = matches!(ending.has_changed(), Ok(false));
        if is_serving && (is_waiting || changed.as_mut().poll(cx).is_pending()) {
            is_waiting = true;
            return Phase::Serve;
        }
        Phase::Finish
    }
}
