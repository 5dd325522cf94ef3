//! What streams of events are over real sockets, after the framework has sent their head: the same tests for
//! each way to send them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For what should come at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const GET: &str = "GET /stream HTTP/1.1\r\nhost: test\r\n\r\n";

/// What a test makes of a stream: events, or an error that cuts it. Dropped, it ends.
pub(crate) type Events = mpsc::Sender<Result<Bytes, Cut>>;

#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream is cut")
    }
}

impl std::error::Error for Cut {}

pub(crate) struct Channel {
    /// How often it was asked for an event.
    looks: Arc<AtomicUsize>,
    events: mpsc::Receiver<Result<Bytes, Cut>>,
    /// Dropped with it.
    _held: oneshot::Sender<()>,
}

/// How many events wait in it at most.
const ROOM: usize = 50;

impl Channel {
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.events.poll_recv(cx)
    }

    fn new() -> (Events, Self, oneshot::Receiver<()>) {
        let (sender, events) = mpsc::channel(ROOM);
        let (held, let_go) = oneshot::channel();
        let stream = Self {
            looks: Arc::default(),
            events,
            _held: held,
        };
        (sender, stream, let_go)
    }
}

/// A short body that ends.
pub(crate) fn words(words: &str) -> Channel {
    let (events, stream, _) = Channel::new();
    events
        .try_send(Ok(words.to_owned().into()))
        .expect("there is room");
    stream
}

pub(crate) struct Server {
    streams: Arc<Mutex<Option<Channel>>>,
    pub(crate) address: SocketAddr,
    pub(crate) events: Events,
    looks: Arc<AtomicUsize>,
    /// Ready when the stream is held by nobody any more.
    let_go: oneshot::Receiver<()>,
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<io::Result<()>>,
}

impl Server {
    pub(crate) async fn start() -> io::Result<Self> {
        let (events, stream, let_go) = Channel::new();
        let looks = Arc::clone(&stream.looks);
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let streams = Arc::new(Mutex::new(Some(stream)));
        let (address, task) = super::start(Arc::clone(&streams), stopped).await?;
        Ok(Self {
            streams,
            address,
            events,
            looks,
            let_go,
            stop,
            task,
        })
    }

    /// Has another stream to answer with, and lets go of the one before, which ends.
    fn offers_another(&mut self) {
        let (events, stream, let_go) = Channel::new();
        self.looks = Arc::clone(&stream.looks);
        *self.streams.lock().expect("no test has failed") = Some(stream);
        (self.events, self.let_go) = (events, let_go);
    }

    pub(crate) async fn send(&self, event: impl Into<Bytes>) {
        let sent = timeout(DEADLINE, self.events.send(Ok(event.into()))).await;
        sent.expect("in time").expect("the stream is open");
    }
}

/// A client, and what it has received and not looked at.
pub(crate) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn asks(server: SocketAddr, request: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(server).await?;
        let received = Vec::new();
        let mut client = Self { socket, received };
        client.says(request).await?;
        Ok(client)
    }

    pub(crate) async fn says(&mut self, words: &str) -> io::Result<()> {
        self.socket.write_all(words.as_bytes()).await
    }

    /// Reads up to and including `end`.
    pub(crate) async fn reads_until(&mut self, end: &str) -> io::Result<String> {
        loop {
            let text = String::from_utf8_lossy(&self.received).into_owned();
            if let Some(at) = text.find(end) {
                self.received.drain(..at + end.len());
                return Ok(text[..at + end.len()].to_owned());
            }
            let read = timeout(DEADLINE, self.socket.read_buf(&mut self.received)).await??;
            assert_ne!(read, 0, "closed after {text:?}");
        }
    }

    /// The next bytes are these.
    pub(crate) async fn reads(&mut self, expected: &[u8]) -> io::Result<()> {
        while self.received.len() < expected.len() {
            let read = timeout(DEADLINE, self.socket.read_buf(&mut self.received)).await??;
            assert_ne!(read, 0, "closed after {} bytes", self.received.len());
        }
        let rest = self.received.split_off(expected.len());
        assert!(self.received == expected, "{} bytes", expected.len());
        self.received = rest;
        Ok(())
    }

    /// Whatever comes until the connection is closed.
    pub(crate) async fn reads_to_end(mut self) -> io::Result<Vec<u8>> {
        timeout(DEADLINE, self.socket.read_to_end(&mut self.received)).await??;
        Ok(self.received)
    }
}

/// A stream that has been waiting for its first event.
pub(crate) async fn waiting_stream(request: &str) -> io::Result<(Server, Client)> {
    let server = Server::start().await?;
    let mut client = Client::asks(server.address, request).await?;
    let head = client.reads_until("\r\n\r\n").await?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Ok((server, client))
}

/// An event goes in, and comes out as a chunk.
pub(crate) async fn carries(
    server: &Server,
    client: &mut Client,
    event: impl Into<Bytes>,
) -> io::Result<()> {
    let event = event.into();
    server.send(event.clone()).await;
    client.reads(&chunk(&event)).await
}

