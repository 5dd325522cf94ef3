//! What each server under test is tested with, over real sockets: that all of them send the same
//! headers and the same bytes, resume, and count who is there.

#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use fanfare_contract::{wait_for, Body, Connection, Head, Piece, Request, DEADLINE};
use fanfare_core::response::HEADERS;
use rustix::process::{kill_process, Pid, Signal};

/// How an event with this id and this data is written, by frameworks whose users have no choice.
pub type Write = fn(id: &str, data: &str) -> String;

/// As Fanfare, axum and most others write it.
#[must_use]
pub fn usual(id: &str, data: &str) -> String {
    format!("id: {id}\ndata: {data}\n\n")
}

/// Starts a server and goes through everything that the scenarios build on.
///
/// # Panics
///
/// If it serves anything else than `benches/README.md` says.
#[track_caller]
pub fn check(binary: &str, kind: &str, write: Write) {
    let server = Server::start(binary, kind);
    server.about();
    let mut stream = server.follow("a,b", None);
    server.wait_for_subscribers(1);
    assert_eq!(server.publish("a", "one\ntwo\nthree\n"), 200);
    assert_eq!(server.publish("elsewhere", "unheard"), 200);

    // An id tells the beginning of the server, in microseconds, and the number in it.
    let first = stream.read_until(|text| text.contains("one\n"));
    let epoch = first
        .lines()
        .find_map(|line| line.strip_prefix("id:")?.trim().strip_suffix("-1"))
        .unwrap_or_else(|| panic!("{kind}: no first id in {first:?}"))
        .to_owned();
    assert_eq!(epoch.len(), 16, "{epoch}");
    let events = |numbered: &[(u64, &str)]| -> String {
        let write = |(number, data): &(u64, &str)| write(&format!("{epoch}-{number}"), data);
        numbered.iter().map(write).collect()
    };
    stream.expect(&events(&[(1, "one"), (2, "two"), (3, "three")]));

    // Who comes back is given what it missed, then what is new, of all its topics.
    let mut back = server.follow("a,b", Some(&format!("{epoch}-1")));
    server.wait_for_subscribers(2);
    assert_eq!(server.publish("b", "four"), 200);
    back.expect(&events(&[(2, "two"), (3, "three"), (5, "four")]));
    stream.expect(&events(&[
        (1, "one"),
        (2, "two"),
        (3, "three"),
        (5, "four"),
    ]));

    drop((stream, back));
    server.wait_for_subscribers(0);
    server.end();
}

/// A server under test; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn start(binary: &str, kind: &str) -> Self {
        let mut process = Command::new(binary)
            .args([kind, "--port", "0", "--workers", "1", "--history", "100"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{binary} did not start: {error}"));
        let stdout = process.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The test may be over.
                let _ = sender.send(line);
            }
        });
        let line = receiver.recv_timeout(DEADLINE).unwrap_or_default();
        let address = line.strip_prefix("listening on http://");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let _ = process.kill();
            panic!("{binary} {kind} does not listen, it says {line:?}");
        };
        Self { process, address }
    }

    /// Asks for the versions, and over a connection that it is told to close how many are there.
    #[track_caller]
    fn about(&self) {
        let versions = Request::get("/about").send(self.address).json();
        let versions = versions["versions"].as_object();
        assert!(versions.is_some_and(|versions| !versions.is_empty()));
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let request = "GET /subscribers HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("it is not zero");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("it closes the connection");
        assert!(answer.ends_with("\r\n\r\n0"), "{answer:?}");
    }

    /// Publishes lines, and returns the status.
    #[track_caller]
    fn publish(&self, topic: &str, lines: &str) -> u16 {
        let request = Request::post(&format!("/publish/{topic}"), lines);
        let response = request.send(self.address);
        let status = response.head.status;
        let nanos = response.json()["nanos"].as_u64();
        assert!(nanos.is_some_and(|nanos| nanos > 0), "{nanos:?}");
        status
    }

    /// Opens a stream, and looks at its headers.
    #[track_caller]
    fn follow(&self, topics: &str, last: Option<&str>) -> Stream {
        let mut request = Request::get(&format!("/events?topics={topics}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = Connection::open(self.address).send(&request);
        assert_eq!(response.head.status, 200);
        assert_same_headers(&response.head);
        Stream {
            body: response.body,
            text: String::new(),
        }
    }

    /// Waits until so many streams are open. An event that nobody follows is published meanwhile,
    /// and one that those who left followed: some frameworks notice only then that they have.
    #[track_caller]
    fn wait_for_subscribers(&self, expect: usize) {
        wait_for("the number of subscribers", || {
            let count = Request::get("/subscribers").send(self.address).text();
            if expect == 0 {
                self.publish("a", "is anybody there?");
            }
            (count == expect.to_string()).then_some(())
        });
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    fn end(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("it runs");
        wait_for("the end of the server", || {
            self.process.try_wait().expect("it is our child")
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn assert_same_headers(head: &Head) {
    let mut found: Vec<(&str, &[u8])> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        // The hour, and what actix-web needs lest its middleware compresses.
        .filter(|(name, value)| *name != "date" && (*name, *value) != IDENTITY)
        .collect();
    found.sort_unstable();
    let mut expect = vec![("transfer-encoding", &b"chunked"[..])];
    expect.extend(HEADERS.map(|(name, value)| (name, value.as_bytes())));
    expect.sort_unstable();
    assert_eq!(found, expect);
}

const IDENTITY: (&str, &[u8]) = ("content-encoding", b"identity");

/// A stream that is read.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    #[track_caller]
    fn read_until(&mut self, is_there: impl Fn(&str) -> bool) -> &str {
        while !is_there(&self.text) {
            match self.body.next(DEADLINE) {
                Piece::Chunk(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                other => panic!("{other:?} after {:?}", self.text),
            }
        }
        &self.text
    }

    /// Waits until as much has come, and compares it.
    #[track_caller]
    fn expect(&mut self, expect: &str) {
        let text = self.read_until(|text| events(text).len() >= expect.len());
        assert_eq!(events(text), expect);
    }
}

/// The text without what a stream may open with, and signs of life: each a line, some with an
/// empty line behind it.
fn events(text: &str) -> String {
    let mut rest = text;
    let mut events = String::new();
    while !rest.is_empty() {
        let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        if line.starts_with(':') || line.starts_with("retry: ") {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        } else {
            events += line;
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_are_no_events() {
        let text = "retry: 2000\n:\nid: 1\ndata: x\n\n: keep-alive\n\n:\n\ndata: y\n\n";
        assert_eq!(events(text), "id: 1\ndata: x\n\ndata: y\n\n");
    }
}
