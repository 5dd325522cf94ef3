//! Random programs against a naive model: whatever clients do, each one's stream is contiguous
//! runs of its topics' events, with a gap event at every hole and nowhere else.

mod support;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use fanfare_core::{Broadcaster, Event, EventId, LagPolicy, LastEventId, Retention};
use futures_lite::future;
use proptest::collection::vec;
use proptest::prelude::*;
use support::{brief, within, Client, Seen};

const TOPICS: [&str; 4] = ["a", "b", "x.1", "x.2"];
/// Selections, and which of the topics are in each.
const SELECTIONS: [(&str, [bool; TOPICS.len()]); 10] = [
    ("a", [true, false, false, false]),
    ("b", [false, true, false, false]),
    ("x.1", [false, false, true, false]),
    ("a,b", [true, true, false, false]),
    ("a,x.2", [true, false, false, true]),
    ("x.*", [false, false, true, true]),
    ("x.>", [false, false, true, true]),
    ("*", [true, true, false, false]),
    ("a,x.*", [true, false, true, true]),
    ("all", [true, true, true, true]),
];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None, // The failing program is printed; a test run leaves no files.
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_stream_is_contiguous_or_says_where_it_is_not(
        records in 1..7_usize,
        bytes in prop_oneof![Just(usize::MAX), 40..400_usize],
        policy in policy(),
        program in vec(step(), 0..120),
    ) {
        run(records, bytes, policy, &program);
    }
}

fn policy() -> impl Strategy<Value = LagPolicy> {
    prop_oneof![
        4 => Just(LagPolicy::Resume),
        1 => Just(LagPolicy::SkipToLatest),
        1 => Just(LagPolicy::Disconnect),
    ]
}

/// Numbers beyond what there is mean the last of it, so that every step of a shrunk program still
/// means something.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        topic: usize,
        len: usize,
    },
    Subscribe {
        selection: usize,
        from: From,
    },
    Poll {
        client: usize,
    },
    Drain {
        client: usize,
    },
    Drop {
        client: usize,
    },
    /// Drops it, and opens the same selection after the last id that it saw.
    Resume {
        client: usize,
    },
}

#[derive(Clone, Debug)]
enum From {
    Now,
    Oldest,
    /// Any place that was ever assigned.
    Place(u64),
    /// Where a client has stopped that is, or was, connected.
    LastOf(usize),
    Ahead(u64),
    OtherEpoch(u64),
    Unparsable,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..16_usize;
    prop_oneof![
        8 => (0..TOPICS.len(), 0..40_usize).prop_map(|(topic, len)| Step::Publish { topic, len }),
        3 => (0..SELECTIONS.len(), from()).prop_map(|(selection, from)| Step::Subscribe { selection, from }),
        4 => client.clone().prop_map(|client| Step::Poll { client }),
        2 => client.clone().prop_map(|client| Step::Drain { client }),
        1 => client.clone().prop_map(|client| Step::Drop { client }),
        2 => client.prop_map(|client| Step::Resume { client }),
    ]
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        3 => Just(From::Now),
        2 => Just(From::Oldest),
        4 => (0..60_u64).prop_map(From::Place),
        3 => (0..16_usize).prop_map(From::LastOf),
        1 => (1..10_u64).prop_map(From::Ahead),
        1 => (0..10_u64).prop_map(From::OtherEpoch),
        1 => Just(From::Unparsable),
    ]
}

