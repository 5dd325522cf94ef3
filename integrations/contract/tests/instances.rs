//! A history that outlives processes and spans several: whichever of them a client is at, and
//! whichever of them dies, it is sent every event once and in order, or told which it was not.
//!
//! `FANFARE_EVENTS` says how many events are published under load, `FANFARE_OUTAGE` for how many
//! seconds Redis is stopped: the tests are the same, and take longer. `FANFARE_SEED` decides which
//! clients move when.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fanfare_contract::{
    chosen, each_framework_under_load, make_room_for, wait_for, Account, Body, Demo, EndOnDrop,
    Log, Outcome, Piece, Place, Published, Redis, Request, Roaming, DEADLINE,
};
use tempfile::TempDir;

/// How many processes share a history.
const INSTANCES: usize = 3;

/// How many clients move between them, and how many threads they share.
const CLIENTS: usize = 300;
const THREADS: usize = 6;

/// Numbers of one instance's publisher begin here, times its own.
const NUMBERS: u32 = 1_000_000;

/// More than any of the tests publishes.
const ALL: &str = "1000000";

/// Held by the test that runs: each has the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Demos on one history.
struct Cluster {
    demos: Vec<Mutex<Demo>>,
    addrs: Vec<SocketAddr>,
    /// An event before all others.
    start: String,
}

impl Cluster {
    fn start(framework: &str, instances: usize, flags: &[&str]) -> Self {
        let flags = [&["--metrics-every", "0", "--keep-alive", "3600"], flags].concat();
        let demos = (0..instances).map(|_| Demo::start_with_history(framework, &flags));
        let demos: Vec<Demo> = demos.collect();
        let addrs = demos.iter().map(Demo::addr).collect();
        // Of every topic, so that its name has been announced.
        let publish = |topic| demos[0].publish(&topic_of(topic), "start");
        let mut starts: Vec<String> = (0..instances).map(publish).collect();
        let start = starts.pop().expect("an instance");
        Self {
            demos: demos.into_iter().map(Mutex::new).collect(),
            addrs,
            start,
        }
    }

    fn on_redis(framework: &str, redis: &Redis, retained: &str) -> Self {
        let flags = ["--redis", &redis.url(), "--history", retained];
        Self::start(framework, INSTANCES, &flags)
    }

    fn demo(&self, index: usize) -> MutexGuard<'_, Demo> {
        self.demos[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes so many numbers at an instance, from so many connections, and counts them. Returns what
    /// became of each.
    fn publish(
        &self,
        index: usize,
        count: u32,
        connections: u32,
        progress: &AtomicU32,
    ) -> Vec<Published> {
        let publish = |first: u32| {
            let numbers = (first..count).step_by(connections as usize);
            let numbers = numbers.map(|n| n + NUMBERS * u32::try_from(index).expect("few"));
            let published = numbers.map(|number| {
                let published = Published::publish(self.addrs[index], &topic_of(index), number);
                progress.fetch_add(1, Ordering::SeqCst);
                published
            });
            published.collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..connections)
                .map(|first| scope.spawn(move || publish(first)))
                .collect();
            let published = threads.into_iter().map(|t| t.join().expect("it publishes"));
            published.flatten().collect()
        })
    }

    /// Publishes one more number to every topic, which must be stored. Returns them.
    fn publish_last(&self) -> Vec<Published> {
        let publish = |index| {
            let number = NUMBERS * (u32::try_from(index).expect("few") + 1) - 1;
            wait_for("an event to be stored", || {
                let published = Published::publish(self.addrs[index], &topic_of(index), number);
                matches!(published.outcome, Outcome::Stored(_)).then_some(published)
            })
        };
        (0..self.addrs.len()).map(publish).collect()
    }
}

fn topic_of(index: usize) -> String {
    format!("load.{index}")
}

/// What the clients are up to.
struct Crowd<'a> {
    cluster: &'a Cluster,
    /// Whether they move, but for the first of every ten.
    moves: bool,
    /// How long one may stay away when it moves.
    away: Duration,
    /// Up to where they are to read, once that is known.
    last: Mutex<Option<Vec<Place>>>,
    /// Whether nobody waits for them any more.
    is_over: AtomicBool,
}

