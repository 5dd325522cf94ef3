//! Admission: limits on streams, on streams per client and on how fast a client opens them, that hold
//! however hard they are tried, and disturb nobody who is in.
//!
//! `FANFARE_CAP_SECONDS` says for how long a crowd tries to get in: the test is the same, and takes
//! longer.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{
    chosen, each_framework, make_room_for, wait_for, Connection, Demo, End, EndOnDrop, Events,
    Item, Piece, Request, Response, DEADLINE,
};
use fanfare_core::Decoded;

/// How many streams there may be, of how many clients that want one.
const SLOTS: usize = 500;
const CLIENTS: usize = 2_000;

/// How many have a stream before the others come, and keep it.
const STAYING: usize = 20;

/// How many threads the others share.
const THREADS: usize = 8;

/// How long a client keeps its stream at most.
const STAY: Duration = Duration::from_millis(400);

/// How long one that was turned away waits at most, whatever it was told.
const PAUSE: Duration = Duration::from_millis(200);

/// Held by the test whose crowd is there.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client of the crowd.
struct Restless {
    /// Its stream, if it has one.
    stream: Option<Response>,
    /// When it leaves, or tries again.
    next: Instant,
}

/// What became of the tries.
#[derive(Debug, Default)]
struct Tries {
    admitted: AtomicUsize,
    refused: AtomicUsize,
}

impl Restless {
    /// Leaves, or tries to get in.
    fn step(&mut self, addr: SocketAddr, tries: &Tries) {
        if self.stream.take().is_some() {
            self.next = Instant::now() + jitter(PAUSE);
            return;
        }
        // A server with that much to do may leave a connection unanswered: then it is none.
        let Some(mut answer) = Request::get("/events/news").try_send(addr) else {
            self.next = Instant::now() + jitter(PAUSE);
            return;
        };
        let is_admitted = match answer.head.status {
            200 => match answer.body.next(DEADLINE) {
                // A refusal is a whole block, and then the end.
                Piece::Chunk(first) => !first.ends_with(b"\n\n"),
                other => panic!("a stream began with {other:?}"),
            },
            503 => {
                assert!(answer.head.get("retry-after").is_some());
                false
            }
            status => panic!("a stream was answered with {status}"),
        };
        if is_admitted {
            tries.admitted.fetch_add(1, Ordering::Relaxed);
            self.stream = Some(answer);
            self.next = Instant::now() + jitter(STAY);
        } else {
            tries.refused.fetch_add(1, Ordering::Relaxed);
            self.next = Instant::now() + jitter(PAUSE);
        }
    }
}

/// Some part of a time, another for each that asks.
fn jitter(limit: Duration) -> Duration {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let asked = ASKED.fetch_add(1, Ordering::Relaxed) as u64;
    let mixed = asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    limit.mul_f64(mixed as f64 / f64::from(1 << 24))
}

fn the_cap_holds(framework: &str, answer: &str) {
    let _turn = turn();
    make_room_for(CLIENTS);
    let seconds = chosen("FANFARE_CAP_SECONDS", 3) as u64;
    let slots = SLOTS.to_string();
    let flags = ["--max-clients", &slots, "--when-full", answer];
    // Events find those who have left, wherever only that does.
    let demo = Demo::start(framework, &[&["--metrics-every", "0"], &flags[..]].concat());
    let addr = demo.addr();
    let open = |_| Events::open(addr, &Request::get("/events/news")).opened();
    let mut staying: Vec<Events> = (0..STAYING).map(open).collect();

    let is_over = AtomicBool::new(false);
    let tries = Tries::default();
    let (mut published, mut most) = (Vec::new(), 0);
    thread::scope(|scope| {
        let over = EndOnDrop::new(&is_over);
        for _ in 0..THREADS {
            scope.spawn(|| {
                let now = Instant::now();
                let clients = (0..CLIENTS / THREADS).map(|_| Restless {
                    stream: None,
                    next: now,
                });
                let mut clients: Vec<Restless> = clients.collect();
                while !is_over.load(Ordering::Relaxed) {
                    for client in &mut clients {
                        if client.next <= Instant::now() {
                            client.step(addr, &tries);
                        }
                    }
                    thread::yield_now();
                }
            });
        }
        // However busy the machine is: the cap is reached, places turn over, and tries are in vain.
        let until = Instant::now() + Duration::from_secs(seconds);
        let latest = until + DEADLINE;
        let has_turned_over = || {
            let count = |tries: &AtomicUsize| tries.load(Ordering::Relaxed);
            count(&tries.admitted) > SLOTS && count(&tries.refused) > 0
        };
        while Instant::now() < until
            || (Instant::now() < latest && !(most == SLOTS && has_turned_over()))
        {
            published.push(demo.publish("news", published.len().to_string()));
            let streams = demo.stats()["subscribers"].as_u64().expect("a count") as usize;
            assert!(streams <= SLOTS, "{streams} streams of {SLOTS}");
            most = most.max(streams);
        }
        drop(over);
    });

    println!("{framework}, {answer}: at most {most} streams; {tries:?}");
    assert_eq!(most, SLOTS, "the cap was not reached");
    assert!(
        tries.admitted.load(Ordering::Relaxed) > SLOTS,
        "nobody came after another"
    );
    assert!(tries.refused.load(Ordering::Relaxed) > 0);
    let last = demo.publish("news", "last");
    published.push(last.clone());
    for events in &mut staying {
        let ids = events.up_to(&last).into_iter();
        let ids: Vec<String> = ids.map(|event| event.last_event_id.to_string()).collect();
        assert!(
            ids == published,
            "{} of {} events",
            ids.len(),
            published.len()
        );
    }
    drop(staying);
    wait_for("all to have left", || {
        demo.publish("news", "somebody there?");
        (demo.stats()["subscribers"] == 0).then_some(())
    });
}

