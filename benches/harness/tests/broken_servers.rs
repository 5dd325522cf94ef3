//! The load notices one broken delivery in a million, and none where there is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use fanfare_bench::load::{Failure, Load, Schedule, Subscription};
use fanfare_bench::verify::Fault;

const CLIENTS: u64 = 10;
const EVENTS: u64 = 100_000;

/// The client that is served wrongly, and the event.
const CLIENT: usize = 7;
const EVENT: u64 = 73_519;

/// How the server is broken.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    Loses,
    Doubles,
    /// Loses, and tells so in a gap event.
    Tells,
}

/// Streams, in the order in which they were opened.
type Streams = Arc<Mutex<Vec<TcpStream>>>;

/// Starts a server on threads of its own, which end with the test's process.
fn serve(flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let streams = Streams::default();
        let next_id = Arc::new(Mutex::new(1));
        for connection in listener.incoming() {
            let connection = connection.expect("a client connects");
            let (streams, next_id) = (Arc::clone(&streams), Arc::clone(&next_id));
            thread::spawn(move || answer(&connection, &streams, &next_id, flaw));
        }
    });
    address
}

/// Answers the requests of one connection.
fn answer(mut connection: &TcpStream, streams: &Streams, next_id: &Mutex<u64>, flaw: Flaw) {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
        }
        line.clear();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let mut streams = streams.lock().expect("no thread has panicked");
        let answer = if target.starts_with("/events") {
            let stream = connection.try_clone().expect("a second handle");
            streams.push(stream);
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned()
        } else {
            let text = if target == "/subscribers" {
                streams.len().to_string()
            } else {
                let mut next_id = next_id.lock().expect("no thread has panicked");
                publish(&body, &streams, &mut next_id, flaw);
                r#"{"nanos": 1}"#.to_owned()
            };
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        connection
            .write_all(answer.as_bytes())
            .expect("the load reads");
        if target == "/subscribers" {
            return;
        }
    }
}

fn publish(body: &[u8], streams: &[TcpStream], next_id: &mut u64, flaw: Flaw) {
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    for data in body
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let event = [format!("id: 1-{next_id}\ndata: ").as_bytes(), data, b"\n\n"].concat();
        right.extend_from_slice(&event);
        let times = match flaw {
            _ if *next_id != EVENT => 1,
            Flaw::Loses | Flaw::Tells => 0,
            Flaw::Doubles => 2,
            Flaw::None => 1,
        };
        wrong.extend_from_slice(&event.repeat(times));
        if *next_id == EVENT && flaw == Flaw::Tells {
            wrong.extend_from_slice(b"event: gap\ndata: {}\n\n");
        }
        *next_id += 1;
    }
    for (client, mut stream) in streams.iter().enumerate() {
        let bytes = if client == CLIENT { &wrong } else { &right };
        // A load that has seen enough hangs up.
        let _ = stream.write_all(bytes);
    }
}

/// Delivers a million events.
fn run(flaw: Flaw) -> (Result<(), Failure>, Load) {
    let mut load = Load::new(serve(flaw), 1).expect("the server listens");
    for _ in 0..CLIENTS {
        // One after another, so that the server numbers them as the load does.
        load.subscribe([Subscription::to(vec![0])])
            .expect("the server counts it");
    }
    let events = 1_000;
    let outcome = load.publish(Schedule {
        ticks: EVENTS / events,
        interval: 0,
        events,
        bytes: 64,
        topics: 1,
    });
    (outcome, load)
}

fn fault(flaw: Flaw) -> (usize, Fault) {
    match run(flaw).0 {
        Err(Failure::Client { client, fault }) => (client, fault),
        Err(other) => panic!("it failed for another reason: {other}"),
        Ok(()) => panic!("it was not noticed"),
    }
}

#[test]
fn a_million_deliveries_pass() {
    let (outcome, load) = run(Flaw::None);
    outcome.expect("nothing is wrong");
    let tally = load.tally();
    assert_eq!(tally.received, CLIENTS * EVENTS);
    assert_eq!(tally.latency.len(), CLIENTS * EVENTS);
    assert_eq!((tally.skipped, tally.gaps), (0, 0));
}

#[test]
fn one_lost_in_a_million_is_noticed() {
    let lost = Fault::Lost {
        topic: 0,
        expected: EVENT,
        number: EVENT + 1,
    };
    assert_eq!(fault(Flaw::Loses), (CLIENT, lost));
}

#[test]
fn one_doubled_in_a_million_is_noticed() {
    let doubled = Fault::Doubled {
        topic: 0,
        number: EVENT,
    };
    assert_eq!(fault(Flaw::Doubles), (CLIENT, doubled));
}

#[test]
fn a_gap_that_is_told_is_counted() {
    let (outcome, load) = run(Flaw::Tells);
    outcome.expect("it was told");
    let tally = load.tally();
    assert_eq!((tally.skipped, tally.gaps), (1, 1));
    assert_eq!(tally.received, CLIENTS * EVENTS - 1);
}

#[test]
fn a_server_may_close_the_connection_of_a_publisher_that_pauses() {
    let mut load = Load::new(serve(Flaw::None), 1).expect("the server listens");
    load.subscribe([Subscription::to(vec![0])])
        .expect("the server counts it");
    let one = Schedule::new(1, 1.0, 1, 64);
    load.publish(one).expect("nothing is wrong");
    load.renew_publisher().expect("the server listens");
    load.publish(one).expect("nothing is wrong");
    assert_eq!(load.newest(0), 2);
}
