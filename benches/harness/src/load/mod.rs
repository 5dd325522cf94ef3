//! [`Load`]: clients that verify what they are sent, and a publisher, in one event loop.
//!
//! Publisher and clients share a thread, since they share a processor: a thread of its own would have
//! to wait for the other to be interrupted, at a time that nobody could tell. Here it looks between
//! any few clients whether something is due. What was published late all the same carries the time at
//! which it was due, and latency is counted from then.

mod client;
mod publisher;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::mem;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Registry, Token};

pub use client::{Buffers, Subscription, Transport};
pub use publisher::Schedule;

use crate::clock::{self, MILLISECOND, SECOND};
use crate::server;
use crate::verify::{Fault, Published};
use client::{Client, Resumed, Turn};
use publisher::Publisher;

/// Clients and a publisher of one server.
#[derive(Debug)]
pub struct Load {
    poll: Poll,
    events: Events,
    crowd: Crowd,
    publisher: Publisher,
    /// How long nothing may arrive that is still to come.
    patience: Duration,
}

/// The clients.
#[derive(Debug)]
struct Crowd {
    address: SocketAddr,
    registry: Registry,
    /// By token; `None` once it is closed.
    clients: Vec<Option<Client>>,
    /// Those that are to be connected when fewer are under way.
    waiting: VecDeque<(usize, Subscription)>,
    opening: usize,
    /// Whether those who connect now are under way until they are answered, or until they have asked.
    is_patient: bool,
    /// Those who poll at fixed times, and when they do so next.
    polls: BinaryHeap<Reverse<(u64, usize)>>,
    /// Those who poll and know where to begin.
    begun: usize,
    /// Those who read, by topic.
    readers: Vec<u64>,
    published: Published,
    tally: Tally,
    buffer: Vec<u8>,
    /// Closed and connected again as soon as they have caught up.
    churns: bool,
    caught_up: Vec<usize>,
}

/// What has been counted since the last [`Load::measure`].
#[derive(Clone, Debug)]
pub struct Tally {
    /// Deliveries that those who read must have.
    pub expected: u64,
    /// Those they had.
    pub received: u64,
    /// Those that a gap event said are gone.
    pub skipped: u64,
    /// Gap events.
    pub gaps: u64,
    /// Events published.
    pub published: u64,
    /// Requests to publish them.
    pub publishes: u64,
    /// Bytes, as [`Figure::BytesPerEvent`](crate::figures::Figure::BytesPerEvent) counts them.
    pub bytes: u64,
    /// Requests of those who poll.
    pub requests: u64,
    /// Connections that had caught up and were closed.
    pub churned: u64,
    /// From due until read, in nanoseconds.
    pub latency: Histogram<u64>,
    /// What publishing took, as the server says, in nanoseconds.
    pub publish: Histogram<u64>,
    /// From due until the last of all clients has read it, in nanoseconds, where [one is published
    /// after another](Load::publish_one_by_one).
    pub last: Histogram<u64>,
    /// The longest latency since this was last set to 0.
    slowest: u64,
    began: u64,
    idle: u64,
}

impl Tally {
    fn new() -> Result<Self, Failure> {
        // From a microsecond, or ten nanoseconds, to a minute.
        let histogram = |low| Histogram::new_with_bounds(low, 60 * SECOND, 3);
        let failure = |error: hdrhistogram::CreationError| io::Error::other(error);
        Ok(Self {
            expected: 0,
            received: 0,
            skipped: 0,
            gaps: 0,
            published: 0,
            publishes: 0,
            bytes: 0,
            requests: 0,
            churned: 0,
            latency: histogram(1_000).map_err(failure)?,
            publish: histogram(10).map_err(failure)?,
            last: histogram(1_000).map_err(failure)?,
            slowest: 0,
            began: clock::now(),
            idle: 0,
        })
    }