fn the_cap_holds_with_a_status(framework: &str) {
    the_cap_holds(framework, "status");
}

fn the_cap_holds_with_soft_answers(framework: &str) {
    the_cap_holds(framework, "soft");
}

fn an_address_opens_streams_only_so_fast(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--connect-rate", "3"]);
    let from = |last| Connection::open_from(Ipv4Addr::new(127, 0, 0, last), demo.addr());
    let events = Request::get("/events/news");
    // Whether they stay is no matter.
    let open = |_| from(1).send(&events).head.status;
    assert_eq!((0..3).map(open).collect::<Vec<_>>(), [200; 3]);

    let refused = from(1).send(&events);
    assert_eq!(refused.head.status, 429);
    let after = refused
        .head
        .get("retry-after")
        .expect("a time to come back");
    let after: u64 = after.parse().expect("in seconds");
    // One in 20 seconds, and some jitter.
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(
        from(1).send(&Request::get("/long-poll?wait=0")).head.status,
        429
    );
    assert_eq!(from(1).send(&Request::post("/echo", "[]")).head.status, 429);
    // What opens no stream is no matter either, and neither is what others do.
    assert_eq!(from(1).send(&Request::get("/poll")).head.status, 200);
    assert_eq!(from(2).send(&events).head.status, 200);
}

fn an_addresss_oldest_stream_may_make_room(framework: &str) {
    let flags = ["--max-per-client", "1", "--when-key-full", "end-oldest"];
    let demo = Demo::start(framework, &[&["--metrics-every", "0"], &flags[..]].concat());
    let from = |last| Connection::open_from(Ipv4Addr::new(127, 0, 0, last), demo.addr());
    let open = |last| Events::of(from(last).send(&Request::get("/events/news"))).opened();
    let (mut oldest, mut other) = (open(1), open(2));

    let mut newest = open(1);

    let (_, end) = oldest.rest();
    assert_eq!(end, End::Clean);
    let id = demo.publish("news", "x");
    assert_eq!(&*newest.event().last_event_id, id);
    assert_eq!(&*other.event().last_event_id, id);
}

fn no_stream_outlives_the_longest_lifetime(framework: &str) {
    let demo = Demo::start(
        framework,
        &["--metrics-every", "0", "--max-lifetime", "0.5"],
    );
    let start = Instant::now();
    let request = Request::get("/events/news");
    let mut streams: Vec<Events> = (0..10)
        .map(|_| Events::open(demo.addr(), &request))
        .collect();
    let mut times = BTreeSet::new();
    for events in &mut streams {
        let last = loop {
            match events.item(Instant::now() + DEADLINE) {
                Item::Decoded(Decoded::Retry(retry)) => times.insert(retry),
                Item::Decoded(_) => continue,
                Item::End(end) => break end,
            };
        };
        assert_eq!(last, End::Clean);
    }
    // A tenth less at most, and nothing else would have ended them within hours.
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(450) && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert!(times.len() > 2, "they come back together: {times:?}");
}

each_framework!(
    the_cap_holds_with_a_status,
    the_cap_holds_with_soft_answers,
    an_address_opens_streams_only_so_fast,
    an_addresss_oldest_stream_may_make_room,
    no_stream_outlives_the_longest_lifetime,
);
