//! hyper on smol, over real sockets.

#![cfg(feature = "smol")]

use std::convert::Infallible;
use std::future::IntoFuture;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::{Broadcaster, Event};
use fanfare_hyper::smol::{bind, bind_with, serve, Peer, TcpOptions, Timer};
use fanfare_hyper::{LastEventId, Sse};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::channel::{self, Sender};
use smol::Task;

/// For what should come at once.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server of one topic, `news`.
struct Server {
    hub: Broadcaster,
    address: SocketAddr,
    stop: Sender<()>,
    task: Task<io::Result<()>>,
}

impl Server {
    fn start(grace: Duration) -> Self {
        let hub = Broadcaster::builder().history(100).build();
        // TCP lets go of nobody for three quarters of an hour: a client that is cut was cut by the server.
        let options = TcpOptions::new().keep_alive(Duration::from_secs(3_600));
        let listener = smol::block_on(bind_with("127.0.0.1:0", options));
        let listener = listener.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = channel::bounded::<()>(1);
        let closing = hub.close_when(async move {
            // The other end's drop says the same.
            let _ = stopped.recv().await;
        });
        let streams = hub.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let last = LastEventId::from_request(&request);
            let sse = Sse::new(streams.subscribe("news").after(last));
            async { Ok::<_, Infallible>(sse.into_response()) }
        });
        let server = serve(listener, service)
            .with_graceful_shutdown(closing)
            .grace(grace);
        Self {
            hub,
            address,
            stop,
            task: smol::spawn(server.into_future()),
        }
    }

    /// Opens a stream, and reads it until it has brought `until`.
    fn open(&self, until: &str) -> TcpStream {
        let mut stream = connect(self.address);
        stream
            .write_all(b"GET /news HTTP/1.1\r\nhost: test\r\n\r\n")
            .expect("the server reads");
        read_until(&mut stream, until);
        stream
    }

    /// Asks it to shut down, and returns how long that took.
    fn stop(self) -> Duration {
        let start = Instant::now();
        self.stop.try_send(()).expect("it is stopped once");
        smol::block_on(self.task).expect("it never fails");
        start.elapsed()
    }

    fn wait_for_subscribers(&self, count: usize) {
        let until = Instant::now() + DEADLINE;
        while self.hub.stats().subscribers != count {
            assert!(Instant::now() < until, "{:?}", self.hub.stats());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a limit above zero");
    stream
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("the server writes");
        assert_ne!(count, 0, "{:?}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&received).into_owned()
}

fn publish(hub: &Broadcaster, data: impl Into<String>) {
    let event = Event::data(data.into());
    hub.try_publish("news", event).expect("it is open");
}

#[test]
fn streams_end_cleanly_and_then_the_server() {
    let server = Server::start(DEADLINE);
    let mut stream = server.open("retry: 2000\n\r\n");
    publish(&server.hub, "one");
    read_until(&mut stream, "data: one\n\n\r\n");

    assert!(server.stop() < DEADLINE);

    let end = read_until(&mut stream, "\r\n0\r\n\r\n");
    assert!(end.contains("retry: "), "{end}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the server closes");
    assert_eq!(rest, b"");
}

#[test]
fn a_connection_goes_on_after_a_stream() {
    let server = Server::start(DEADLINE);
    let mut stream = server.open("retry: 2000\n\r\n");
    publish(&server.hub, "one");
    read_until(&mut stream, "data: one\n\n\r\n");
    server.hub.close();
    read_until(&mut stream, "\r\n0\r\n\r\n");
    stream
        .write_all(b"GET /news HTTP/1.1\r\nhost: test\r\n\r\n")
        .expect("the server reads");
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
}

#[test]
fn an_idle_connection_does_not_hold_the_shutdown_up() {
    let server = Server::start(DEADLINE);
    let mut idle = connect(server.address);
    // Accepted after it, so that one is too.
    let stream = server.open("retry: 2000\n\r\n");
    drop(stream);

    assert!(server.stop() < DEADLINE);

    assert_eq!(idle.read(&mut [0]).expect("the server closes"), 0);
}

#[test]
fn a_client_that_never_reads_is_cut_after_the_grace() {
    const GRACE: Duration = Duration::from_millis(200);
    let server = Server::start(GRACE);
    let mut stalled = server.open("retry: 2000\n\r\n");
    // More than the sockets' buffers hold, in pieces that a history of the default size keeps.
    for _ in 0..40 {
        publish(&server.hub, "x".repeat(500_000));
    }

    let took = server.stop();

    assert!(
        took >= GRACE && took < GRACE + Duration::from_secs(5),
        "{took:?}"
    );
    // What was sent is there, and then the connection ends, with a reset or without.
    let mut bytes = vec![0; 1 << 20];
    loop {
        match stalled.read(&mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn clients_that_leave_are_noticed_at_once() {
    let server = Server::start(DEADLINE);
    let streams: Vec<TcpStream> = (0..50).map(|_| server.open("retry: 2000\n\r\n")).collect();
    server.wait_for_subscribers(50);

    for (nth, stream) in streams.iter().enumerate() {
        // Half of them only stop sending, which for a client of a stream is the same.
        let how = [Shutdown::Both, Shutdown::Write][nth % 2];
        stream.shutdown(how).expect("it is connected");
    }

    // Nothing is published, and no keep-alive is due yet.
    server.wait_for_subscribers(0);
}

#[test]
fn a_body_larger_than_any_buffer_arrives_whole() {
    let server = Server::start(DEADLINE);
    let mut stream = server.open("retry: 2000\n\r\n");
    let data = "0123456789".repeat(90_000);
    publish(&server.hub, data.clone());
    publish(&server.hub, "end");

    let received = read_until(&mut stream, "data: end\n\n\r\n");

    assert!(received.contains(&format!("data: {data}\n\n")));
}

#[test]
fn requests_say_from_whom_they_are() {
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = service_fn(|request: Request<Incoming>| {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map(|Peer(address)| format!("[{address}]"));
        async { Ok::<_, Infallible>(Response::new(peer.unwrap_or_default())) }
    });
    let server = smol::spawn(serve(listener, service).into_future());

    let mut client = connect(address);
    let own = client.local_addr().expect("it is connected");
    // A head in two pieces, and a second request over the same connection.
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nho").expect("it reads");
        client.write_all(b"st: test\r\n\r\n").expect("it reads");
        read_until(&mut client, &format!("[{own}]"));
    }

    drop(server);
    // A server that is dropped closes its connections.
    assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
}

#[test]
fn a_handler_that_panics_ends_its_connection_alone() {
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = service_fn(|request: Request<Incoming>| async move {
        assert_ne!(request.uri().path(), "/panic", "as the test wants it");
        Ok::<_, Infallible>(Response::new("[answer]".to_owned()))
    });
    let _server = smol::spawn(serve(listener, service).into_future());
    let mut other = connect(address);

    let mut panics = connect(address);
    let request = b"GET /panic HTTP/1.1\r\nhost: test\r\n\r\n";
    panics.write_all(request).expect("the server reads");
    assert_eq!(panics.read(&mut [0]).expect("the server closes"), 0);

    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    other.write_all(request).expect("the server reads");
    read_until(&mut other, "[answer]");
}

#[test]
fn a_timeout_may_be_longer_than_any_clock() {
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new("[answer]".to_owned()))
    });
    let server = serve(listener, service).header_read_timeout(Duration::MAX);
    let _server = smol::spawn(server.into_future());

    let mut client = connect(address);
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    client.write_all(request).expect("the server reads");
    read_until(&mut client, "[answer]");
}

#[test]
fn connections_run_where_the_application_says() {
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let executor = Arc::new(smol::Executor::new());
    let (stop, stopped) = channel::bounded::<()>(1);
    let runner = thread::Builder::new().name("of-the-app".to_owned()).spawn({
        let executor = Arc::clone(&executor);
        move || smol::block_on(executor.run(stopped.recv())).is_err()
    });
    let runner = runner.expect("there is room for a thread");
    let service = service_fn(|_: Request<Incoming>| async {
        let thread = thread::current();
        let name = format!("[{}]", thread.name().unwrap_or_default());
        Ok::<_, Infallible>(Response::new(name))
    });
    let server = smol::spawn(serve(listener, service).executor(executor).into_future());

    let mut client = connect(address);
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    client.write_all(request).expect("the server reads");
    read_until(&mut client, "[of-the-app]");

    // A server that is dropped closes its connections, whose tasks are the executor's.
    drop(server);
    assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
    drop(stop);
    assert!(runner.join().expect("it ends"));
}

/// hyper leaves its timeouts out where it has no timer.
#[test]
fn a_head_that_never_ends_is_given_up() {
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = smol::spawn(async move {
        let (io, _) = listener.accept().await.expect("somebody comes");
        let answer = |_| async { Ok::<_, Infallible>(Response::new(String::new())) };
        http1::Builder::new()
            .timer(Timer)
            .header_read_timeout(Duration::from_millis(100))
            .serve_connection(io, service_fn(answer))
            .await
    });

    let mut client = connect(address);
    client.write_all(b"GET / HTTP/1.1\r\nho").expect("it reads");

    let error = smol::block_on(server).expect_err("the head never ends");
    assert!(error.is_timeout(), "{error}");
}
