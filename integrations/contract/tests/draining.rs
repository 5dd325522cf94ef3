//! Draining: streams end over a window, while publishing goes on, and their clients resume elsewhere
//! without a loss.
//!
//! `FANFARE_STREAMS` says how many streams are drained, and `FANFARE_WINDOW` over how many seconds: the
//! tests are the same, and take longer.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{
    chosen, each_framework, make_room_for, wait_for, Demo, End, EndOnDrop, Events, Log, Outcome,
    Place, Published, Redis, Request, Roaming, DEADLINE,
};
use fanfare_core::{Decoded, Decoder};
use tempfile::TempDir;

/// Far more than it takes, far less than a supervisor's patience.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// How many threads the clients share.
const THREADS: usize = 10;

/// How long a thread pauses when all its clients have had their turn.
const PAUSE: Duration = Duration::from_millis(5);

/// So many events a second are sent to all clients together.
const DELIVERIES: usize = 50_000;

/// Held by the test that runs: their subject is time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clients whose streams end, and that go on elsewhere.
#[derive(Default)]
struct Crowd {
    /// Where they go on, once there is somebody.
    onward: Mutex<Option<SocketAddr>>,
    /// Up to where they read, once that is known.
    last: Mutex<Option<Place>>,
    /// How many streams have ended.
    ended: AtomicUsize,
    /// Whether nobody waits for them any more.
    is_over: AtomicBool,
}

struct Member {
    client: Roaming,
    /// When its first stream ended, and when it was told to come back.
    end: Option<(Instant, Duration)>,
    has_arrived: bool,
}