fn run(max_records: usize, max_bytes: usize, policy: LagPolicy, program: &[Step]) {
    let hub = Broadcaster::builder()
        .history(Retention::new().records(max_records).bytes(max_bytes))
        .on_lag(policy)
        .build();
    let mut log = Log {
        epoch: hub.stats().last.major,
        max_records,
        max_bytes,
        ..Log::default()
    };
    let mut clients: Vec<Follower> = Vec::new();
    // Where those stopped who are gone.
    let mut stopped: Vec<LastEventId> = Vec::new();
    for step in program {
        match step {
            Step::Publish { topic, len } => {
                log.publish(&hub, *topic, *len);
                for client in &mut clients {
                    client.is_woken_by(*topic);
                }
            }
            Step::Subscribe { selection, from } => {
                let from = match from {
                    From::Now => Start::Now,
                    From::Oldest => Start::Oldest,
                    From::Place(place) => log.place(*place.min(&log.last())).into(),
                    From::LastOf(any) => {
                        let seen = clients.iter().map(Follower::last_event_id);
                        let seen: Vec<_> = seen.chain(stopped.iter().cloned()).collect();
                        let last = seen.get(*any).or(seen.last());
                        last.map_or(Start::Now, |last| last.clone().into())
                    }
                    From::Ahead(by) => log.place(log.last() + by).into(),
                    From::OtherEpoch(minor) => EventId::new(7, *minor).into(),
                    From::Unparsable => LastEventId::from_request(Some(b"x"), None).into(),
                };
                clients.push(Follower::open(&hub, &log, policy, *selection, from));
            }
            Step::Poll { client } => {
                if let Some(client) = pick(&mut clients, *client) {
                    client.poll(&log);
                }
            }
            Step::Drain { client } => {
                if let Some(client) = pick(&mut clients, *client) {
                    client.drain(&log);
                }
            }
            Step::Drop { client } | Step::Resume { client } => {
                if clients.is_empty() {
                    continue;
                }
                let gone = clients.remove(*client.min(&(clients.len() - 1)));
                let last = gone.last_event_id();
                if matches!(step, Step::Resume { .. }) {
                    let from = last.clone().into();
                    clients.push(Follower::open(&hub, &log, policy, gone.selection, from));
                }
                stopped.push(last);
            }
        }
    }
    for client in &mut clients {
        client.drain(&log);
    }
    log.is_what_the_hub_holds(&hub);
    assert_eq!(hub.stats().subscribers, clients.len());
    hub.close();
    for client in &mut clients {
        client.reads_to_its_end(&log);
    }
}

fn pick(clients: &mut [Follower], any: usize) -> Option<&mut Follower> {
    let last = clients.len().checked_sub(1)?;
    clients.get_mut(any.min(last))
}

/// Everything that was ever published, and what is left of it.
#[derive(Default)]
struct Log {
    epoch: u64,
    max_records: usize,
    max_bytes: usize,
    /// The topic of each place, from 1.
    published: Vec<usize>,
    /// What each topic retains: places and sizes.
    retained: [VecDeque<(u64, usize)>; TOPICS.len()],
    /// The newest place that each topic has lost.
    evicted: [u64; TOPICS.len()],
}

impl Log {
    fn last(&self) -> u64 {
        self.published.len() as u64
    }

    fn place(&self, minor: u64) -> EventId {
        EventId::new(self.epoch, minor)
    }

    fn publish(&mut self, hub: &Broadcaster, topic: usize, len: usize) {
        let data = "x".repeat(len);
        let id = hub.try_publish(TOPICS[topic], Event::data(&*data));
        let id = id.expect("published");
        self.published.push(topic);
        assert_eq!(id, self.place(self.last()), "places are counted");

        let retained = &mut self.retained[topic];
        retained.push_back((id.minor, format!("id: {id}\ndata: {data}\n\n").len()));
        let is_over = |retained: &VecDeque<(u64, usize)>| {
            let bytes: usize = retained.iter().map(|(_, size)| size).sum();
            retained.len() > self.max_records || bytes > self.max_bytes
        };
        while retained.len() > 1 && is_over(retained) {
            if let Some((place, _)) = retained.pop_front() {
                self.evicted[topic] = place;
            }
        }
    }

    fn selected(selection: usize) -> impl Iterator<Item = usize> {
        let (_, is_in) = SELECTIONS[selection];
        (0..TOPICS.len()).filter(move |topic| is_in[*topic])
    }

    /// The newest place of a selection that is gone.
    fn evicted(&self, selection: usize) -> u64 {
        let evicted = Self::selected(selection).map(|topic| self.evicted[topic]);
        evicted.max().unwrap_or(0)
    }

