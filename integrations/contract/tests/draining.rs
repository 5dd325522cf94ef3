//! Draining: streams end over a window, while publishing goes on, and their clients resume elsewhere
//! without a loss.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{
    each_framework, room_for, wait_for, Demo, End, Events, Log, Outcome, Published, Request,
    Roaming, DEADLINE,
};
use fanfare_core::{Decoded, Decoder};
use tempfile::TempDir;

/// Far more than it takes, far less than a supervisor's patience.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

const STREAMS: usize = 500;
const THREADS: usize = 10;

/// Long, so that what else a busy machine does is short beside it.
const WINDOW: Duration = Duration::from_secs(4);

/// Held by the test that runs: their subject is time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads until each stream has ended. Returns the clients, and when their streams ended.
fn read_to_the_end(mut clients: Vec<Roaming>, ended: &AtomicUsize) -> Vec<(Roaming, Instant)> {
    let mut gone = Vec::new();
    while !clients.is_empty() {
        for mut client in std::mem::take(&mut clients) {
            client.read(Duration::from_millis(1));
            if client.has_stream() {
                clients.push(client);
            } else {
                ended.fetch_add(1, Ordering::Relaxed);
                gone.push((client, Instant::now()));
            }
        }
    }
    gone
}

fn a_drain_is_spread_and_nothing_is_lost(framework: &str) {
    let _turn = turn();
    let streams = room_for(STREAMS);
    let directory = TempDir::new().expect("a folder for a history");
    let directory = directory.path().to_str().expect("its path is text");
    let window = WINDOW.as_millis().to_string();
    let flags = [
        "--metrics-every",
        "0",
        "--data-dir",
        directory,
        "--drain",
        &window,
    ];
    let mut demo = Demo::start_with_history(framework, &flags);
    let start = demo.publish("load", "start");
    let addr = demo.addr();
    let open = |_| {
        let mut client = Roaming::new("/events/load", &start);
        assert!(client.go_to(addr));
        // So that the `retry` that is kept is that of its end.
        wait_for("the beginning", || client.read(DEADLINE).then_some(()));
        client
    };
    let mut clients: Vec<Roaming> = (0..streams).map(open).collect();

    let (ended, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (published, gone) = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let numbers = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
            let published = numbers.map(|number| {
                thread::sleep(Duration::from_millis(10));
                Published::publish(addr, "load", number)
            });
            published.collect::<Vec<_>>()
        });
        demo.terminate();
        let share = streams.div_ceil(THREADS);
        let readers: Vec<_> = std::iter::from_fn(|| {
            let rest = clients.split_off(clients.len().saturating_sub(share));
            (!rest.is_empty()).then_some(rest)
        })
        .map(|share| scope.spawn(|| read_to_the_end(share, &ended)))
        .collect();
        wait_for("the first to end", || {
            (ended.load(Ordering::Relaxed) > 0).then_some(())
        });
        // In the middle of it, newcomers are sent away softly.
        let newcomer = Request::get("/events/load").send(addr);
        assert_eq!(newcomer.head.status, 200);
        let mut decoder = Decoder::new();
        decoder.feed(newcomer.text().as_bytes()).expect("a stream");
        assert!(matches!(decoder.next(), Some(Decoded::Retry(_))));
        assert_eq!(decoder.next(), None);
        let gone = readers.into_iter().map(|r| r.join().expect("it reads"));
        let gone: Vec<(Roaming, Instant)> = gone.flatten().collect();
        is_over.store(true, Ordering::Relaxed);
        (publisher.join().expect("it publishes"), gone)
    });
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));

    // Counted from the first end to the last, since a signal may take its time.
    let ends = || gone.iter().map(|(_, at)| *at);
    let first = ends().min().expect("a stream");
    let span = ends().max().expect("a stream") - first;
    let mut tenths = [0; 10];
    let mut times = BTreeSet::new();
    for (client, at) in &gone {
        let tenth = (*at - first).as_millis() * 10 / span.as_millis().max(1);
        tenths[usize::try_from(tenth).unwrap_or(9).min(9)] += 1;
        times.insert(client.retry.expect("it was told when to come back"));
    }
    let stored = published.iter();
    let stored = stored
        .filter(|p| matches!(p.outcome, Outcome::Stored(_)))
        .count();
    println!(
        "{framework}: of {streams} streams ended in {span:?}, by tenths {tenths:?}, told {} times; \
         {stored} events stored meanwhile",
        times.len()
    );
    assert!(span > WINDOW / 2, "they ended in {span:?}");
    // Two tenths at a time, which is longer than a busy machine stops a process.
    for ends in tenths.chunks(2).map(|two| two.iter().sum::<usize>()) {
        let percent = ends * 100 / streams;
        assert!((4..=50).contains(&percent), "{tenths:?}");
    }
    assert!(times.len() > streams / 4, "{} times", times.len());
    assert!(stored > 10, "nothing was published during the drain");

    demo.restart();
    let mut log = Log::default();
    let last = Published::publish(addr, "load", u32::MAX);
    let Outcome::Stored(last_place) = last.outcome else {
        panic!("{last:?}");
    };
    for published in published.iter().chain([&last]) {
        if let Outcome::Stored(place) = published.outcome {
            log.note(place, published.number);
        }
    }
    let mut clients: Vec<Roaming> = gone.into_iter().map(|(client, _)| client).collect();
    for client in &mut clients {
        assert!(client.go_to(demo.addr()));
        wait_for("the last event", || {
            client.read(DEADLINE);
            (client.place() >= last_place).then_some(())
        });
        client.leave();
        log.note_seen_by(client);
    }
    for client in &clients {
        let account = log.account(client, |_| true);
        let account = account.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((account.gaps, account.missed.len()), (0, 0));
    }
}

fn who_does_not_read_is_not_waited_for(framework: &str) {
    let _turn = turn();
    let flags = ["--metrics-every", "0", "--drain", "500", "--grace", "1"];
    let mut demo = Demo::start(framework, &flags);
    let stalled = |_| Request::get("/events/bulk").send(demo.addr());
    let _stalled: Vec<_> = (0..5).map(stalled).collect();
    let mut reading = Events::open(demo.addr(), &Request::get("/events/news"));
    // More than the sockets' buffers hold, so that the server's writes are stuck.
    let data = vec![b'x'; 1 << 20];
    for _ in 0..16 {
        demo.publish("bulk", &data);
    }

    demo.terminate();

    let (_, end) = reading.rest();
    assert_eq!(end, End::Clean);
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
}

each_framework!(
    a_drain_is_spread_and_nothing_is_lost,
    who_does_not_read_is_not_waited_for,
);