/// A client, and the topics that it follows.
struct Member {
    client: Roaming,
    /// `None` is all of them.
    topic: Option<usize>,
    stays: bool,
    goes_at: Instant,
    has_arrived: bool,
}

impl Member {
    fn follows(&self, number: u32) -> bool {
        self.topic
            .is_none_or(|topic| number / NUMBERS == u32::try_from(topic).expect("few"))
    }
}

impl<'a> Crowd<'a> {
    fn new(cluster: &'a Cluster, moves: bool, away: Duration) -> Self {
        Self {
            cluster,
            moves,
            away,
            last: Mutex::new(None),
            is_over: AtomicBool::new(false),
        }
    }

    /// Four of ten follow one topic, the others all.
    fn member(&self, number: usize) -> Member {
        let topics = self.cluster.addrs.len();
        let topic = (number % 10 < 4).then_some(number % topics);
        let target = topic.map_or("/events/load.%3E".to_owned(), |topic| {
            format!("/events/{}", topic_of(topic))
        });
        Member {
            client: Roaming::new(&target, &self.cluster.start),
            topic,
            stays: !self.moves || number % 10 == 0,
            goes_at: Instant::now(),
            has_arrived: false,
        }
    }

    /// What one thread does with its clients, until all have read everything.
    fn run(&self, numbers: impl Iterator<Item = usize>, seed: u64) -> Vec<Member> {
        let mut random = Random(seed);
        let mut members: Vec<Member> = numbers.map(|number| self.member(number)).collect();
        let mut progress = Instant::now();
        let is_over = || self.is_over.load(Ordering::Relaxed);
        while members.iter().any(|member| !member.has_arrived) && !is_over() {
            let last = self.last();
            for member in &mut members {
                self.step(member, &mut random);
                if member.client.has_stream() && member.client.read(Duration::from_millis(1)) {
                    progress = Instant::now();
                }
                let goal = last.as_ref().map(|last| match member.topic {
                    Some(topic) => last[topic],
                    None => *last.iter().max().expect("an instance"),
                });
                if !member.has_arrived && goal.is_some_and(|goal| member.client.place() >= goal) {
                    member.has_arrived = true;
                }
            }
            let is_stuck = last.is_some() && progress.elapsed() > DEADLINE;
            let waiting = members.iter().filter(|member| !member.has_arrived);
            let places = waiting.map(|member| member.client.place());
            assert!(
                !is_stuck,
                "nothing comes any more for those at {:?}, and the last are {last:?}",
                places.collect::<Vec<_>>()
            );
        }
        members
    }

    fn lock_last(&self) -> MutexGuard<'_, Option<Vec<Place>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Option<Vec<Place>> {
        self.lock_last().clone()
    }

    /// Goes where it wants to be.
    fn step(&self, member: &mut Member, random: &mut Random) {
        let now = Instant::now();
        if member.client.has_stream() {
            if !member.stays && now >= member.goes_at {
                member.client.leave();
                member.goes_at = now + random.up_to(self.away);
            }
        } else if now >= member.goes_at {
            let addr = self.cluster.addrs[random.below(self.cluster.addrs.len())];
            if member.client.go_to(addr) {
                member.goes_at = now + random.up_to(Duration::from_secs(4));
            }
        }
    }

    /// Has the clients read while `work` is done, and until all have read what it has published,
    /// which it returns.
    fn while_doing(&self, work: impl FnOnce() -> Vec<Published>) -> (Vec<Member>, Vec<Published>) {
        let seed = chosen("FANFARE_SEED", 7) as u64;
        thread::scope(|scope| {
            // When all has been read, or when the work fails.
            let _over = EndOnDrop::new(&self.is_over);
            let threads: Vec<_> = (0..THREADS)
                .map(|first| {
                    let numbers = (first..CLIENTS).step_by(THREADS);
                    let seed = seed + first as u64;
                    scope.spawn(move || self.run(numbers, seed))
                })
                .collect();
            let mut published = work();
            let last = self.cluster.publish_last();
            let places = last.iter().filter_map(|published| match published.outcome {
                Outcome::Stored(place) => Some(place),
                _ => None,
            });
            *self.lock_last() = Some(places.collect());
            published.extend(last);
            let members = threads.into_iter().map(|t| t.join().expect("it reads"));
            (members.flatten().collect(), published)
        })
    }
}