    /// The places of a selection in a range, whether or not they are retained.
    fn ever(&self, selection: usize, after: u64, up_to: u64) -> impl Iterator<Item = u64> + '_ {
        let (_, is_in) = SELECTIONS[selection];
        (after + 1..=up_to.min(self.last()))
            .filter(move |place| is_in[self.published[*place as usize - 1]])
    }

    fn retained_after(&self, selection: usize, place: u64) -> Vec<u64> {
        let records = Self::selected(selection).flat_map(|topic| &self.retained[topic]);
        let mut places: Vec<_> = records.map(|(place, _)| *place).collect();
        places.retain(|retained| *retained > place);
        places.sort_unstable();
        places
    }

    fn is_what_the_hub_holds(&self, hub: &Broadcaster) {
        let stats = hub.stats();
        assert_eq!(stats.published, self.last());
        let held: HashMap<_, _> = stats
            .topics
            .iter()
            .map(|(topic, held)| (topic.as_str(), held))
            .collect();
        for (topic, retained) in TOPICS.iter().zip(&self.retained) {
            let held = held.get(topic);
            let counts = held.map_or((0, 0), |held| (held.records, held.bytes));
            let bytes = retained.iter().map(|(_, size)| size).sum();
            assert_eq!(counts, (retained.len(), bytes), "of {topic}");
        }
    }
}

/// How a subscription begins.
enum Start {
    Now,
    Oldest,
    After(LastEventId),
}

impl<T: Into<LastEventId>> std::convert::From<T> for Start {
    fn from(last: T) -> Self {
        let last = last.into();
        if last.is_none() {
            Self::Now
        } else {
            Self::After(last)
        }
    }
}

/// A client, and what it must find next.
struct Follower {
    client: Client,
    policy: LagPolicy,
    selection: usize,
    is_open: bool,
    is_asleep: bool,
    /// It was told of the gap that its stream ends for.
    is_ending: bool,
    /// What `Last-Event-ID` it came with: what it says as long as it has seen nothing.
    came_with: LastEventId,
    /// It has everything up to here, ...
    place: u64,
    /// ... but for holes that it was told of, up to here.
    told: u64,
    gap: Option<Seen>,
}

impl Follower {
    fn open(
        hub: &Broadcaster,
        log: &Log,
        policy: LagPolicy,
        selection: usize,
        start: Start,
    ) -> Self {
        let (topics, _) = SELECTIONS[selection];
        let evicted = log.evicted(selection);
        let subscribe = hub.subscribe(topics);
        let mut came_with = LastEventId::none();
        let (subscribe, place, told, reason) = match start {
            Start::Now => (subscribe, log.last(), 0, None),
            Start::Oldest => {
                let first = log.retained_after(selection, 0).first().copied();
                let reason = first.filter(|first| *first < evicted).map(|_| "expired");
                (subscribe.from_oldest(), 0, evicted, reason)
            }
            Start::After(last) => {
                let (place, told, reason) = match last.id() {
                    None => (0, evicted, Some("unparsable")),
                    Some(id) if id.major != log.epoch => (0, evicted, Some("epoch")),
                    Some(id) if id.minor > log.last() => (0, evicted, Some("ahead")),
                    Some(id) if id.minor < evicted => (id.minor, evicted, Some("expired")),
                    Some(id) => (id.minor, 0, None),
                };
                came_with = last.clone();
                (subscribe.after(last), place, told, reason)
            }
        };
        let gap = reason.map(|reason| Seen::Gap {
            reason: reason.to_owned(),
            from: came_with.as_str().map(str::to_owned),
            to: log.place(evicted),
        });
        Self {
            client: Client::open(subscribe),
            policy,
            selection,
            is_open: false,
            is_asleep: false,
            is_ending: false,
            came_with,
            place,
            told,
            gap,
        }
    }

    fn last_event_id(&self) -> LastEventId {
        match self.client.last_event_id() {
            "" => self.came_with.clone(),
            seen => LastEventId::from_request(Some(seen.as_bytes()), None),
        }
    }

    fn is_woken_by(&mut self, topic: usize) {
        let (_, is_in) = SELECTIONS[self.selection];
        if self.is_asleep {
            assert_eq!(self.client.was_woken(), is_in[topic], "asleep: {topic}");
            self.is_asleep = !is_in[topic];
        }
    }

    /// One poll. Whether there was anything.
    fn poll(&mut self, log: &Log) -> bool {
        self.client.was_woken();
        let polled = match self.client.poll() {
            // It let others have their turn.
            Poll::Pending if self.client.was_woken() => self.client.poll(),
            polled => polled,
        };
        let expect = self.expect(log);
        match polled {
            Poll::Pending => {
                assert!(expect.is_pending(), "nothing came of {expect:?}");
                self.is_asleep = true;
                false
            }
            Poll::Ready(seen) => {
                self.is_asleep = false;
                self.check(log, &seen, expect);
                true
            }
        }
    }

    fn drain(&mut self, log: &Log) {
        while !self.client.has_ended() && self.poll(log) {}
    }