    /// Adds what was counted at another time.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        let failure = |error: hdrhistogram::AdditionError| io::Error::other(error);
        self.latency.add(&other.latency).map_err(failure)?;
        self.publish.add(&other.publish).map_err(failure)?;
        self.last.add(&other.last).map_err(failure)?;
        self.expected += other.expected;
        self.received += other.received;
        self.skipped += other.skipped;
        self.gaps += other.gaps;
        self.published += other.published;
        self.publishes += other.publishes;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.churned += other.churned;
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.received + self.skipped == self.expected
    }

    /// Seconds since the last [`Load::measure`].
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (clock::now() - self.began) as f64 / SECOND as f64
    }

    /// The share of that time, in percent, in which the load did not wait.
    #[must_use]
    pub fn busy(&self) -> f64 {
        let elapsed = (clock::now() - self.began).max(1);
        100.0 - 100.0 * self.idle as f64 / elapsed as f64
    }
}

/// What clients find that have not read for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// How many of them had everything waiting for them: they were never behind.
    pub complete: u64,
    /// How many were told that something is gone.
    pub told: u64,
    /// How many events that was, to all of them.
    pub skipped: u64,
    /// How many missed something and were not told.
    pub not_told: u64,
    /// How many had been disconnected.
    pub closed: u64,
}

/// Why a run has no figures.
#[derive(Debug)]
pub enum Failure {
    /// The server broke the promise to one client.
    Client {
        /// Which, from 0.
        client: usize,
        /// How.
        fault: Fault,
    },
    /// Publishing failed.
    Publisher(String),
    /// The server did not come to serve, or went away.
    Server(String),
    /// The network failed, or the machine.
    Io(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { client, fault } => write!(f, "client {client}: {fault}"),
            Self::Publisher(what) => write!(f, "publisher: {what}"),
            Self::Server(what) => write!(f, "server: {what}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The client is named by whoever knows it.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Client { client: 0, fault }
    }
}

const PUBLISHER: Token = Token(usize::MAX);

/// So many connections are under way at once: fewer than any server's backlog, which so never overflows
/// while the load waits for answers. Where it does, the kernel tries again after a second, then after two,
/// then four, and all that are under way soon wait for it.
const OPENING: usize = 100;

/// How often those who poll do so.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

impl Load {
    /// A publisher's connection to a server, and no clients yet.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub fn new(address: SocketAddr, topics: u32) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let publisher = connect_publisher(address, poll.registry())?;
        let crowd = Crowd {
            address,
            registry: poll.registry().try_clone()?,
            clients: Vec::new(),
            waiting: VecDeque::new(),
            opening: 0,
            is_patient: false,
            polls: BinaryHeap::new(),
            begun: 0,
            readers: vec![0; topics as usize],
            published: Published::new(topics as usize),
            tally: Tally::new()?,
            buffer: vec![0; 128 * 1024],
            churns: false,
            caught_up: Vec::new(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            crowd,
            publisher,
            patience: Duration::from_secs(20),
        })
    }

    /// How long nothing may arrive that is still to come, and how long a server may take to accept
    /// connections: 20 seconds unless told.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Connects clients, no faster than the server answers them, and waits until it counts them all.
    ///
    /// # Errors
    ///
    /// A connection fails, or the server does not count them.
    pub fn subscribe(
        &mut self,
        subscriptions: impl IntoIterator<Item = Subscription>,
    ) -> Result<(), Failure> {
        self.crowd.is_patient = true;
        self.open(subscriptions);
        let connected = self.wait_until_connected();
        self.crowd.is_patient = false;
        connected
    }

    fn wait_until_connected(&mut self) -> Result<(), Failure> {
        let all = self.crowd.clients.len();
        let begin = clock::now();
        while self.crowd.opening + self.crowd.waiting.len() > 0 {
            self.turn(Some(clock::now() + 100 * MILLISECOND))?;
            self.give_up_after(begin, "takes no more connections")?;
        }
        let streams = |client: &&Client| client.subscription.transport.is_stream();
        let streams = self.crowd.clients.iter().flatten().filter(streams).count();
        loop {
            // Those who poll must have learnt where to begin. Whether they are counted while they wait
            // for an answer is up to the server.
            let has_begun = self.crowd.begun == all - streams;
            let counts = || server::subscribers(self.crowd.address);
            if has_begun && (streams == 0 || counts()? == streams) {
                return Ok(());
            }
            self.turn(Some(clock::now() + 2 * MILLISECOND))?;
            self.give_up_after(begin, "does not count all subscribers")?;
        }
    }

