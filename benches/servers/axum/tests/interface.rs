//! The server's interface, over real sockets.

#![forbid(unsafe_code)]

use std::net::TcpStream;

use bench_server_check::{check, usual, Server};
use fanfare_contract::Request;
use serde_json::Value;
use tungstenite::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_bench-server-axum");

#[test]
fn fanfare() {
    check(BINARY, "fanfare", usual);
}

#[test]
fn fanfare_inline() {
    check(BINARY, "fanfare-inline", usual);
}

#[test]
fn native() {
    check(BINARY, "native", usual);
}

fn publish(server: &Server, lines: &str) {
    let response = Request::post("/publish/a", lines).send(server.address);
    assert_eq!(response.head.status, 200);
}

fn poll(server: &Server, target: &str) -> Value {
    Request::get(target).send(server.address).json()
}

fn data(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().expect("a list");
    events
        .iter()
        .filter_map(|event| event["data"].as_str())
        .collect()
}

#[test]
fn polling() {
    let server = Server::start(BINARY, "poll");
    let last = poll(&server, "/poll?topics=a,b")["last"].clone();
    publish(&server, "one\ntwo\n");
    let target = |last: &Value| format!("/poll?topics=a,b&after={}", last.as_str().expect("an id"));
    let answer = poll(&server, &target(&last));
    assert_eq!(data(&answer), ["one", "two"]);
    let first = &answer["events"][0]["id"];
    assert_eq!(data(&poll(&server, &target(first))), ["two"]);
    assert!(data(&poll(&server, &target(&answer["last"]))).is_empty());
}

#[test]
fn long_polling() {
    let server = Server::start(BINARY, "long-poll");
    let last = poll(&server, "/poll?topics=a")["last"].clone();
    let last = last.as_str().expect("an id");
    let target = format!("/long-poll?topics=a&after={last}&wait=30");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| poll(&server, &target));
        fanfare_contract::wait_for("the request", || {
            let count = Request::get("/subscribers").send(server.address).text();
            (count == "1").then_some(())
        });
        publish(&server, "one\n");
        let answer = waiting.join().expect("it was answered");
        assert_eq!(data(&answer), ["one"]);
    });
}

#[test]
fn websocket() {
    let server = Server::start(BINARY, "websocket");
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream
        .set_read_timeout(Some(fanfare_contract::DEADLINE))
        .expect("it is not zero");
    let url = format!("ws://{}/ws?topics=a,b", server.address);
    let (mut socket, _) = tungstenite::client(url, stream).expect("it is upgraded");
    publish(&server, "one\ntwo\n");
    for expect in ["-1\none", "-2\ntwo"] {
        match socket.read().expect("a message") {
            Message::Text(text) => assert!(text.ends_with(expect), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