/// Xorshift: what happens in a run is decided by its seed, as far as machines let it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        limit.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// The accounts of all clients, each of which must be in order.
fn accounts(members: &[Member], published: &[Published]) -> Vec<Account> {
    let mut log = Log::default();
    for published in published {
        if let Outcome::Stored(place) = published.outcome {
            log.note(place, published.number);
        }
    }
    for member in members {
        log.note_seen_by(&member.client);
    }
    let numbers: Vec<u32> = log.numbers().collect();
    let stored: HashSet<u32> = numbers.iter().copied().collect();
    assert_eq!(stored.len(), numbers.len(), "a number was stored twice");
    for published in published {
        let is_refused = published.outcome == Outcome::Refused;
        assert!(
            !(is_refused && stored.contains(&published.number)),
            "{published:?} and stored"
        );
    }
    let account = |member: &Member| {
        let account = log.account(&member.client, |number| member.follows(number));
        account.unwrap_or_else(|why| panic!("a client of {:?}: {why}", member.topic))
    };
    members.iter().map(account).collect()
}

fn tell(framework: &str, members: &[Member], published: &[Published], accounts: &[Account]) {
    let count = |outcome: fn(&Outcome) -> bool| {
        let outcomes = published.iter().map(|published| &published.outcome);
        outcomes.filter(|it| outcome(it)).count()
    };
    let sum = |of: fn(&Account) -> usize| accounts.iter().map(of).sum::<usize>();
    println!(
        "{framework}: published {} (stored {}, refused {}, unknown {}); {} clients over {} streams \
         were sent {} events, and told of {} gaps with {} events in them",
        published.len(),
        count(|outcome| matches!(outcome, Outcome::Stored(_))),
        count(|outcome| *outcome == Outcome::Refused),
        count(|outcome| *outcome == Outcome::Unknown),
        members.len(),
        members.iter().map(|member| member.client.connections).sum::<usize>(),
        sum(|account| account.events),
        sum(|account| account.gaps),
        sum(|account| account.missed.len()),
    );
}

/// An instance is killed each time that so many events more have been published.
const EVENTS_PER_KILL: u32 = 1_000;

/// So many more, most of them by the others, before it is started again.
const EVENTS_WITHOUT_IT: u32 = 50;

fn chosen_events() -> u32 {
    u32::try_from(chosen("FANFARE_EVENTS", 6_000)).expect("not as many as that")
}

/// Publishes at every instance while one after the other is killed and started again.
fn publish_while_instances_die(cluster: &Cluster, events: u32) -> Vec<Published> {
    let share = events / u32::try_from(INSTANCES).expect("few");
    let all = share * u32::try_from(INSTANCES).expect("few");
    let progress = AtomicU32::new(0);
    let (progress, published) = (&progress, || progress.load(Ordering::SeqCst));
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..INSTANCES)
            .map(|index| scope.spawn(move || cluster.publish(index, share, 1, progress)))
            .collect();
        // For as long as it takes, as long as it goes on.
        let wait_until = |count: u32| loop {
            let before = published();
            let is_over = publishers.iter().all(ScopedJoinHandle::is_finished);
            if before >= count || is_over {
                break;
            }
            wait_for("publishers", || {
                let is_over = publishers.iter().all(ScopedJoinHandle::is_finished);
                (published() > before || is_over).then_some(())
            });
        };
        // They die in the middle of their work, whatever it is at that count.
        let mut kills = [0; INSTANCES];
        let counts = (EVENTS_PER_KILL..all).step_by(EVENTS_PER_KILL as usize);
        for (count, index) in counts.zip((0..INSTANCES).cycle()) {
            wait_until(count);
            let mut demo = cluster.demo(index);
            demo.kill_9();
            kills[index] += u32::from(published() < all);
            wait_until(published() + EVENTS_WITHOUT_IT);
            demo.restart();
        }
        println!("killed {kills:?} times");
        assert!(
            kills.iter().all(|&kills| kills > 0),
            "{events} events are too few to kill every instance"
        );
        let published = publishers
            .into_iter()
            .map(|p| p.join().expect("it publishes"));
        published.flatten().collect()
    })
}

