//! Clients that never finish what they ask: they are disconnected, and nobody else is.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use fanfare_contract::{
    bounds_later_half_requests, each_framework_with_header_timeout, wait_for, Demo, Events,
    Request, DEADLINE,
};

const REQUEST: &[u8] = b"GET /stats HTTP/1.1\r\nhost: test\r\n\r\n";

/// Short, so that nobody waits for it; long beside what a client takes on a busy machine to send a whole
/// request.
const FLAGS: &[&str] = &["--header-timeout", "3", "--metrics-every", "0"];

fn half_a_request_is_given_up(framework: &str) {
    const CLIENTS: usize = 50;
    let demo = Demo::start(framework, FLAGS);
    let mut stream = Events::open(demo.addr(), &Request::get("/events/news")).opened();
    // Each sends a piece of a head; one of them nothing at all.
    let head = b"GET /events/news HTTP/1.1\r\nhost: test\r\nx-slow: ";
    let clients = (0..CLIENTS).map(|nth| send(demo.addr(), &head[..nth % head.len()]));

    for client in &mut clients.collect::<Vec<_>>() {
        read_to_end(client);
    }

    // The stream is older than any of them.
    let id = demo.publish("news", "still there");
    assert_eq!(&*stream.event().last_event_id, id);
    wait_for("the count of the one stream", || {
        (demo.stats()["subscribers"] == 1).then_some(())
    });
}

fn a_trickle_does_not_prolong_half_a_request(framework: &str) {
    let demo = Demo::start(framework, FLAGS);
    let mut client = send(demo.addr(), b"GET / HTTP/1.1\r\nhost: test\r\n");
    client.set_nonblocking(true).expect("it is a socket");

    wait_for("the end of a client that sends on", || {
        // Whether it could still be sent shows when the server reads no more.
        let _ = client.write(b"x-slow: 1\r\n");
        match client.read(&mut [0; 1024]) {
            Ok(0) => Some(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(()),
            _ => None,
        }
    });
}

fn an_idle_connection_is_closed(framework: &str) {
    let demo = Demo::start(framework, FLAGS);
    let mut idle = send(demo.addr(), REQUEST);

    let answer = read_to_end(&mut idle);

    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

fn half_of_a_later_request_is_given_up(framework: &str) {
    let demo = Demo::start(framework, FLAGS);
    let mut client = send(demo.addr(), REQUEST);
    client.read_exact(&mut [0]).expect("there is an answer");
    let (half, rest) = REQUEST.split_at(20);
    client.write_all(half).expect("the connection is kept");

    if bounds_later_half_requests(framework) {
        read_to_end(&mut client);
        return;
    }
    // By when this one is closed, the other should have been.
    read_to_end(&mut send(demo.addr(), half));
    client.write_all(rest).expect("the connection is kept");
    let answers = read_to_end(&mut client);
    assert_eq!(answers.matches("TTP/1.1 200 OK").count(), 2, "{answers}");
}

fn who_takes_every_connection_takes_no_more(framework: &str) {
    const CONNECTIONS: usize = 20;
    const CLIENTS: usize = 60;
    /// Each of actix-web's workers has a connection that waits for it.
    const MORE_FILES: usize = 4;

    let limit = CONNECTIONS.to_string();
    let demo = Demo::start(framework, &[FLAGS, &["--max-connections", &limit]].concat());
    let mut stream = Events::open(demo.addr(), &Request::get("/events/news")).opened();
    let files = || demo.footprint().map(|now| now.files);
    let before = files();
    let clients = (0..CLIENTS).map(|_| send(demo.addr(), b"GET /events/news"));
    let _clients = clients.collect::<Vec<_>>();

    // Who comes later waits until some of those are given up.
    let (id, most) = thread::scope(|scope| {
        let publisher = scope.spawn(|| demo.publish("news", "after all"));
        let mut most = before;
        while !publisher.is_finished() {
            most = most.max(files());
            thread::sleep(Duration::from_millis(1));
        }
        (publisher.join().expect("it is published"), most)
    });
    assert_eq!(&*stream.event().last_event_id, id);
    if let (Some(before), Some(most)) = (before, most) {
        println!("{framework}: {before} files, {most} at most");
        let limit = before - 1 + CONNECTIONS + MORE_FILES;
        assert!(most <= limit, "{most} files, and {before} before");
    }
}

/// Connects, and sends these bytes.
fn send(server: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(server).expect("the demo listens");
    let limit = client.set_read_timeout(Some(DEADLINE));
    limit.expect("a limit above zero");
    client.write_all(bytes).expect("the demo reads");
    client
}

/// What comes until the server closes, with a reset or without.
fn read_to_end(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server does not close: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

each_framework_with_header_timeout!(
    half_a_request_is_given_up,
    a_trickle_does_not_prolong_half_a_request,
    an_idle_connection_is_closed,
    half_of_a_later_request_is_given_up,
    who_takes_every_connection_takes_no_more,
);

#[test]
fn rocket_says_that_it_cannot() {
    for flags in [FLAGS, &["--max-connections", "100"]] {
        let (status, words) = Demo::refusal("rocket", flags);
        assert_eq!(status.code(), Some(2));
        assert!(words.contains("Rocket cannot"), "{words}");
    }
}

/// Their own servers, which speak HTTP/2, have no bound.
#[cfg(feature = "tls")]
#[test]
fn axum_and_hyper_say_that_they_cannot_with_tls() {
    for framework in ["axum", "hyper"] {
        for flags in [FLAGS, &["--max-connections", "100"]] {
            let (status, words) = Demo::refusal(framework, &[flags, &["--tls"]].concat());
            assert_eq!(status.code(), Some(2), "{framework}");
            assert!(words.contains("--tls"), "{framework}: {words}");
        }
    }
}
