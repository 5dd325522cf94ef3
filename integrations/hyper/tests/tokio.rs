//! hyper on tokio, over real sockets. That half requests are bounded is fanfare-server's, and tested in
//! the contract.

#![cfg(feature = "tokio")]

use std::convert::Infallible;
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fanfare_core::{Broadcaster, Event};
use fanfare_hyper::tokio::{bind, serve, Peer};
use fanfare_hyper::{LastEventId, Sse};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// For what should come at once.
const DEADLINE: Duration = Duration::from_secs(30);

async fn get(address: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(address).await?;
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await?;
    Ok(client)
}

/// Reads until that has come, and returns everything.
async fn read_until(client: &mut TcpStream, end: &str) -> io::Result<String> {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(end) {
        let read = timeout(DEADLINE, client.read_buf(&mut text)).await??;
        assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&text));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_stream_is_served_until_the_shutdown_and_ends_cleanly() -> io::Result<()> {
    let hub = Broadcaster::builder().history(100).build();
    let listener = bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let closing = hub.close_when(async {
        // The other end's drop says the same.
        let _ = stopped.await;
    });
    let streams = hub.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let last = LastEventId::from_request(&request);
        let sse = Sse::new(streams.subscribe("news").after(last));
        async { Ok::<_, Infallible>(sse.into_response()) }
    });
    let server = serve(listener, service).with_graceful_shutdown(closing);
    let server = tokio::spawn(server.into_future());

    let mut client = get(address).await?;
    read_until(&mut client, "retry: 2000").await?;
    hub.publish("news", Event::data("hello"))
        .await
        .expect("it is open");
    let event = read_until(&mut client, "data: hello\n\n\r\n").await?;
    assert!(event.contains("id: "), "{event}");

    drop(stop);
    // The last chunk: the body has ended, and was not cut.
    read_until(&mut client, "\r\n0\r\n\r\n").await?;
    timeout(DEADLINE, server).await??
}

#[tokio::test]
async fn a_request_says_from_whom_it_is() -> io::Result<()> {
    let listener = bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = service_fn(|request: Request<Incoming>| async move {
        let peer = request.extensions().get().map(|Peer(address)| *address);
        Ok::<_, Infallible>(Response::new(format!("[{peer:?}]")))
    });
    tokio::spawn(serve(listener, service).into_future());

    let mut client = get(address).await?;
    let own = client.local_addr()?;
    read_until(&mut client, &format!("[Some({own})]")).await?;
    Ok(())
}

#[tokio::test]
async fn half_a_request_is_given_up() -> io::Result<()> {
    let listener = bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new("[answer]".to_owned()))
    });
    let server = serve(listener, service).header_read_timeout(Duration::from_millis(10));
    tokio::spawn(server.into_future());

    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"GET / HTTP/1.1\r\nho").await?;
    let mut rest = Vec::new();
    timeout(DEADLINE, client.read_to_end(&mut rest)).await??;
    assert!(!String::from_utf8_lossy(&rest).contains("[answer]"));
    Ok(())
}