fn who_moves_between_instances_that_die_sees_every_event(framework: &str) {
    let _turn = turn();
    let events = chosen_events();
    let redis = Redis::start();
    let cluster = Cluster::on_redis(framework, &redis, ALL);
    let crowd = Crowd::new(&cluster, true, Duration::from_millis(500));

    let (members, published) = crowd.while_doing(|| publish_while_instances_die(&cluster, events));

    let accounts = accounts(&members, &published);
    tell(framework, &members, &published, &accounts);
    for account in accounts {
        assert_eq!((account.gaps, account.missed.len()), (0, 0));
    }
}

fn who_was_away_for_too_long_is_told_what_is_gone(framework: &str) {
    let _turn = turn();
    let events = chosen_events();
    let redis = Redis::start();
    let cluster = Cluster::on_redis(framework, &redis, "100");
    let crowd = Crowd::new(&cluster, true, Duration::from_secs(4));

    let (members, published) = crowd.while_doing(|| publish_while_instances_die(&cluster, events));

    let accounts = accounts(&members, &published);
    tell(framework, &members, &published, &accounts);
    let missed: usize = accounts.iter().map(|account| account.missed.len()).sum();
    assert!(missed > 0, "nobody was away for long enough");
    for account in accounts {
        assert_eq!(account.needless, [""; 0]);
        let of_retention = |reason: &String| matches!(&**reason, "expired" | "lagged");
        assert!(account.reasons.iter().all(of_retention), "{account:?}");
    }
}

fn an_outage_of_redis_is_no_silence(framework: &str) {
    let _turn = turn();
    let outage = Duration::from_secs(chosen("FANFARE_OUTAGE", 6) as u64);
    let mut redis = Redis::start();
    let cluster = Cluster::on_redis(framework, &redis, ALL);
    let crowd = Crowd::new(&cluster, false, Duration::ZERO);
    let is_over = AtomicBool::new(false);

    let (members, published) = crowd.while_doing(|| {
        thread::scope(|scope| {
            let over = EndOnDrop::new(&is_over);
            let publish_on = |index: usize| {
                let mut published = Vec::new();
                let first = NUMBERS * u32::try_from(index).expect("few");
                for number in first.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    published.push(Published::publish(
                        cluster.addrs[index],
                        &topic_of(index),
                        number,
                    ));
                }
                published
            };
            let publishers: Vec<_> = (0..INSTANCES)
                .map(|index| scope.spawn(move || publish_on(index)))
                .collect();
            let is_ready = |expect: bool| {
                wait_for("every instance to notice", || {
                    let mut demos = (0..INSTANCES).map(|index| cluster.demo(index));
                    demos
                        .all(|demo| demo.stats()["backend"]["ready"] == expect)
                        .then_some(())
                });
            };
            let work = || thread::sleep(Duration::from_secs(1));
            work();
            redis.freeze();
            thread::sleep(outage);
            redis.thaw();
            is_ready(true);
            work();
            redis.kill_9();
            is_ready(false);
            work();
            redis.restart();
            is_ready(true);
            work();
            drop(over);
            let published = publishers
                .into_iter()
                .map(|p| p.join().expect("it publishes"));
            published.flatten().collect()
        })
    });

    let accounts = accounts(&members, &published);
    tell(framework, &members, &published, &accounts);
    let slowest = published.iter().map(|published| published.took).max();
    let told = accounts.iter().filter(|account| account.gaps > 0).count();
    let lost = accounts.iter().filter(|account| !account.missed.is_empty());
    println!(
        "{framework}: the slowest answer to a publisher took {slowest:.2?}; {told} clients were told \
         of a gap, {} have missed something",
        lost.count()
    );
    let failed = |outcome: Outcome| published.iter().any(|p| p.outcome == outcome);
    assert!(failed(Outcome::Refused), "nothing was refused");
    for (member, account) in members.iter().zip(&accounts) {
        assert_eq!((member.client.connections, member.client.ends), (1, 0));
        // The log began anew, so something may be missing; and it began anew once.
        assert_eq!(account.gaps, 1, "{account:?}");
        assert!(account.reasons.contains("epoch"), "{account:?}");
    }
}

