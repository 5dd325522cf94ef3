//! What it costs to catch up: open a subscription that begins at the oldest of 1,000 records,
//! take everything until the stream is pending, and drop it.
//!
//! `one client` does so alone; `1,000 clients` are all open before the first of them reads, and
//! each then reads to its end, as after a restart of the network in front of a server. All
//! records are in memory: of one topic, or of 100 topics that a subscription to `all` merges
//! back into one order. Figures are per record and client: criterion calls that an element.
//!
//! The channels that `fan_out` compares have nothing to replay. What stands in for an
//! alternative is what is written by hand when there is none: a lock around a `VecDeque` of
//! encoded events, copied by each client when it comes, and sent one by one.

use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use fanfare_benches::TEXT;
use fanfare_core::{Broadcaster, Event, Subscriber, Topic, Topics};
use futures_core::Stream;

/// How many records are replayed.
const RECORDS: usize = 1_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for clients in [1, 1_000] {
        let mut group = criterion.benchmark_group(format!("replay/to {clients}"));
        group.throughput(Throughput::Elements((RECORDS * clients) as u64));
        for (name, topics, selection) in [
            ("fanfare, one topic", 1, "quotes.0"),
            ("fanfare, all of 100 topics", 100, "all"),
        ] {
            group.bench_function(name, |bencher| {
                let hub = hub_with_records(topics);
                let selection = Topics::from(selection);
                let open = || hub.subscribe(&selection).from_oldest().open();
                bencher.iter(|| {
                    let all: Vec<_> = (0..clients).map(|_| open()).collect();
                    for subscriber in all {
                        read_to_the_tail(subscriber.expect("there is no limit"));
                    }
                });
            });
        }
        group.bench_function("a locked VecDeque", |bencher| {
            let history = Mutex::new(VecDeque::from(vec![Event::data(TEXT).encode(); RECORDS]));
            let open = || history.lock().expect("nobody panics").clone();
            bencher.iter(|| {
                let all: Vec<_> = (0..clients).map(|_| open()).collect();
                for events in all {
                    events.into_iter().for_each(take);
                }
            });
        });
        group.finish();
    }
    criterion.final_summary();
}

fn hub_with_records(topics: usize) -> Broadcaster {
    let hub = Broadcaster::builder().history(RECORDS).build();
    for i in 0..RECORDS {
        let topic = Topic::new(format!("quotes.{}", i % topics)).expect("is a topic");
        let published = hub.try_publish(topic, Event::data(TEXT));
        published.expect("the log is open, and the event is small");
    }
    hub
}

fn read_to_the_tail(mut subscriber: Subscriber) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(piece) = Pin::new(&mut subscriber).poll_next(&mut cx) {
        take(piece.expect("nobody closes"));
    }
}

/// Lets go of a piece as a socket does once it has been written.
fn take(piece: Bytes) {
    drop(black_box(piece));
}
