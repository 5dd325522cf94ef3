//! Streams of events over real sockets, as `serve` sends them.

#[path = "../../server/tests/streams/contract.rs"]
mod contract;

use std::future::{pending, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use actix_web::body::{self, BodySize, BoxBody, MessageBody};
use actix_web::http::header::ContentEncoding;
use actix_web::http::{Method, Version};
use actix_web::rt::System;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse};
use contract::{words, Channel, Client, Cut, Server, DEADLINE};
use tokio::task::{spawn_blocking, JoinHandle};

type Streams = Mutex<Option<Channel>>;

async fn start(
    streams: Arc<Streams>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = fanfare_actix_web::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let streams = Data::from(streams);
    let app = move || {
        App::new()
            .app_data(Data::clone(&streams))
            .default_service(web::to(answer))
    };
    let server = fanfare_actix_web::serve(listener, app)
        .workers(1)
        .keep_alive(10 * DEADLINE)
        .with_graceful_shutdown(stopped);
    let task = spawn_blocking(move || System::new().block_on(server.run()));
    Ok((address, task))
}

/// Answers `/stream` with the stream that the test holds the other end of, and anything else with its path.
async fn answer(request: HttpRequest, streams: Data<Streams>) -> HttpResponse {
    let is_stream = request.path() == "/stream";
    let stream = is_stream.then(|| streams.lock().expect("no test has failed").take());
    let Some(stream) = stream.flatten() else {
        return HttpResponse::Ok().body(words(request.path()));
    };
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header(ContentEncoding::Identity);
    if request.query_string() == "without-chunks" {
        response.no_chunking(4);
    }
    if request.query_string() == "kept" {
        actix_web::rt::spawn(async move {
            pending::<()>().await;
            drop(request);
        });
        return response.body(stream);
    }
    // Left to the application by actix-web, and seen to by `Sse`.
    if request.method() == Method::HEAD && request.query_string() != "as-it-is" {
        return response.body(body::None::new());
    }
    let mut response = response.body(BoxBody::new(stream));
    if request.version() == Version::HTTP_10 {
        response.head_mut().no_chunking(true);
    }
    response
}

impl MessageBody for Channel {
    type Error = Cut;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Cut>>> {
        self.poll_event(cx)
    }
}

#[tokio::test]
async fn an_answer_with_a_length_has_no_chunks() -> io::Result<()> {
    let server = Server::start().await?;
    let request = "GET /stream?without-chunks HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut client = Client::asks(server.address, request).await?;
    let head = client.reads_until("\r\n\r\n").await?;
    assert!(head.contains("\r\ncontent-length: 4\r\n"), "{head}");
    server.send("on").await;
    client.reads(b"on").await?;
    server.send("ce").await;
    client.reads(b"ce").await
}

/// It is answered after the stream, as any that was asked meanwhile.
#[tokio::test]
async fn a_request_with_a_body_may_be_asked_meanwhile() -> io::Result<()> {
    let (server, mut client) = contract::waiting_stream(contract::GET).await?;
    contract::carries(&server, &mut client, "one").await?;
    client
        .says("POST /next HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf")
        .await?;
    contract::carries(&server, &mut client, "two").await?;
    contract::ends(server.events, &mut client).await?;
    client.says("body").await?;
    client.reads_until("/next").await?;
    Ok(())
}

/// actix-web reads a body to its end for `HEAD`, and sends nothing of it.
#[tokio::test]
async fn a_head_alone_has_no_chunks() -> io::Result<()> {
    let request = "HEAD /stream?as-it-is HTTP/1.1\r\nhost: test\r\n\r\n";
    let (server, mut client) = contract::waiting_stream(request).await?;
    for _ in 0..10 {
        server.send("one").await;
    }
    drop(server.events);
    contract::goes_on(&mut client).await
}

#[tokio::test]
async fn who_sends_what_is_no_request_is_disconnected() -> io::Result<()> {
    let (server, mut client) = contract::waiting_stream(contract::GET).await?;
    contract::carries(&server, &mut client, "one").await?;
    client.says("what is no request\r\n\r\n").await?;
    tokio::time::timeout(DEADLINE, server.events.closed()).await?;
    assert_eq!(client.reads_to_end().await?, b"");
    Ok(())
}

/// Whoever keeps a request.
#[tokio::test]
async fn a_connection_is_closed_when_it_is_over() -> io::Result<()> {
    let request = "GET /stream?kept HTTP/1.1\r\nhost: test\r\n\r\n";
    let (server, mut client) = contract::waiting_stream(request).await?;
    contract::carries(&server, &mut client, "one").await?;
    let cut = server.events.send(Err(Cut)).await;
    cut.expect("it is open");
    assert_eq!(client.reads_to_end().await?, b"");
    Ok(())
}

/// Otherwise it might not read the answer.
#[tokio::test]
async fn who_is_answered_early_may_send_the_rest() -> io::Result<()> {
    const HALF: usize = 3_000_000;
    let server = Server::start().await?;
    let head = format!(
        "POST /early HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        2 * HALF
    );
    let mut client = Client::asks(server.address, &head).await?;
    client.reads_until("/early").await?;
    client.says(&"x".repeat(HALF)).await
}
