//! Clients that mean harm: what they take is bounded, nobody else notices, and nothing of them is left.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{
    each_framework, longest_head, make_room_for, requests_ahead, wait_for, Connection, Demo,
    EndOnDrop, Events, Request, DEADLINE,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a server may take for whatever comes, beside what a test allows for each client: buffers of
/// those who publish and listen, and what its allocator keeps.
const SLACK: usize = 8 * MIB;

/// Threads that a runtime starts when first there is much to do.
const MORE_THREADS: usize = 2;

/// Connections of those who publish or ask, which the server is about to close.
const MORE_FILES: usize = 4;

/// Those who did nothing: clients that follow the news while somebody else is hostile.
#[derive(Default)]
struct Others {
    published: AtomicUsize,
    received: [AtomicUsize; 2],
    is_over: AtomicBool,
}

impl Others {
    /// Publishes until it is over. Returns the ids.
    fn publish(&self, demo: &Demo) -> Vec<String> {
        let mut ids = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            ids.push(demo.publish("news", "news"));
            self.published.store(ids.len(), Ordering::SeqCst);
            // Often enough; the rest of the machine is for the hostile.
            thread::sleep(Duration::from_millis(2));
        }
        ids.push(demo.publish("news", END));
        ids
    }

    /// Follows the news to their end. Returns the ids.
    fn listen(mut stream: Events, received: &AtomicUsize) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            let event = stream.event();
            ids.push(event.last_event_id.to_string());
            received.store(ids.len(), Ordering::SeqCst);
            if event.data == END {
                return ids;
            }
        }
    }

    /// Waits until all of them have been sent what was published after this call.
    #[track_caller]
    fn hear_on(&self) {
        let published = self.published.load(Ordering::SeqCst);
        wait_for("news for those who did nothing", || {
            let mut received = self.received.iter();
            let is_new = |count: &AtomicUsize| count.load(Ordering::SeqCst) > published + 1;
            received.all(is_new).then_some(())
        });
    }
}

const END: &str = "the end of the news";

/// Runs an attack, which ends when it returns, while others follow the news. They must be sent every
/// event, in order; the server may take so many bytes more than before; and afterwards it must hold no
/// more files, threads and subscribers than before, and have published nothing to the topic `half`.
#[track_caller]
fn disturbs_nobody(demo: &Demo, bytes: usize, attack: impl FnOnce(&Others)) {
    let others = Others::default();
    let before = thread::scope(|scope| {
        // The news end also when a check fails: nobody waits for more.
        let over = EndOnDrop::new(&others.is_over);
        let readers = others.received.each_ref().map(|received| {
            let stream = Events::open(demo.addr(), &Request::get("/events/news")).opened();
            scope.spawn(move || Others::listen(stream, received))
        });
        let publisher = scope.spawn(|| others.publish(demo));
        others.hear_on();
        let before = demo
            .footprint()
            .map(|before| (before, demo.resident_bytes()));

        let start = Instant::now();
        attack(&others);
        println!("the attack took {:.2?}", start.elapsed());

        others.hear_on();
        wait_for("the hostile to be gone", || {
            (demo.stats()["subscribers"] == readers.len()).then_some(())
        });
        if let Some((before, _)) = before {
            wait_for("files and threads to be given back", || {
                let now = demo.footprint().expect("the demo runs");
                let is_back = now.files <= before.files + MORE_FILES
                    && now.threads <= before.threads + MORE_THREADS;
                is_back.then_some(())
            });
        }
        let half = &demo.stats()["topics"]["half"];
        assert!(half.is_null(), "half an event was published: {half}");
        drop(over);
        let published = publisher.join().expect("all was published");
        for reader in readers {
            assert_eq!(reader.join().expect("all was read"), published);
        }
        before
    });
    let Some((_, before)) = before else {
        println!("no /proc, so files, threads and memory were not counted");
        return;
    };
    // The system counts a little behind.
    let more = demo.peak_bytes().saturating_sub(before);
    println!(
        "{} events; {more} bytes of {} at most",
        others.published.into_inner(),
        bytes + SLACK
    );
    assert!(
        more <= bytes + SLACK,
        "{more} bytes of memory more than the {before} before"
    );
}

/// Connects, and sends these bytes.
fn send(server: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(server).expect("the demo listens");
    client.write_all(bytes).expect("the demo reads");
    client
}

fn a_thousand_half_requests_take_little(framework: &str) {
    const CROWD: usize = 1_000;
    const BYTES_PER_CLIENT: usize = 32 * KIB;

    make_room_for(CROWD);
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let head = format!(
        "GET /events/news HTTP/1.1\r\nhost: test\r\nx-long: {}",
        "x".repeat(4 * KIB)
    );
    let body =
        "POST /publish/half HTTP/1.1\r\nhost: test\r\ncontent-length: 9000\r\n\r\nhalf of it";
    disturbs_nobody(&demo, CROWD * BYTES_PER_CLIENT, |others| {
        let half = |nth| match nth % 4 {
            0 => "",
            1 => &head[..20],
            2 => &head,
            _ => body,
        };
        let clients = (0..CROWD).map(|nth| send(demo.addr(), half(nth).as_bytes()));
        let _clients: Vec<_> = clients.collect();
        others.hear_on();
    });
}

