//! Streams of events over real sockets, after hyper has sent their head. On tokio; what sends them is the same
//! on every runtime.

#![cfg(feature = "serve")]

mod contract;

use std::convert::Infallible;
use std::future::{ready, Future, IntoFuture, Ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use contract::{
    chunk, is_sent_without_chunks, waiting_stream, words, Channel, Client, Cut, Server, DEADLINE,
    GET,
};
use fanfare_server::tokio::{bind, serve_with_peer};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tower_service::Service;

async fn start(
    streams: Arc<Mutex<Option<Channel>>>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = serve_with_peer(listener, App { streams })
        .header_read_timeout(10 * DEADLINE)
        .with_graceful_shutdown(stopped);
    Ok((address, tokio::spawn(server.into_future())))
}

impl Body for Channel {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.poll_event(cx)
            .map(|event| event.map(|event| event.map(Frame::data)))
    }
}

/// Answers `/stream` with the stream that the test holds the other end of, an upgrade with an echo, and
/// anything else with its path.
#[derive(Clone)]
struct App {
    streams: Arc<Mutex<Option<Channel>>>,
}

impl Service<Request<Incoming>> for App {
    type Response = Response<Channel>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Channel>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let held = self.streams.lock().expect("no test has failed").take();
        let (response, body) = match (request.uri().path(), held) {
            ("/stream", Some(stream)) => {
                let mut head = Response::builder().header(CONTENT_TYPE, "text/event-stream");
                if request.uri().query() == Some("of-http-1.0") {
                    head = head.version(Version::HTTP_10);
                }
                (head, stream)
            }
            ("/upgrade", _) => {
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(&mut request)
                        .await
                        .expect("it was asked for");
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    tokio::io::copy(&mut read, &mut write).await
                });
                let head = Response::builder()
                    .status(StatusCode::SWITCHING_PROTOCOLS)
                    .header(CONNECTION, "upgrade")
                    .header(UPGRADE, "echo");
                (head, words(""))
            }
            (path, held) => {
                let body = words(path);
                *self.streams.lock().expect("no test has failed") = held;
                (Response::builder(), body)
            }
        };
        ready(Ok(response.body(body).expect("it is complete")))
    }
}

#[tokio::test]
async fn an_answer_of_http_1_0_has_no_chunks() -> io::Result<()> {
    let server = Server::start().await?;
    let request = "GET /stream?of-http-1.0 HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut client = Client::asks(server.address, request).await?;
    let head = client.reads_until("\r\n\r\n").await?;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    is_sent_without_chunks(server, client).await
}

/// The events of a server that is gone are sent all the same.
#[tokio::test]
async fn a_stream_goes_on_when_its_server_is_dropped() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    server.task.abort();
    let _ = server.task.await;
    let sent = server.events.send(Ok("one".into())).await;
    sent.expect("it is open");
    client.reads(&chunk(b"one")).await?;
    drop(server.events);
    assert_eq!(client.reads_to_end().await?, b"0\r\n\r\n");
    Ok(())
}

#[tokio::test]
async fn a_connection_can_be_upgraded() -> io::Result<()> {
    let server = Server::start().await?;
    let request =
        "GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut client = Client::asks(server.address, request).await?;
    let head = client.reads_until("\r\n\r\n").await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.says("echo").await?;
    client.reads(b"echo").await
}
