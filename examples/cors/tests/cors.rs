//! Each server, as a page of the allowed origin finds it, and as others do.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use fanfare_contract::{Events, Request};

const PAGE: &str = "http://localhost:8080";

/// What is not the page's origin, however near it comes.
const OTHERS: [&str; 6] = [
    "http://localhost",
    "http://localhost:8081",
    "https://localhost:8080",
    "http://localhost:8080.example",
    "http://example.org",
    "null",
];

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut command = Command::new(program);
        let command = command.arg("0").stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let output = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("it says where it listens");
        let address = line
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'));
        let (address, _) = address.unwrap_or_else(|| panic!("{line:?} is no address"));
        let address = address.parse().expect("an address");
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already if the test fails because of that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn preflight(origin: &str, headers: &str) -> Request {
    Request::new("OPTIONS", "/prices")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", headers)
}

fn get(origin: &str) -> Request {
    Request::get("/prices")
        .header("Origin", origin)
        .header("Last-Event-ID", "7-42")
}

#[track_caller]
fn check(program: &str) {
    let server = Server::start(program);

    // A client that is built on `fetch` asks first, because of `Last-Event-ID`.
    let head = preflight(PAGE, "last-event-id").send(server.address).head;
    let says = |name: &str| head.get(name).unwrap_or_default().to_ascii_lowercase();
    assert!((200..300).contains(&head.status), "{head:?}");
    assert_eq!(head.all("access-control-allow-origin"), [PAGE]);
    assert_eq!(says("access-control-allow-credentials"), "true");
    assert!(
        says("access-control-allow-headers").contains("last-event-id"),
        "{head:?}"
    );
    assert!(
        says("access-control-allow-methods").contains("get"),
        "{head:?}"
    );

    // The stream, with credentials.
    let response = get(PAGE).send(server.address);
    assert_eq!(response.head.status, 200);
    assert_eq!(response.head.all("access-control-allow-origin"), [PAGE]);
    assert_eq!(
        response.head.all("access-control-allow-credentials"),
        ["true"]
    );
    assert_eq!(Events::of(response).gap()["reason"], "epoch");

    // Nobody else may read it, nor is anything allowed to everybody.
    for origin in OTHERS {
        for request in [preflight(origin, "last-event-id"), get(origin)] {
            let head = request.send(server.address).head;
            let allowed = head.all("access-control-allow-origin");
            assert!(
                !allowed.iter().any(|o| o == origin || o == "*"),
                "{origin}: {head:?}"
            );
        }
    }

    // Where there is no page, there is nothing to allow.
    let own = Request::get("/prices").send(server.address);
    assert_eq!(own.head.status, 200);
}

#[test]
fn actix_web_lets_one_origin_read() {
    check(env!("CARGO_BIN_EXE_cors-actix-web"));
}

#[test]
fn axum_lets_one_origin_read() {
    check(env!("CARGO_BIN_EXE_cors-axum"));
}

#[test]
fn hyper_lets_one_origin_read() {
    check(env!("CARGO_BIN_EXE_cors-hyper"));
}

#[test]
fn rocket_lets_one_origin_read() {
    check(env!("CARGO_BIN_EXE_cors-rocket"));
}

#[test]
fn warp_lets_one_origin_read() {
    check(env!("CARGO_BIN_EXE_cors-warp"));
}
