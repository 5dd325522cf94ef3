//! SIGTERM: every open stream ends cleanly, told when to come back, and the process ends too.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{each_framework, wait_for, Demo, End, Events, Request};
use fanfare_core::Decoded;

/// Far more than it takes, far less than a client's patience or a supervisor's.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

fn every_stream_ends_cleanly_with_a_retry_of_its_own(framework: &str) {
    const STREAMS: usize = 200;
    let mut demo = Demo::start(framework, &["--metrics-every", "0"]);
    let open = |_| Events::open(demo.addr(), &Request::get("/events/news"));
    let mut streams: Vec<Events> = (0..STREAMS).map(open).collect();
    let last = demo.publish("news", "last");

    demo.terminate();

    let mut times = BTreeSet::new();
    for stream in &mut streams {
        // What was published before the end still arrives.
        assert_eq!(&*stream.event().last_event_id, last);
        let (rest, end) = stream.rest();
        assert_eq!(end, End::Clean);
        match rest[..] {
            [Decoded::Retry(time)] => times.insert(time),
            _ => panic!("a stream ended with {rest:?}"),
        };
    }
    // Spread out, so that they do not all come back at once.
    assert!(
        times.len() > STREAMS / 4,
        "{STREAMS} streams share {} times",
        times.len()
    );
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
}

fn a_client_that_never_reads_holds_nothing_up(framework: &str) {
    /// The grace, unless it is told.
    const BOUND: Duration = Duration::from_secs(1);

    // TCP does not let go of it either, for three quarters of an hour.
    let mut demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "3600"]);
    let stalled = Request::get("/events/bulk").send(demo.addr());
    assert_eq!(stalled.head.status, 200);
    // More than the sockets' buffers hold, so that the server's writes are stuck.
    let data = vec![b'x'; 1 << 20];
    for _ in 0..24 {
        demo.publish("bulk", &data);
    }
    let mut reading = Events::open(demo.addr(), &Request::get("/events/news"));

    let start = Instant::now();
    demo.terminate();

    let (_, end) = reading.rest();
    assert_eq!(end, End::Clean);
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
    let took = start.elapsed();
    println!("{framework}: {took:.2?} with a grace of {BOUND:?}");
    assert!(
        took >= BOUND && took < BOUND + Duration::from_secs(5),
        "{took:?}"
    );
}

fn clients_that_come_in_that_moment_do_no_harm(framework: &str) {
    // Not every time has a client that comes at the worst moment.
    for _ in 0..3 {
        let mut demo = Demo::start(framework, &["--metrics-every", "0"]);
        let mut events = Events::open(demo.addr(), &Request::get("/events"));
        let addr = demo.addr();
        // Ends when the server no longer takes connections.
        let newcomers = thread::spawn(move || while TcpStream::connect(addr).is_ok() {});

        demo.terminate();

        let (_, end) = events.rest();
        assert_eq!(end, End::Clean);
        assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
        newcomers.join().expect("it only connects");
    }
}

fn an_idle_server_exits(framework: &str) {
    let mut demo = Demo::start(framework, &[]);
    drop(Request::get("/events").send(demo.addr()));
    wait_for("the stream to end", || {
        demo.publish("news", "somebody there?");
        (demo.stats()["subscribers"] == 0).then_some(())
    });
    demo.terminate();
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
}

each_framework!(
    every_stream_ends_cleanly_with_a_retry_of_its_own,
    a_client_that_never_reads_holds_nothing_up,
    clients_that_come_in_that_moment_do_no_harm,
    an_idle_server_exits,
);