/// The stream ends, and its body does.
pub(crate) async fn ends(events: Events, client: &mut Client) -> io::Result<()> {
    drop(events);
    client.reads(b"0\r\n\r\n").await
}

/// What is asked next on the connection is answered, and nothing comes before that.
pub(crate) async fn goes_on(client: &mut Client) -> io::Result<()> {
    client
        .says("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await?;
    let next = client.reads_until("/next").await?;
    assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{next}");
    Ok(())
}

/// The events are on the wire as they are, and the connection's end is the stream's.
pub(crate) async fn is_sent_without_chunks(server: Server, mut client: Client) -> io::Result<()> {
    server.send("one").await;
    client.reads(b"one").await?;
    drop(server.events);
    assert_eq!(client.reads_to_end().await?, b"");
    Ok(())
}

pub(crate) fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:X}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

#[tokio::test]
async fn events_are_chunks_whatever_their_length() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    for length in [1, 15, 16, 255, 256, 500, 4_000, 4_096, 70_000, 3_000_000] {
        let event: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
        carries(&server, &mut client, event.clone()).await?;
    }
    // Nothing on the wire: an empty chunk would be the end.
    server.send("").await;
    carries(&server, &mut client, "after nothing").await?;
    ends(server.events, &mut client).await
}

/// That the framework has no part in it shows in nothing else: it would look more often, and write the same.
#[tokio::test]
async fn an_event_takes_one_look_and_one_that_finds_nothing() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    takes_one_look_for_each_event(&server, &mut client).await
}

async fn takes_one_look_for_each_event(server: &Server, client: &mut Client) -> io::Result<()> {
    const EVENTS: usize = 100;
    let before = server.looks.load(Ordering::Relaxed);
    for _ in 0..EVENTS {
        carries(server, client, "event").await?;
    }
    let looks = server.looks.load(Ordering::Relaxed) - before;
    // One may have been on its way before, and one may still come.
    assert!(looks <= 2 * EVENTS + 1, "{looks} for {EVENTS} events");
    Ok(())
}

#[tokio::test]
async fn a_connection_goes_on_after_a_stream() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    carries(&server, &mut client, "one").await?;
    // While the stream is open, and in two parts.
    client.says("GET /first HTTP/1.1\r\nhost: te").await?;
    carries(&server, &mut client, "two").await?;
    client.says("st\r\n\r\n").await?;
    ends(server.events, &mut client).await?;
    client.reads_until("/first").await?;
    client.reads_until("0\r\n\r\n").await?;
    // And when it has ended.
    goes_on(&mut client).await
}

#[tokio::test]
async fn one_stream_may_follow_another() -> io::Result<()> {
    let (mut server, mut client) = waiting_stream(GET).await?;
    for _ in 0..3 {
        carries(&server, &mut client, "one").await?;
        server.offers_another();
        client.reads(b"0\r\n\r\n").await?;
        client.says(GET).await?;
        client.reads_until("\r\n\r\n").await?;
    }
    carries(&server, &mut client, "last").await
}

#[tokio::test]
async fn what_was_asked_in_advance_is_answered_after_the_stream() -> io::Result<()> {
    let both = format!("{GET}GET /next HTTP/1.1\r\nhost: test\r\n\r\n");
    let (server, mut client) = waiting_stream(&both).await?;
    carries(&server, &mut client, "one").await?;
    ends(server.events, &mut client).await?;
    client.reads_until("/next").await?;
    Ok(())
}

#[tokio::test]
async fn who_leaves_is_noticed() -> io::Result<()> {
    let (server, client) = waiting_stream(GET).await?;
    drop(client);
    let noticed = timeout(DEADLINE, server.events.closed()).await;
    noticed.map_err(Into::into)
}

#[tokio::test]
async fn who_leaves_after_an_event_is_noticed() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    carries(&server, &mut client, "one").await?;
    drop(client);
    let noticed = timeout(DEADLINE, server.events.closed()).await;
    noticed.map_err(Into::into)
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_an_event_is_noticed() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    // More than the system keeps.
    server.send(vec![b'x'; 50_000_000]).await;
    client.reads_until("x").await?;
    drop(client);
    let noticed = timeout(DEADLINE, server.events.closed()).await;
    noticed.map_err(Into::into)
}

