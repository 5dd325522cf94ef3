//! The load notices one broken delivery in a million, and none where there is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

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
    /// Loses the last event.
    LosesTheLast,
    /// Sends the last event again when everybody has had everything.
    DoublesTheLast,
}

/// Streams, in the order in which they were opened.
type Streams = Arc<Mutex<Vec<TcpStream>>>;

/// What was published.
struct Events {
    next_id: u64,
    /// The latest as it was sent.
    last: Vec<u8>,
}

/// Starts a server on threads of its own, which end with the test's process.
fn serve(flaw: Flaw) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let streams = Streams::default();
        let events = Arc::new(Mutex::new(Events {
            next_id: 1,
            last: Vec::new(),
        }));
        for connection in listener.incoming() {
            let connection = connection.expect("a client connects");
            let (streams, events) = (Arc::clone(&streams), Arc::clone(&events));
            thread::spawn(move || answer(&connection, &streams, &events, flaw));
        }
    });
    address
}

/// Answers the requests of one connection.
fn answer(mut connection: &TcpStream, streams: &Streams, events: &Mutex<Events>, flaw: Flaw) {
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
                let mut events = events.lock().expect("no thread has panicked");
                publish(&body, &streams, &mut events, flaw);
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

fn publish(body: &[u8], streams: &[TcpStream], events: &mut Events, flaw: Flaw) {
    let Events { next_id, last } = events;
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    for data in body
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let event = [format!("id: 1-{next_id}\ndata: ").as_bytes(), data, b"\n\n"].concat();
        right.extend_from_slice(&event);
        let times = match (flaw, *next_id) {
            (Flaw::Loses | Flaw::Tells, EVENT) | (Flaw::LosesTheLast, EVENTS) => 0,
            (Flaw::Doubles, EVENT) => 2,
            _ => 1,
        };
        if (flaw, *next_id) == (Flaw::DoublesTheLast, EVENTS + 1) {
            wrong.extend_from_slice(last);
        }
        wrong.extend_from_slice(&event.repeat(times));
        if *next_id == EVENT && flaw == Flaw::Tells {
            wrong.extend_from_slice(b"event: gap\ndata: {}\n\n");
        }
        *next_id += 1;
        last.clone_from(&event);
    }
    for (client, mut stream) in streams.iter().enumerate() {
        let bytes = if client == CLIENT { &wrong } else { &right };
        // A load that has seen enough hangs up.
        let _ = stream.write_all(bytes);
    }
}

/// Delivers a million events, to clients that may be told of a gap if `may_skip`.
fn run(flaw: Flaw, may_skip: bool) -> (Result<(), Failure>, Load) {
    let mut load = Load::new(serve(flaw), 1).expect("the server listens");
    load.set_patience(Duration::from_secs(5));
    for _ in 0..CLIENTS {
        // One after another, so that the server numbers them as the load does.
        let subscription = Subscription {
            may_skip,
            ..Subscription::to(vec![0])
        };
        load.subscribe([subscription])
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

/// What is noticed, and of which client.
fn fault(outcome: Result<(), Failure>) -> (usize, Fault) {
    match outcome {
        Err(Failure::Client { client, fault }) => (client, fault),
        Err(other) => panic!("it failed for another reason: {other}"),
        Ok(()) => panic!("it was not noticed"),
    }
}

#[test]
fn a_million_deliveries_pass() {
    let (outcome, mut load) = run(Flaw::None, false);
    outcome.expect("nothing is wrong");
    let tally = load.tally();
    assert_eq!(tally.received, CLIENTS * EVENTS);
    assert_eq!(tally.latency.len(), CLIENTS * EVENTS);
    assert_eq!((tally.skipped, tally.gaps), (0, 0));
    load.finish().expect("nothing else was sent");
}

#[test]
fn one_lost_in_a_million_is_noticed() {
    let lost = Fault::Lost {
        topic: 0,
        expected: EVENT,
        number: EVENT + 1,
    };
    assert_eq!(fault(run(Flaw::Loses, false).0), (CLIENT, lost));
}

#[test]
fn one_doubled_in_a_million_is_noticed() {
    let doubled = Fault::Doubled {
        topic: 0,
        number: EVENT,
    };
    assert_eq!(fault(run(Flaw::Doubles, false).0), (CLIENT, doubled));
}

#[test]
fn a_lost_last_event_is_noticed() {
    let missing = Fault::Missing {
        topic: 0,
        expected: EVENTS,
        missing: 1,
    };
    assert_eq!(fault(run(Flaw::LosesTheLast, false).0), (CLIENT, missing));
}

#[test]
fn a_last_event_that_comes_again_later_is_noticed() {
    let (outcome, mut load) = run(Flaw::DoublesTheLast, false);
    outcome.expect("so far nothing is wrong");
    let doubled = Fault::Doubled {
        topic: 0,
        number: EVENTS,
    };
    assert_eq!(fault(load.finish()), (CLIENT, doubled));
}

#[test]
fn a_gap_is_a_fault_to_a_client_that_keeps_up() {
    assert_eq!(fault(run(Flaw::Tells, false).0), (CLIENT, Fault::Gap));
}

#[test]
fn a_gap_that_is_told_is_counted() {
    let (outcome, load) = run(Flaw::Tells, true);
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
