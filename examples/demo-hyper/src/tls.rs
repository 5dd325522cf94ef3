//! HTTPS on smol: an accept loop of our own, made of hyper's parts, that speaks HTTP/2 and
//! HTTP/1.1, whichever the client has chosen in its handshake.

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, Timer as Pause};
use demo_shared::tls::Certificate;
use demo_shared::{Demo, Flags};
use fanfare::hyper::smol::{
    bind_with, is_of_one_connection, Peer, TcpOptions, Timer, ACCEPT_PAUSE, MAX_BUFFER,
};
use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncWrite};
use futures_rustls::server::TlsStream;
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{rt, Request};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};

/// How long a client may take for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How often a client of HTTP/2 is asked whether it is still there: for its next request hyper waits
/// forever. Over HTTP/1.1 a connection that is idle between requests is closed after 30 seconds.
const PING: Duration = Duration::from_secs(30);

/// The most that is read at once: what a TLS record holds.
const READ_BYTES: usize = 16 * 1024;

/// Serves the demo until its streams have been drained.
pub(crate) async fn run(flags: &Flags, demo: Demo) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(Certificate::self_signed(flags)?.server_config()?));
    let options = TcpOptions::new().keep_alive(demo.hub().keep_alive_interval());
    let listener: Async<TcpListener> = bind_with(flags.address(), options).await?.into();
    let tasks = Tasks(Arc::new(Executor::new()));
    let server = Server::new(&tasks);
    demo_shared::say_listening_with_tls(listener.get_ref().local_addr()?)?;

    let end = demo.hub().drain_when(fanfare::signal(), flags.drain());
    let connections = GracefulShutdown::new();
    let accept = accept(&listener, &acceptor, &demo, &tasks, &server, &connections);
    tasks.0.run(future::or(end, accept)).await;
    drop(listener);
    let last = async {
        connections.shutdown().await;
        Ok(())
    };
    tasks.0.run(demo.hub().serve(last, flags.grace())).await
}

async fn accept(
    listener: &Async<TcpListener>,
    acceptor: &TlsAcceptor,
    demo: &Demo,
    tasks: &Tasks,
    server: &Server,
    connections: &GracefulShutdown,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = serve_connection(
                    stream,
                    Peer(peer),
                    acceptor.clone(),
                    demo.clone(),
                    server.clone(),
                    connections.watcher(),
                );
                tasks.0.spawn(connection).detach();
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                Pause::after(ACCEPT_PAUSE).await;
            }
        }
        // The signal is heard even if there is always somebody to accept.
        future::yield_now().await;
    }
}

/// An error is the client's leaving, or what it sent: nobody here can mend it.
async fn serve_connection(
    stream: Async<TcpStream>,
    peer: Peer,
    acceptor: TlsAcceptor,
    demo: Demo,
    server: Server,
    connections: Watcher,
) {
    let handshake = async { acceptor.accept(stream).await.ok() };
    let time_is_over = async {
        Pause::after(HANDSHAKE_LIMIT).await;
        None
    };
    let Some(stream) = future::or(handshake, time_is_over).await else {
        return;
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        crate::answer(demo.clone(), request)
    });
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let connection = server.http2.serve_connection(Io(stream), service);
        let _ = connections.watch(connection).await;
    } else {
        let connection = server.http1.serve_connection(Io(stream), service);
        let _ = connections.watch(connection).await;
    }
}

/// hyper's settings for both protocols. Without a timer it has no timeouts.
#[derive(Clone)]
struct Server {
    http1: http1::Builder,
    http2: http2::Builder<Tasks>,
}

impl Server {
    fn new(tasks: &Tasks) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(Timer).max_buf_size(MAX_BUFFER);
        let mut http2 = http2::Builder::new(tasks.clone());
        http2.timer(Timer).keep_alive_interval(PING);
        Self { http1, http2 }
    }
}

/// Runs connections, and HTTP/2's streams.
#[derive(Clone)]
struct Tasks(Arc<Executor<'static>>);

impl<F> rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream).detach();
    }
}

/// A TLS connection, as hyper reads and writes it.
struct Io(TlsStream<Async<TcpStream>>);

impl rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // By way of the stack, since only unsafe code reads into memory that is not initialized.
        let mut bytes = [0; READ_BYTES];
        let room = buffer.remaining().min(READ_BYTES);
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, &mut bytes[..room]))?;
        buffer.put_slice(&bytes[..count]);
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