/// Half of a connection is none: a client that says that it has no more to say would never be missed.
#[tokio::test]
async fn who_closes_its_half_is_taken_for_gone() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    carries(&server, &mut client, "one").await?;
    client.socket.shutdown().await?;
    timeout(DEADLINE, server.events.closed()).await?;
    assert_eq!(client.reads_to_end().await?, b"");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_fails_at_once_is_cut() -> io::Result<()> {
    let server = Server::start().await?;
    let cut = server.events.send(Err(Cut)).await;
    cut.expect("it is open");
    let client = Client::asks(server.address, GET).await?;
    let received = client.reads_to_end().await?;
    assert!(!received.ends_with(b"0\r\n\r\n"), "it seems whole");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_fails_is_cut() -> io::Result<()> {
    let (server, client) = waiting_stream(GET).await?;
    server.send("one").await;
    let cut = server.events.send(Err(Cut)).await;
    cut.expect("it is open");
    assert_eq!(client.reads_to_end().await?, chunk(b"one"));
    Ok(())
}

#[tokio::test]
async fn a_shutdown_waits_for_the_end_of_a_stream() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    drop(server.stop);
    // Nobody is accepted any more.
    let closes = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, closes).await?;
    let sent = server.events.send(Ok("last words".into())).await;
    sent.expect("it is open");
    client.reads(&chunk(b"last words")).await?;
    assert!(!server.task.is_finished());
    drop(server.events);
    assert_eq!(client.reads_to_end().await?, b"0\r\n\r\n");
    timeout(DEADLINE, server.task).await??
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_who_asks_nothing() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    carries(&server, &mut client, "one").await?;
    ends(server.events, &mut client).await?;
    let mut other = Client::asks(server.address, "GET /a HTTP/1.1\r\nhost: test\r\n\r\n").await?;
    other.reads_until("0\r\n\r\n").await?;
    drop(server.stop);
    timeout(DEADLINE, server.task).await???;
    assert_eq!(client.reads_to_end().await?, b"");
    assert_eq!(other.reads_to_end().await?, b"");
    Ok(())
}

#[tokio::test]
async fn who_wants_the_connection_closed_has_it_closed() -> io::Result<()> {
    let request = "GET /stream HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let (server, client) = waiting_stream(request).await?;
    server.send("one").await;
    drop(server.events);
    let expected = [&chunk(b"one")[..], b"0\r\n\r\n"].concat();
    assert_eq!(client.reads_to_end().await?, expected);
    Ok(())
}

/// What is never waited for, the framework sends. Whoever made it has its place back at the end.
#[tokio::test]
async fn a_stream_that_ends_at_once_is_let_go_of() -> io::Result<()> {
    let server = Server::start().await?;
    server.send("all").await;
    drop(server.events);
    let mut client = Client::asks(server.address, GET).await?;
    client.reads_until("\r\n\r\n").await?;
    client.reads(&chunk(b"all")).await?;
    client.reads(b"0\r\n\r\n").await?;
    // An error is the drop of the other end.
    let _ = timeout(DEADLINE, server.let_go).await?;
    goes_on(&mut client).await
}

#[tokio::test]
async fn what_a_client_has_not_read_yet_comes_before_what_is_sent_then() -> io::Result<()> {
    let server = Server::start().await?;
    let event = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..ROOM {
        server.send(event.clone()).await;
    }
    let mut client = Client::asks(server.address, GET).await?;
    client.reads_until("\r\n\r\n").await?;
    for _ in 0..ROOM {
        carries(&server, &mut client, event.clone()).await?;
    }
    for _ in 0..ROOM {
        client.reads(&chunk(&event)).await?;
    }
    carries(&server, &mut client, "live").await?;
    ends(server.events, &mut client).await
}

#[tokio::test]
async fn a_request_with_a_body_is_answered_too() -> io::Result<()> {
    let request = "POST /stream HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    let (server, mut client) = waiting_stream(request).await?;
    carries(&server, &mut client, "one").await?;
    ends(server.events, &mut client).await
}

#[tokio::test]
async fn a_head_alone_has_no_events() -> io::Result<()> {
    let request = "HEAD /stream HTTP/1.1\r\nhost: test\r\n\r\n";
    let (server, mut client) = waiting_stream(request).await?;
    let _ = timeout(DEADLINE, server.let_go).await?;
    goes_on(&mut client).await
}

#[tokio::test]
async fn http_1_0_has_no_chunks() -> io::Result<()> {
    let server = Server::start().await?;
    let mut client = Client::asks(server.address, "GET /stream HTTP/1.0\r\n\r\n").await?;
    client.reads_until("\r\n\r\n").await?;
    is_sent_without_chunks(server, client).await
}

#[tokio::test]
async fn who_does_not_read_is_not_sent_more_than_the_system_keeps() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    let event = Bytes::from(vec![b'x'; 100_000]);
    let mut sent = 0;
    // That the channel stays full is that nobody takes more.
    while let Ok(result) = timeout(
        Duration::from_millis(500),
        server.events.send(Ok(event.clone())),
    )
    .await
    {
        result.expect("it is open");
        sent += 1;
        assert!(sent < 1_000, "100 MB are kept");
    }
    drop(server.events);
    for _ in 0..sent {
        client.reads(&chunk(&event)).await?;
    }
    client.reads(b"0\r\n\r\n").await
}

/// What a client asks while it listens is not kept without bound, keeps no event from it, and costs nothing
/// more while nobody reads it.
#[tokio::test]
async fn who_does_not_stop_talking_is_not_listened_to() -> io::Result<()> {
    let (server, mut client) = waiting_stream(GET).await?;
    let words = GET.repeat(1_000);
    let mut said = 0;
    while let Ok(result) = timeout(
        Duration::from_millis(500),
        client.socket.write(words.as_bytes()),
    )
    .await
    {
        said += result?;
        assert!(said < 100_000_000, "100 MB are kept");
    }
    takes_one_look_for_each_event(&server, &mut client).await
}