    /// Begins to connect clients. Those with a place in the past are to be sent what follows it.
    pub fn open(&mut self, subscriptions: impl IntoIterator<Item = Subscription>) {
        for subscription in subscriptions {
            let crowd = &mut self.crowd;
            if subscription.reads {
                for &topic in &subscription.topics {
                    crowd.readers[topic as usize] += 1;
                }
                crowd.tally.expected += to_catch_up(&crowd.published, &subscription);
            }
            crowd.waiting.push_back((crowd.clients.len(), subscription));
            crowd.clients.push(None);
        }
    }

    /// Publishes over another connection from now on: servers close one that has had no request for
    /// a while, actix-web and Rocket after 5 seconds. Everything has settled.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub fn renew_publisher(&mut self) -> Result<(), Failure> {
        self.publisher = connect_publisher(self.crowd.address, self.poll.registry())?;
        Ok(())
    }

    /// Publishes by a schedule, and waits until everybody has what is due to them.
    ///
    /// # Errors
    ///
    /// The server has lost something, sent it twice, or sent what nobody published.
    pub fn publish(&mut self, schedule: Schedule) -> Result<(), Failure> {
        self.publisher.begin(schedule, clock::now());
        self.settle()
    }

    /// Publishes by a schedule, but each only when everybody has had the one before for the schedule's
    /// interval: so everybody waits for each.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_one_by_one(&mut self, schedule: Schedule) -> Result<(), Failure> {
        for _ in 0..schedule.ticks {
            self.pause(schedule.interval)?;
            self.crowd.tally.slowest = 0;
            self.publish(Schedule {
                ticks: 1,
                ..schedule
            })?;
            let tally = &mut self.crowd.tally;
            tally.last.saturating_record(tally.slowest);
        }
        Ok(())
    }

    /// Publishes once more in every topic: everybody who reads must be sent that next, and not what
    /// they have had already. So what comes late, or does not come at the very end, is noticed, too.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn finish(&mut self) -> Result<(), Failure> {
        let topics = u32::try_from(self.crowd.readers.len()).unwrap_or(u32::MAX);
        self.renew_publisher()?;
        self.publish(Schedule {
            ticks: u64::from(topics),
            interval: 0,
            events: 1,
            bytes: 100,
            topics,
        })
    }

    /// Waits until everything that is to be published has been, and everybody has it.
    fn settle(&mut self) -> Result<(), Failure> {
        self.wait_until(Duration::MAX, |load| {
            load.publisher.is_done() && load.crowd.tally.is_settled()
        })
    }

    /// Connects clients that return, all at once, and publishes by a schedule meanwhile, until
    /// everybody has everything.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), or it takes longer than `limit`.
    pub fn storm(
        &mut self,
        subscriptions: impl IntoIterator<Item = Subscription>,
        schedule: Schedule,
        limit: Duration,
    ) -> Result<(), Failure> {
        self.open(subscriptions);
        self.publisher.begin(schedule, clock::now());
        self.wait_until(limit, |load| {
            let crowd = &load.crowd;
            crowd.opening + crowd.waiting.len() == 0 && crowd.tally.is_settled()
        })?;
        self.publisher.stop();
        self.settle()
    }

    fn wait_until(
        &mut self,
        limit: Duration,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), Failure> {
        let begin = clock::now();
        let mut progress = (0, 0, 0);
        let mut since = clock::now();
        while !is_done(self) {
            self.turn(Some(clock::now() + 100 * MILLISECOND))?;
            let tally = &self.crowd.tally;
            let latest = (tally.received, tally.skipped, tally.published);
            if latest != progress {
                (progress, since) = (latest, clock::now());
            } else if clock::now() - since > nanos(self.patience) {
                return Err(self.crowd.missing());
            }
            if clock::now() - begin > nanos(limit) {
                let took = format!("not everybody was served after {} s", limit.as_secs());
                return Err(Failure::Server(took));
            }
        }
        Ok(())
    }

    /// Does what there is to do until then.
    /// A rest that is no part of what is measured: it says nothing of how busy the load is.
    fn pause(&mut self, time: u64) -> Result<(), Failure> {
        let (begin, idle) = (clock::now(), self.crowd.tally.idle);
        self.rest_until(begin + time)?;
        let tally = &mut self.crowd.tally;
        tally.idle = idle;
        tally.began += clock::now() - begin;
        Ok(())
    }

    fn rest_until(&mut self, time: u64) -> Result<(), Failure> {
        while clock::now() < time {
            self.turn(Some(time))?;
        }
        Ok(())
    }

    /// Lets those read who have not so far, and says what they find. Everybody else has everything.
    ///
    /// # Errors
    ///
    /// One is sent what nobody published, or is kept waiting.
    pub fn read_stalled(&mut self) -> Result<Stalled, Failure> {
        let mut found = Stalled::default();
        let begin = clock::now();
        let mut unread = Vec::new();
        for (index, client) in self.crowd.clients.iter().enumerate() {
            if client.as_ref().is_some_and(|one| !one.subscription.reads) {
                unread.push((index, Tally::new()?));
            }
        }
        while !unread.is_empty() {
            for (index, mut tally) in mem::take(&mut unread) {
                match self.crowd.resume(index, &mut tally)? {
                    Some(resumed) => found.count(resumed),
                    None => unread.push((index, tally)),
                }
            }
            self.give_up_after(begin, "keeps a client waiting that reads again")?;
            // It has to send before there is more to read.
            thread::sleep(Duration::from_millis(1));
        }
        Ok(found)
    }

    /// Connects so many clients of the same kind again and again: each is closed when it has caught
    /// up, and another takes its place.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn churn(
        &mut self,
        at_once: usize,
        subscription: &Subscription,
        time: Duration,
    ) -> Result<(), Failure> {
        self.crowd.churns = true;
        self.open(iter::repeat_n(subscription.clone(), at_once));
        self.rest_until(clock::now() + nanos(time))?;
        self.crowd.churns = false;
        self.settle()
    }

    /// Begins to count anew. Everything has settled.
    ///
    /// # Errors
    ///
    /// None that is to be expected.
    pub fn measure(&mut self) -> Result<(), Failure> {
        self.crowd.tally = Tally::new()?;
        Ok(())
    }

    /// What has been counted.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.crowd.tally
    }

    /// The newest event of a topic.
    #[must_use]
    pub fn newest(&self, topic: u32) -> u64 {
        self.crowd.published.newest(topic)
    }

    /// The id of the first event that a client has had.
    #[must_use]
    pub fn first_id(&self, client: usize) -> Option<String> {
        self.crowd.clients.get(client)?.as_ref()?.first_id.clone()
    }

    /// Closes all clients.
    pub fn close(&mut self) {
        let crowd = &mut self.crowd;
        crowd.clients.clear();
        crowd.polls.clear();
        crowd.begun = 0;
        crowd.readers.fill(0);
    }

    /// Publishes now and then until the server has noticed that all clients are gone: some servers
    /// notice when they next send.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn wait_until_all_are_gone(&mut self, schedule: Schedule) -> Result<(), Failure> {
        let begin = clock::now();
        while server::subscribers(self.crowd.address)? > 0 {
            self.publish(schedule)?;
            self.give_up_after(begin, "counts subscribers that are gone")?;
            self.rest_until(clock::now() + 2 * MILLISECOND)?;
        }
        Ok(())
    }

    fn give_up_after(&self, begin: u64, what: &str) -> Result<(), Failure> {
        if clock::now() - begin > nanos(self.patience) {
            return Err(Failure::Server(what.to_owned()));
        }
        Ok(())
    }

    /// Waits for something to do, at most until then, and does it.
    fn turn(&mut self, until: Option<u64>) -> Result<(), Failure> {
        self.crowd.open_more()?;
        let due = [until, self.publisher.due(), self.crowd.next_poll()];
        let begin = clock::now();
        let timeout = due.into_iter().flatten().min().map(|due| {
            // The system waits for whole milliseconds. The last of them is spent looking, since one
            // more would be counted as the server's latency.
            Duration::from_millis(due.saturating_sub(begin) / MILLISECOND)
        });
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        self.crowd.tally.idle += clock::now() - begin;
        for (index, event) in self.events.iter().enumerate() {
            if event.token() == PUBLISHER {
                self.publisher.ready(&mut self.crowd.tally)?;
            } else {
                self.crowd.ready(event.token().0)?;
            }
            if index % 32 == 31 {
                self.crowd.publish_due(&mut self.publisher)?;
            }
        }
        self.crowd.publish_due(&mut self.publisher)?;
        self.crowd.poll_due()?;
        self.crowd.replace_caught_up();
        Ok(())
    }
}