impl Crowd {
    /// What one thread does with its clients: it reads until their streams have ended, and then where they
    /// go on, up to the last event.
    fn read(&self, clients: Vec<Roaming>) -> Vec<Member> {
        let members = clients.into_iter().map(|client| Member {
            client,
            end: None,
            has_arrived: false,
        });
        let mut members: Vec<Member> = members.collect();
        let mut progress = Instant::now();
        while members.iter().any(|member| !member.has_arrived) {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let (onward, last) = (*lock(&self.onward), *lock(&self.last));
            // One at a time: the others' ends are noted when they come, not when all have moved.
            let mut may_move = true;
            for member in members.iter_mut().filter(|member| !member.has_arrived) {
                let client = &mut member.client;
                if client.has_stream() {
                    if client.read(Duration::ZERO) {
                        progress = Instant::now();
                    }
                    if !client.has_stream() && member.end.is_none() {
                        let retry = client.retry.expect("it was told when to come back");
                        member.end = Some((Instant::now(), retry));
                        self.ended.fetch_add(1, Ordering::SeqCst);
                    }
                } else if let Some(addr) = onward.filter(|_| std::mem::take(&mut may_move)) {
                    client.go_to(addr);
                }
                let is_there = last.is_some_and(|last| client.place() >= last);
                member.has_arrived = is_there && member.end.is_some();
            }
            assert!(
                progress.elapsed() < DEADLINE,
                "nothing comes any more; {} streams have ended",
                self.ended.load(Ordering::SeqCst)
            );
            thread::sleep(PAUSE);
        }
        members
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Publishes at one after the other until it is over. Returns what became of it, and the longest time
/// between two answers while streams were draining.
fn publish(
    addrs: &[SocketAddr],
    pause: Duration,
    is_draining: impl Fn() -> bool,
    is_over: &AtomicBool,
) -> (Vec<Published>, Duration) {
    let (mut published, mut longest) = (Vec::new(), Duration::ZERO);
    let mut before = Instant::now();
    for (number, addr) in (0..).zip(addrs.iter().cycle()) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(pause);
        published.push(Published::publish(*addr, "load", number));
        if is_draining() {
            longest = longest.max(before.elapsed());
        }
        before = Instant::now();
    }
    (published, longest)
}

/// Where the log is, and so who takes the clients over.
enum Kept {
    /// By a second process, which is there while the first drains.
    InRedis(Redis),
    /// By the process that is started in its place.
    InDirectory(TempDir),
}

fn a_drain_loses_nothing(framework: &str, kept: &Kept) {
    let _turn = turn();
    let streams = chosen("FANFARE_STREAMS", 500);
    // Long, so that what else a busy machine does is short beside it.
    let window = Duration::from_secs(chosen("FANFARE_WINDOW", 4) as u64);
    make_room_for(streams);
    let place = match kept {
        Kept::InRedis(redis) => ["--redis".to_owned(), redis.url()],
        Kept::InDirectory(directory) => {
            let path = directory.path().display().to_string();
            ["--data-dir".to_owned(), path]
        }
    };
    let (drain, max) = (
        window.as_millis().to_string(),
        (streams + THREADS).to_string(),
    );
    let mut flags = vec!["--metrics-every", "0", "--history", "100000"];
    // The grace is for clients that do not read, not for a machine that is slow.
    flags.extend(["--drain", &drain, "--grace", "15", "--max-clients", &max]);
    flags.extend(place.iter().map(String::as_str));
    let mut demo = Demo::start_with_history(framework, &flags);
    let second = match kept {
        Kept::InRedis(_) => Some(Demo::start_with_history(framework, &flags)),
        Kept::InDirectory(_) => None,
    };
    let first = demo.publish("load", "start");
    let addrs: Vec<SocketAddr> = [Some(&demo), second.as_ref()]
        .into_iter()
        .flatten()
        .map(Demo::addr)
        .collect();
    let open = |_| {
        let mut client = Roaming::new("/events/load", &first);
        assert!(client.go_to(addrs[0]));
        // So that the `retry` that is kept is that of its end.
        wait_for("the beginning", || client.read(DEADLINE).then_some(()));
        client
    };
    let mut clients: Vec<Roaming> = (0..streams).map(open).collect();

    let crowd = Crowd::default();
    *lock(&crowd.onward) = second.as_ref().map(Demo::addr);
    let is_published = AtomicBool::new(false);
    let pause = Duration::from_secs(1) * u32::try_from(streams).expect("not as many as that")
        / u32::try_from(DELIVERIES).expect("not as many as that");
    let is_draining = || crowd.ended.load(Ordering::SeqCst) < streams;
    let (members, published, stall, began) = thread::scope(|scope| {
        let _over = EndOnDrop::new(&crowd.is_over);
        let all_is_published = EndOnDrop::new(&is_published);
        let publisher = scope.spawn(|| publish(&addrs, pause, is_draining, &is_published));
        let share = streams.div_ceil(THREADS);
        let readers: Vec<_> = std::iter::from_fn(|| {
            let rest = clients.split_off(clients.len().saturating_sub(share));
            (!rest.is_empty()).then_some(rest)
        })
        .map(|share| scope.spawn(|| crowd.read(share)))
        .collect();
        let began = Instant::now();
        demo.terminate();
        wait_for("the first to end", || {
            (crowd.ended.load(Ordering::SeqCst) > 0).then_some(())
        });
        // In the middle of it, newcomers are sent away softly.
        let newcomer = Request::get("/events/load").send(addrs[0]);
        assert_eq!(newcomer.head.status, 200);
        let mut decoder = Decoder::new();
        decoder.feed(newcomer.text().as_bytes()).expect("a stream");
        assert!(matches!(decoder.next(), Some(Decoded::Retry(_))));
        assert_eq!(decoder.next(), None);
        let exited = demo.wait_exit(window + EXIT_LIMIT);
        println!(
            "{framework}: the process ended with {exited} after {:.2?}",
            began.elapsed()
        );
        assert_eq!(exited.code(), Some(0));
        if second.is_none() {
            demo.restart();
            *lock(&crowd.onward) = Some(demo.addr());
        }
        wait_for("every stream to end", || (!is_draining()).then_some(()));
        drop(all_is_published);
        let (mut published, stall) = publisher.join().expect("it publishes");
        let onward = addrs[addrs.len() - 1];
        let last = Published::publish(onward, "load", u32::MAX);
        let Outcome::Stored(place) = last.outcome else {
            panic!("{last:?}");
        };
        published.push(last);
        *lock(&crowd.last) = Some(place);
        let members = readers.into_iter().map(|r| r.join().expect("it reads"));
        let members: Vec<Member> = members.flatten().collect();
        (members, published, stall, began)
    });

    let ends = members.iter().map(|member| member.end.expect("it ended"));
    let (mut after, mut times) = (Vec::new(), BTreeSet::new());
    for (at, retry) in ends {
        after.push(at - began);
        times.insert(retry);
    }
    after.sort_unstable();
    let is_stored = |published: &&Published| matches!(published.outcome, Outcome::Stored(_));
    let stored = published.iter().filter(is_stored).count();
    println!(
        "{framework}: {streams} streams ended over {window:?}, by tenths {:?}, told {} times; of {} events \
         {stored} were stored, with {stall:.2?} between two at most",
        by_tenths(&after, window),
        times.len(),
        published.len(),
    );
    // What stops the machine delays them; nothing brings an end forward.
    is_even(&after, window, window / 4 + stall).unwrap_or_else(|why| panic!("{why}"));
    // In milliseconds there are 2,000 different ones.
    assert!(
        times.len() > streams.min(2_000) / 4,
        "{} times",
        times.len()
    );
    assert!(stored > 10, "nothing was published during the drain");

    let mut log = Log::default();
    for published in &published {
        if let Outcome::Stored(place) = published.outcome {
            log.note(place, published.number);
        }
    }
    for Member { client, .. } in &members {
        log.note_seen_by(client);
    }
    for Member { client, .. } in &members {
        assert_eq!((client.connections, client.ends), (2, 1), "it moved once");
        let account = log.account(client, |_| true);
        let account = account.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((account.gaps, account.missed.len()), (0, 0));
    }
}

/// How many of these times are in each tenth of the window, and how many after it.
fn by_tenths(after: &[Duration], window: Duration) -> [usize; 11] {
    let mut tenths = [0; 11];
    for after in after {
        let tenth = after.as_millis() * 10 / window.as_millis().max(1);
        tenths[usize::try_from(tenth).map_or(10, |tenth| tenth.min(10))] += 1;
    }
    tenths
}

/// Whether of so many ends each comes when its share of the window has passed, and not more than this
/// later. They are in order.
fn is_even(after: &[Duration], window: Duration, late: Duration) -> Result<(), String> {
    for (n, after_it) in after.iter().enumerate() {
        let due = window.mul_f64(n as f64 / after.len() as f64);
        if *after_it < due || *after_it > due + late {
            return Err(format!(
                "end {n} is due after {due:.2?}, or {late:.2?} later, and came after {after_it:.2?}; by \
                 tenths: {:?}",
                by_tenths(after, window)
            ));
        }
    }
    Ok(())
}

fn a_drain_is_spread_and_nothing_is_lost(framework: &str) {
    a_drain_loses_nothing(framework, &Kept::InRedis(Redis::start()));
}

fn who_was_drained_resumes_after_the_restart(framework: &str) {
    let directory = TempDir::new().expect("a folder for a history");
    a_drain_loses_nothing(framework, &Kept::InDirectory(directory));
}

fn who_does_not_read_is_not_waited_for(framework: &str) {
    /// The window and the grace.
    const BOUND: Duration = Duration::from_millis(1_500);

    let _turn = turn();
    let flags = ["--drain", "500", "--grace", "1"];
    // TCP does not let go of them either, for three quarters of an hour.
    let quiet = ["--metrics-every", "0", "--keep-alive", "3600"];
    let mut demo = Demo::start(framework, &[flags, quiet].concat());
    let stalled = |_| Request::get("/events/bulk").send(demo.addr());
    let _stalled: Vec<_> = (0..5).map(stalled).collect();
    let mut reading = Events::open(demo.addr(), &Request::get("/events/news"));
    // More than the sockets' buffers hold, so that the server's writes are stuck.
    let data = vec![b'x'; 1 << 20];
    for _ in 0..16 {
        demo.publish("bulk", &data);
    }

    let start = Instant::now();
    demo.terminate();

    let (_, end) = reading.rest();
    assert_eq!(end, End::Clean);
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
    let took = start.elapsed();
    println!("{framework}: {took:.2?} with a bound of {BOUND:?}");
    // Before it, they were read by nobody and yet waited for; so it is the bound that ended it.
    assert!(
        took >= BOUND && took < BOUND + Duration::from_secs(5),
        "{took:?}"
    );
}

each_framework!(
    a_drain_is_spread_and_nothing_is_lost,
    who_was_drained_resumes_after_the_restart,
    who_does_not_read_is_not_waited_for,
);

/// Ends so many percent of a hundred streams in each fifth of ten seconds.
fn ends(fifths: [u32; 5]) -> Vec<Duration> {
    let fifths = (0..).zip(fifths);
    let ends = fifths.flat_map(|(fifth, count)| {
        (0..count).map(move |n| Duration::from_secs(2) * (fifth * count + n + 1) / count)
    });
    ends.collect()
}

#[test]
fn whatever_is_uneven_is_found() {
    let is_even = |fifths| {
        is_even(
            &ends(fifths),
            Duration::from_secs(10),
            Duration::from_secs(3),
        )
    };
    is_even([20, 20, 20, 20, 20]).expect("it is as even as can be");
    is_even([20, 20, 2, 38, 20]).expect("the machine stopped for a moment");
    for fifths in [
        [50, 4, 4, 21, 21],
        [100, 0, 0, 0, 0],
        [0, 0, 0, 0, 100],
        [20, 20, 60, 0, 0],
        [2, 2, 36, 30, 30],
    ] {
        is_even(fifths).expect_err("it is not");
    }
}