/// What a hostile client sends, and does not stop to send.
struct Endless {
    what: &'static str,
    begin: &'static str,
    /// Repeated, as often as it takes.
    again: &'static str,
}

/// How that ended.
#[derive(Debug, PartialEq)]
enum Sent {
    /// The server took all of it.
    All,
    /// The server closed the connection.
    Refused,
    /// The server leaves the connection open, and takes nothing from it.
    Held,
}

/// What counts as not stopping.
const ENDLESS: usize = 100 * MIB;

/// How long a client is left waiting before it gives up, where a server may do that.
const PATIENCE: Duration = Duration::from_secs(1);

impl Endless {
    /// Sends until there is an end to it; of the server's, `has_ended` tells.
    fn send(
        &self,
        server: SocketAddr,
        patience: Duration,
        has_ended: impl Fn(&mut TcpStream) -> bool,
    ) -> Sent {
        let mut client = send(server, self.begin.as_bytes());
        client.set_nonblocking(true).expect("it is a socket");
        let block = self.again.repeat(64 * KIB / self.again.len());
        let (mut sent, mut since) = (0, Instant::now());
        while sent < ENDLESS {
            if has_ended(&mut client) {
                return Sent::Refused;
            }
            match client.write(&block.as_bytes()[sent % block.len()..]) {
                Ok(length) => {
                    sent += length;
                    since = Instant::now();
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Sent::Refused,
                Err(_) if since.elapsed() > patience => return Sent::Held,
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        Sent::All
    }
}

/// Reads what has come. Returns whether that was the end.
fn has_ended(client: &mut TcpStream) -> bool {
    let mut answer = [0; 4 * KIB];
    loop {
        match client.read(&mut answer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn endless_heads_are_refused(framework: &str) {
    const BYTES: usize = 2 * MIB;

    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let heads = [
        Endless {
            what: "a header that does not end",
            begin: "GET /events HTTP/1.1\r\nhost: test\r\nx-long: ",
            again: "x",
        },
        Endless {
            what: "headers without end",
            begin: "GET /events HTTP/1.1\r\nhost: test\r\n",
            again: "x-more: and more\r\n",
        },
        Endless {
            what: "a request line that does not end",
            begin: "GET /events?x=",
            again: "x",
        },
        Endless {
            what: "a method that does not end",
            begin: "G",
            again: "G",
        },
        Endless {
            what: "empty lines before the request",
            begin: "\r\n",
            again: "\r\n",
        },
    ];
    disturbs_nobody(&demo, BYTES, |_| {
        for head in heads {
            let sent = head.send(demo.addr(), DEADLINE, has_ended);
            assert_eq!(sent, Sent::Refused, "{}", head.what);
        }
    });
}

fn the_longest_head_is_what_is_said(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let begin = "GET /stats HTTP/1.1\r\nhost: test\r\nx-long: ";
    let head_of = |length| format!("{begin}{}", "x".repeat(length - begin.len()));
    let longest = longest_head(framework);

    let too_long = head_of(longest);
    let answer = first_line(send(demo.addr(), too_long.as_bytes()));
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let short_enough = head_of(longest - 4 * KIB) + "\r\n\r\n";
    let answer = first_line(send(demo.addr(), short_enough.as_bytes()));
    assert_eq!(answer, "HTTP/1.1 200 OK\r\n");
}

#[track_caller]
fn first_line(client: TcpStream) -> String {
    let limit = client.set_read_timeout(Some(DEADLINE));
    limit.expect("a limit above zero");
    let mut line = String::new();
    let read = BufReader::new(client).read_line(&mut line);
    read.expect("there is an answer");
    line
}

fn endless_bodies_are_not_kept(framework: &str) {
    /// Of an event, what is read of it until it is too large, and copies.
    const BYTES: usize = 8 * MIB;

    // A stream whose client has sent more than its request is dropped some keep-alives after it.
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "1"]);
    let bodies = [
        Endless {
            what: "an event that does not end",
            begin: "POST /publish/half HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n",
            again: "8\r\nand more\r\n",
        },
        Endless {
            what: "a size that does not end",
            begin: "POST /publish/half HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n1;",
            again: "x",
        },
        Endless {
            what: "trailers without end",
            begin: "POST /publish/half HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            again: "x-more: and more\r\n",
        },
        Endless {
            what: "a body where none is read",
            begin: "GET /events/news HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n",
            again: "8\r\nand more\r\n",
        },
        Endless {
            what: "requests behind the one that is answered",
            begin: "GET /events/news HTTP/1.1\r\nhost: test\r\n\r\n",
            again: "GET /stats HTTP/1.1\r\nhost: test\r\n\r\n",
        },
    ];
    disturbs_nobody(&demo, BYTES + requests_ahead(framework), |_| {
        for body in bodies {
            let sent = body.send(demo.addr(), PATIENCE, has_ended);
            println!("{framework}, {}: {sent:?}", body.what);
        }
    });
}

fn half_a_body_is_given_up(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--body-timeout", "1"]);
    let head = b"POST /publish/half HTTP/1.1\r\nhost: test\r\ncontent-length: 9000\r\n\r\n";
    disturbs_nobody(&demo, 0, |_| {
        let mut client = send(demo.addr(), head);
        let mut answer = [0; 12];
        client.set_nonblocking(true).expect("it is a socket");
        wait_for("an answer to who sends on, slowly", || {
            let answered = client.read_exact(&mut answer);
            let _ = client.write(b"x");
            answered.ok()
        });
        assert_eq!(&answer, b"HTTP/1.1 408");
    });
}

fn answers_that_nobody_reads_are_not_kept(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let pages = Endless {
        what: "requests whose answers nobody reads",
        begin: "",
        again: "GET / HTTP/1.1\r\nhost: test\r\n\r\n",
    };
    disturbs_nobody(&demo, requests_ahead(framework), |_| {
        let sent = pages.send(demo.addr(), PATIENCE, |_| false);
        assert_ne!(sent, Sent::All, "{}", pages.what);
    });
}

/// One event of many, which together are more than the sockets' buffers and the history hold.
const LARGE: usize = MIB;
const MANY: usize = 32;

/// What a history of large events takes, and the copies of one that is published.
const HISTORY: usize = 24 * MIB;

fn who_never_reads_is_let_go(framework: &str) {
    is_let_go(framework, |_| {});
}

fn who_reads_a_byte_per_second_is_let_go(framework: &str) {
    is_let_go(framework, |client| {
        let _ = client.read(&mut [0]);
    });
}

/// Clients that ask for large events and do this once a second: the server ends them while they are there.
fn is_let_go(framework: &str, read: impl Fn(&mut TcpStream)) {
    const CLIENTS: usize = 20;
    const BYTES_PER_CLIENT: usize = MIB;

    // TCP lets go of who has taken nothing for three quarters of a keep-alive.
    let flags = ["--metrics-every", "0", "--keep-alive", "2"];
    let demo = Demo::start(framework, &flags);
    disturbs_nobody(&demo, HISTORY + CLIENTS * BYTES_PER_CLIENT, |others| {
        let request = b"GET /events/bulk HTTP/1.1\r\nhost: test\r\n\r\n";
        let clients = (0..CLIENTS).map(|_| send(demo.addr(), request));
        let mut clients: Vec<_> = clients.collect();
        wait_for("their streams", || {
            let is_there = demo.stats()["subscribers"] == others.received.len() + CLIENTS;
            is_there.then_some(())
        });
        let data = vec![b'x'; LARGE];
        for _ in 0..MANY {
            demo.publish("bulk", &data);
        }
        let mut last = Instant::now();
        wait_for("the end of their streams", || {
            if last.elapsed() > Duration::from_secs(1) {
                last = Instant::now();
                clients.iter_mut().for_each(&read);
            }
            (demo.stats()["subscribers"] == others.received.len()).then_some(())
        });
    });
}

fn resets_in_the_middle_leave_nothing(framework: &str) {
    const ROUNDS: usize = 50;

    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "1"]);
    let first = demo.publish("bulk", "first");
    let data = vec![b'x'; LARGE];
    for _ in 0..8 {
        demo.publish("bulk", &data);
    }
    disturbs_nobody(&demo, 16 * MIB, |others| {
        for _ in 0..ROUNDS {
            let head = Connection::open(demo.addr());
            head.send_more(b"GET /events/news HTTP/1.1\r\nhost: te");
            head.reset_when_dropped();

            let body = Connection::open(demo.addr());
            body.send_more(
                b"POST /publish/half HTTP/1.1\r\nhost: test\r\ncontent-length: 9000\r\n\r\nhalf",
            );
            body.reset_when_dropped();

            let replay = Request::get("/events/bulk").header("Last-Event-ID", &first);
            let mut replay = Events::open(demo.addr(), &replay).opened();
            replay.event();
            replay.connection().reset_when_dropped();
        }
        others.hear_on();
    });
}

each_framework!(
    a_thousand_half_requests_take_little,
    endless_heads_are_refused,
    the_longest_head_is_what_is_said,
    endless_bodies_are_not_kept,
    half_a_body_is_given_up,
    answers_that_nobody_reads_are_not_kept,
    who_never_reads_is_let_go,
    who_reads_a_byte_per_second_is_let_go,
    resets_in_the_middle_leave_nothing,
);