impl Stalled {
    fn count(&mut self, resumed: Resumed) {
        match resumed {
            Resumed::Complete => self.complete += 1,
            Resumed::Told { skipped } => {
                self.told += 1;
                self.skipped += skipped;
            }
            Resumed::NotTold => self.not_told += 1,
            Resumed::Closed => self.closed += 1,
        }
    }
}

impl Transport {
    /// Whether the server has a subscriber as long as the client is connected.
    fn is_stream(self) -> bool {
        matches!(self, Self::EventStream | Self::WebSocket)
    }
}

impl Crowd {
    /// Begins to connect those who wait for it.
    fn open_more(&mut self) -> Result<(), Failure> {
        while self.opening < OPENING {
            let Some((index, subscription)) = self.waiting.pop_front() else {
                break;
            };
            let mut client = Client::connect(self.address, subscription, &self.published)?;
            client.is_patient = self.is_patient;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.registry
                .register(&mut client.stream, Token(index), interest)?;
            self.clients[index] = Some(client);
            self.opening += 1;
        }
        Ok(())
    }

    /// Lets a client do what it can.
    fn ready(&mut self, index: usize) -> Result<(), Failure> {
        let all = self.clients.len() as u64;
        let Some(Some(client)) = self.clients.get_mut(index) else {
            return Ok(());
        };
        let before = self.tally.received;
        let was_open = client.is_open();
        let turn = client
            .ready(&mut self.buffer, &mut self.tally, &self.published)
            .map_err(|failure| named(failure, index))?;
        if !was_open && client.is_open() {
            self.opening -= 1;
        }
        let is_first_answer = turn == Turn::Begun;
        match (turn, client.subscription.transport) {
            (Turn::Begun, Transport::Poll) => {
                // Spread over the interval, as clients that do not know of each other are.
                let share = nanos(POLL_INTERVAL) * index as u64 / all;
                self.polls.push(Reverse((clock::now() + share, index)));
            }
            (Turn::Begun | Turn::Answered, Transport::LongPoll) => {
                client
                    .ask_again(&mut self.tally)
                    .map_err(|failure| named(failure, index))?;
            }
            _ => {}
        }
        self.begun += usize::from(is_first_answer);
        if self.churns && self.tally.received > before {
            let is_caught_up = |(topic, next)| next > self.published.newest(topic);
            if client.reader.next().all(is_caught_up) {
                self.caught_up.push(index);
            }
        }
        Ok(())
    }

