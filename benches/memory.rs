//! What a history in memory costs its publishers, beside a bare loop: one publisher and 64, to one topic and
//! to 100.
//!
//! Publishers are threads, which fight for the log's lock; one that finds it taken gives its processor away,
//! so that the rate is what counts, and not what one publish takes. The bare loop is what is written by hand
//! where nothing has to be kept in order across topics, limited in bytes, or counted: it encodes the event
//! behind the next id, and appends it to its topic's `VecDeque` under one lock.
//!
//! They take short turns, so that what else the machine does befalls both of them; of the ratios of each round
//! the median is told. It takes about half a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_benches::{sorted, TEXT};
use fanfare_core::{Broadcaster, Event, Topic};
use futures_lite::future::block_on;

const TURN: Duration = Duration::from_millis(250);

/// The first is not counted: it fills what is then cut.
const ROUNDS: usize = 16;

const RECORDS: usize = 1_000;

fn main() {
    for publishers in [1, 64] {
        for topics in [1, 100] {
            compare(publishers, &fanfare_benches::topics(topics));
        }
    }
}

/// Lets the history and the bare loop take turns.
fn compare(publishers: usize, topics: &[Topic]) {
    let hub = Broadcaster::builder().history(RECORDS).build();
    let bare = Mutex::new(Bare::default());
    let publish = |topic: &Topic| {
        let published = block_on(hub.publish(topic.clone(), Event::data(TEXT)));
        published.expect("it is open");
    };
    let append = |topic: &Topic| {
        let mut bare = bare.lock().unwrap_or_else(PoisonError::into_inner);
        bare.append(topic);
    };
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (us, them) = (
            rate(publishers, topics, publish),
            rate(publishers, topics, append),
        );
        if round > 0 {
            ours.push(us);
            theirs.push(them);
            ratios.push(us / them);
        }
    }
    let [ours, theirs, ratios] = [ours, theirs, ratios].map(sorted);
    let quarter = |numbers: &[f64], quarter: usize| numbers[numbers.len() * quarter / 4];
    println!(
        "{publishers:>2} publishers, {:>3} topics: {:.0}/s; bare loop {:.0}/s; ratio {:.2} ({:.2}-{:.2})",
        topics.len(),
        quarter(&ours, 2),
        quarter(&theirs, 2),
        quarter(&ratios, 2),
        quarter(&ratios, 1),
        quarter(&ratios, 3),
    );
}

/// How many events per second so many threads publish together.
fn rate(publishers: usize, topics: &[Topic], publish: impl Fn(&Topic) + Sync) -> f64 {
    let start = Instant::now();
    let published: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..publishers)
            .map(|publisher| {
                let publish = &publish;
                scope.spawn(move || {
                    let mut published = 0;
                    let mut in_turn = topics.iter().cycle().skip(publisher % topics.len());
                    while start.elapsed() < TURN {
                        publish(in_turn.next().expect("endless"));
                        published += 1;
                    }
                    published
                })
            })
            .collect();
        let published = threads.into_iter().map(thread::ScopedJoinHandle::join);
        published
            .map(|count| count.expect("it does not panic"))
            .sum()
    });
    published as f64 / start.elapsed().as_secs_f64()
}

/// A history as it is written by hand.
#[derive(Default)]
struct Bare {
    last: u64,
    topics: HashMap<Topic, VecDeque<(u64, Bytes)>>,
}

impl Bare {
    fn append(&mut self, topic: &Topic) {
        self.last += 1;
        let id = self.last;
        let encoded = format!("id: {id}\ndata: {TEXT}\n\n");
        let records = match self.topics.get_mut(topic) {
            Some(records) => records,
            None => self.topics.entry(topic.clone()).or_default(),
        };
        records.push_back((id, encoded.into()));
        if records.len() > RECORDS {
            records.pop_front();
        }
    }
}