    fn expect(&self, log: &Log) -> Expect {
        let evicted = log.evicted(self.selection);
        if self.client.has_ended() {
            Expect::End
        } else if !self.is_open {
            Expect::Opening
        } else if self.is_ending {
            Expect::Disconnect
        } else if self.gap.is_some() {
            Expect::Gap
        } else if evicted > self.place.max(self.told) {
            if self.policy == LagPolicy::SkipToLatest {
                Expect::Lagged(log.ever(self.selection, 0, log.last()).last().unwrap_or(0))
            } else {
                Expect::Lagged(evicted)
            }
        } else {
            Expect::SomeOf(log.retained_after(self.selection, self.place))
        }
    }

    fn check(&mut self, log: &Log, seen: &[Seen], expect: Expect) {
        match expect {
            Expect::Opening => {
                assert_eq!(seen, []);
                self.is_open = true;
            }
            Expect::Gap => assert_eq!(seen, self.gap.take().as_slice()),
            Expect::Lagged(expect) => {
                let [Seen::Gap { reason, from, to }] = seen else {
                    panic!("{} instead of a gap", brief(seen));
                };
                assert_eq!((reason.as_str(), *to), ("lagged", log.place(expect)));
                let from = from.as_ref().expect("it is known where it was");
                let from: EventId = from.parse().expect("an id");
                assert_eq!(from.major, log.epoch);
                // Any place means the same that has nothing of the selection after it.
                let places = (from.minor.min(self.place), from.minor.max(self.place));
                let between = log.ever(self.selection, places.0, places.1).count();
                assert_eq!(between, 0, "{from} for {}", self.place);
                self.told = expect;
                self.is_ending = self.policy == LagPolicy::Disconnect;
                if self.policy == LagPolicy::SkipToLatest {
                    self.place = expect;
                }
            }
            Expect::Disconnect => {
                assert!(matches!(seen, [Seen::Retry(_)]), "{}", brief(seen));
                assert_eq!(self.client.poll(), Poll::Ready(vec![Seen::End]));
            }
            Expect::SomeOf(pending) => {
                let places: Vec<_> = seen
                    .iter()
                    .map(|seen| match seen {
                        Seen::Event { id, .. } if id.major == log.epoch => id.minor,
                        other => panic!("{other} instead of {pending:?}"),
                    })
                    .collect();
                assert!(
                    !places.is_empty() && pending.starts_with(&places),
                    "{places:?} instead of {pending:?}"
                );
                self.place = places.last().copied().unwrap_or(self.place);
            }
            Expect::End => assert_eq!(seen, [Seen::End]),
        }
    }

    /// The broadcaster is closed.
    fn reads_to_its_end(&mut self, log: &Log) {
        self.drain_until_nothing_is_left(log);
        if !self.client.has_ended() {
            let end = self.client.drain_brief();
            assert_eq!(end, "retry end");
        }
        assert_eq!(self.client.poll(), Poll::Ready(vec![Seen::End]));
    }

    fn drain_until_nothing_is_left(&mut self, log: &Log) {
        while !self.client.has_ended() && !self.expect(log).is_pending() {
            self.poll(log);
        }
    }
}

/// What the next poll must find.
#[derive(Debug)]
enum Expect {
    Opening,
    /// The one that it was owed from the start.
    Gap,
    /// A gap up to here.
    Lagged(u64),
    Disconnect,
    /// These, in order, or at least the first few of them; nothing, if there are none.
    SomeOf(Vec<u64>),
    End,
}

impl Expect {
    fn is_pending(&self) -> bool {
        matches!(self, Self::SomeOf(none) if none.is_empty())
    }
}

const PUBLISHERS: usize = 4;
const SUBSCRIBERS: usize = 8;
const EVENTS: u64 = 20_000;