    /// Lets a client read that has not so far.
    fn resume(&mut self, index: usize, tally: &mut Tally) -> Result<Option<Resumed>, Failure> {
        match &mut self.clients[index] {
            Some(client) => client
                .resume(&mut self.buffer, tally, &self.published)
                .map_err(|failure| named(failure, index)),
            None => Ok(Some(Resumed::Closed)),
        }
    }

    fn publish_due(&mut self, publisher: &mut Publisher) -> Result<(), Failure> {
        let (published, tally) = (&mut self.published, &mut self.tally);
        publisher.publish_due(clock::now(), published, &self.readers, tally)
    }

    fn next_poll(&self) -> Option<u64> {
        self.polls.peek().map(|Reverse((due, _))| *due)
    }

    /// Lets those poll for whom it is time.
    fn poll_due(&mut self) -> Result<(), Failure> {
        let now = clock::now();
        while let Some(&Reverse((due, index))) = self.polls.peek().filter(|next| next.0 .0 <= now) {
            self.polls.pop();
            self.polls
                .push(Reverse((due + nanos(POLL_INTERVAL), index)));
            if let Some(Some(client)) = self.clients.get_mut(index) {
                // Who has not been answered yet leaves this time out.
                if client.is_answered() {
                    client
                        .ask_again(&mut self.tally)
                        .map_err(|failure| named(failure, index))?;
                }
            }
        }
        Ok(())
    }