/// Clients that all are so many records behind come to a process that has none of them.
fn a_crowd_returns(framework: &str, flags: &[&str]) {
    const RECORDS: u32 = 2_000;
    /// So many records are read from a backend at once.
    const PAGE: u32 = 1_000;
    const CROWD: usize = 5_000;

    make_room_for(CROWD);
    let flags = [flags, &["--history", ALL]].concat();
    let cluster = Cluster::start(framework, 1, &flags);
    let mut published = cluster.publish(0, RECORDS - 1, 8, &AtomicU32::new(0));
    published.extend(cluster.publish_last());
    let mut log = Log::default();
    for published in &published {
        match published.outcome {
            Outcome::Stored(place) => log.note(place, published.number),
            ref other => panic!("{} is {other:?}", published.number),
        }
    }
    let mut demo = cluster.demo(0);
    demo.kill_9();
    demo.restart();
    let reads = |demo: &Demo| demo.stats()["backend"]["reads"].as_u64().expect("a number");

    // The first of them says what is right, byte for byte; it comes to an empty window as well.
    let mut first = Roaming::new("/events/load.0", &cluster.start);
    assert!(first.go_to(cluster.addrs[0]));
    let last = log.places().last().expect("records");
    wait_for("the first client", || {
        first.read(Duration::from_millis(50));
        (first.place() == last).then_some(())
    });
    let account = log.account(&first, |_| true).expect("in order");
    assert_eq!((account.events, account.gaps), (RECORDS as usize, 0));
    demo.kill_9();
    demo.restart();

    let before = reads(&demo);
    let start = Instant::now();
    let request = Request::get("/events/load.0").header("Last-Event-ID", &cluster.start);
    let ends_with = format!("id: {last}\n");
    let receive = |count: usize| {
        let open = |_| request.send(cluster.addrs[0]).body;
        let mut bodies: Vec<_> = (0..count).map(open).collect();
        let read = |body: &mut Body| {
            let mut bytes = Vec::new();
            loop {
                match body.next(DEADLINE) {
                    Piece::Chunk(chunk) => bytes.extend_from_slice(&chunk),
                    other => panic!("{other:?} after {} bytes", bytes.len()),
                }
                let text = &bytes[bytes.len().saturating_sub(200)..];
                if bytes.ends_with(b"\n\n") && String::from_utf8_lossy(text).contains(&ends_with) {
                    return bytes;
                }
            }
        };
        bodies.iter_mut().map(read).reduce(|one, other| {
            assert!(one == other, "two clients were sent different bytes");
            one
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| receive(CROWD / THREADS)))
            .collect();
        let received = threads.into_iter().map(|t| t.join().expect("it reads"));
        let mut received = received.flatten();
        let one = received.next().expect("clients");
        assert!(received.all(|other| one == other));
        let records = String::from_utf8_lossy(&one).matches("\nid: ").count()
            + usize::from(one.starts_with(b"id: "));
        assert_eq!(records, RECORDS as usize);
    });
    let took = start.elapsed();
    let reads = reads(&demo) - before;
    let pages = u64::from(RECORDS.div_ceil(PAGE));
    println!(
        "{framework}: {CROWD} clients, {RECORDS} records behind each, in {took:.2?}: {reads} reads \
         of {pages} pages"
    );
    // Some come when a page has been dropped or is not yet full; none has one of its own.
    assert!(reads <= 4 * pages, "{reads} reads");
}

fn a_crowd_that_returns_reads_each_page_once(framework: &str) {
    let _turn = turn();
    let redis = Redis::start();
    a_crowd_returns(framework, &["--redis", &redis.url()]);
    let directory = TempDir::new().expect("a directory");
    let directory = directory.path().display().to_string();
    a_crowd_returns(framework, &["--data-dir", &directory]);
}

each_framework_under_load!(
    who_moves_between_instances_that_die_sees_every_event,
    who_was_away_for_too_long_is_told_what_is_gone,
    an_outage_of_redis_is_no_silence,
    a_crowd_that_returns_reads_each_page_once,
);