/// The same promise when everything happens at once.
#[test]
fn every_stream_is_contiguous_or_says_where_it_is_not_under_load() {
    let hub = Broadcaster::builder().history(16).build();
    let published: Vec<_> = (0..=EVENTS).map(|_| AtomicUsize::new(0)).collect();
    let connections: Vec<Connection> = thread::scope(|scope| {
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|n| {
                let hub = &hub;
                scope.spawn(move || {
                    let follow = follow_until_the_end(hub, n as u64);
                    future::block_on(within(Duration::from_secs(60), follow))
                })
            })
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|n| {
                let (hub, published) = (&hub, &published);
                scope.spawn(move || {
                    let mut dice = Dice(n as u64 + 1);
                    for _ in 0..EVENTS / PUBLISHERS as u64 {
                        let topic = dice.roll(TOPICS.len() as u64) as usize;
                        let event = Event::data("x");
                        let id = hub.try_publish(TOPICS[topic], event);
                        let minor = id.expect("published").minor;
                        published[minor as usize].store(topic, Ordering::Relaxed);
                        if dice.roll(8) == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().expect("no publisher panics");
        }
        hub.close();
        subscribers
            .into_iter()
            .flat_map(|subscriber| subscriber.join().expect("no subscriber panics"))
            .collect()
    });

    let topic_of: Vec<_> = published
        .iter()
        .map(|topic| topic.load(Ordering::Relaxed))
        .collect();
    let events: usize = connections.iter().map(|one| one.check(&topic_of)).sum();
    assert!(events > 0, "somebody read");
    let stats = hub.stats();
    assert_eq!(stats.published, EVENTS);
    assert_eq!(stats.subscribers, 0);
}

/// Connects, reads for a while, goes away, comes back; now and then with an id of another log.
async fn follow_until_the_end(hub: &Broadcaster, n: u64) -> Vec<Connection> {
    let mut dice = Dice(1_000 + n);
    let mut connections = Vec::new();
    let selection = n as usize % SELECTIONS.len();
    // Before everything.
    let mut last = EventId::new(hub.stats().last.major, 0);
    loop {
        let after = match dice.roll(16) {
            0 => FOREIGN,
            _ => last,
        };
        let (topics, _) = SELECTIONS[selection];
        let Ok(subscriber) = hub.subscribe(topics).after(after).open() else {
            return connections; // It is closed.
        };
        let mut client = Client::new(subscriber);
        let mut seen = Vec::new();
        for _ in 0..1 + dice.roll(200) {
            if !client.has_ended() {
                seen.extend(client.next().await);
            }
        }
        last = client.last_event_id().parse().unwrap_or(last);
        connections.push(Connection {
            selection,
            after,
            seen,
        });
        if client.has_ended() {
            return connections;
        }
    }
}

/// An id of another log.
const FOREIGN: EventId = EventId::new(7, 7);

/// One connection of one client: what it asked for, and what it saw.
struct Connection {
    selection: usize,
    after: EventId,
    seen: Vec<Seen>,
}

impl Connection {
    /// Returns how many events it saw.
    fn check(&self, topic_of: &[usize]) -> usize {
        let (_, is_in) = SELECTIONS[self.selection];
        let is_selected = |place: &u64| is_in[topic_of[*place as usize]];
        let (mut place, mut told, mut events) = (self.after.minor, 0, 0);
        let mut seen = self.seen.as_slice();
        if let ([Seen::Gap { reason, to, .. }, rest @ ..], FOREIGN) = (seen, self.after) {
            assert_eq!(reason, "epoch");
            (place, told, seen) = (0, to.minor, rest);
        }
        while let [first, rest @ ..] = seen {
            seen = rest;
            match first {
                Seen::Event { id, .. } => {
                    let at = id.minor;
                    assert!(is_selected(&at), "{at} is not what it follows");
                    assert!(at > place, "{at} after {place}");
                    let lost = (place + 1..at).find(|lost| is_selected(lost) && *lost > told);
                    assert_eq!(lost, None, "between {place} and {at}");
                    place = at;
                    events += 1;
                }
                Seen::Gap { reason, to, .. } => {
                    assert!(matches!(&**reason, "lagged" | "expired"), "{reason}");
                    let to = to.minor;
                    assert!(is_selected(&to), "{to} is not what it follows");
                    assert!(to > place && to > told, "nothing is missing up to {to}");
                    told = to;
                }
                // The last thing before the end, for which this client may not have stayed.
                Seen::Retry(_) => assert!(matches!(rest, [] | [Seen::End]), "{}", brief(rest)),
                Seen::End => {
                    let lost = (place + 1..=EVENTS).find(|lost| is_selected(lost) && *lost > told);
                    assert_eq!(lost, None, "after {place}, before the end");
                    assert_eq!(rest, []);
                }
                Seen::Other(_) | Seen::Comment(_) => {}
            }
        }
        events
    }
}

/// Small numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