    /// Closes those who have caught up. While clients churn, others take their places.
    fn replace_caught_up(&mut self) {
        for index in self.caught_up.drain(..) {
            let Some(client) = self.clients[index].take() else {
                continue;
            };
            self.tally.churned += 1;
            if self.churns {
                self.tally.expected += to_catch_up(&self.published, &client.subscription);
                self.waiting.push_back((index, client.subscription));
            }
        }
    }

    /// The first client that has not got everything.
    fn missing(&self) -> Failure {
        let readers = self
            .clients
            .iter()
            .enumerate()
            .filter_map(|(index, client)| {
                let client = client.as_ref()?;
                client.subscription.reads.then_some((index, client))
            });
        for (index, client) in readers {
            let is_behind = |&(topic, next): &(u32, u64)| next <= self.published.newest(topic);
            if let Some((topic, expected)) = client.reader.next().find(is_behind) {
                let Tally {
                    expected: all,
                    received,
                    skipped,
                    ..
                } = &self.tally;
                let missing = all - received - skipped;
                let fault = Fault::Missing {
                    topic,
                    expected,
                    missing,
                };
                return Failure::Client {
                    client: index,
                    fault,
                };
            }
        }
        Failure::Publisher("a publish was not answered".to_owned())
    }
}

fn connect_publisher(address: SocketAddr, registry: &Registry) -> Result<Publisher, Failure> {
    let mut publisher = Publisher::connect(address)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut publisher.stream, PUBLISHER, interest)?;
    Ok(publisher)
}

/// How many events a client must be sent that have been published.
fn to_catch_up(published: &Published, subscription: &Subscription) -> u64 {
    let Some((_, number)) = subscription.after else {
        return 0;
    };
    let missed = |&topic: &u32| published.newest(topic) - number;
    subscription.topics.iter().map(missed).sum()
}

fn named(failure: Failure, index: usize) -> Failure {
    match failure {
        Failure::Client { fault, .. } => Failure::Client {
            client: index,
            fault,
        },
        other => other,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// More than may be under way at once, and fewer than any backlog holds.
    const CLIENTS: usize = OPENING + 10;

    /// How many connect to a server that accepts nobody, so that all they can do is ask.
    fn connected(is_patient: bool) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut load = Load::new(address, 1).expect("it listens");
        load.crowd.is_patient = is_patient;
        load.open(iter::repeat_n(Subscription::to(vec![0]), CLIENTS));
        loop {
            load.turn(Some(clock::now() + MILLISECOND))
                .expect("nobody is refused");
            load.crowd.open_more().expect("nobody is refused");
            let clients: Vec<&Client> = load.crowd.clients.iter().flatten().collect();
            if clients.iter().all(|client| client.has_asked()) {
                return clients.len();
            }
        }
    }

    #[test]
    fn a_server_that_accepts_nobody_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut load = Load::new(address, 1).expect("it listens");
        load.set_patience(Duration::from_millis(200));
        let outcome = load.subscribe([Subscription::to(vec![0])]);
        let failure = outcome.expect_err("nobody is accepted").to_string();
        assert_eq!(failure, "server: takes no more connections");
    }

    #[test]
    fn who_is_patient_connects_no_faster_than_the_server_answers() {
        assert_eq!(connected(true), OPENING);
        assert_eq!(connected(false), CLIENTS);
    }
}
