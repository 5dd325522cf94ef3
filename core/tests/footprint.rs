//! What things cost: allocations per delivery, per idle poll, per publish; bytes per subscriber.

mod support;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::{measure, AllocationInfo};
use bytes::Bytes;
use fanfare_core::{Broadcaster, Event, Subscriber, Topic};
use futures_core::Stream as _;
use support::{publish_many, Wakes};

/// What a task's poll costs: with a waker that is cloned by counting, as every runtime's is.
fn poll(subscriber: &mut Subscriber, waker: &Waker) -> Poll<Option<Bytes>> {
    Pin::new(subscriber).poll_next(&mut Context::from_waker(waker))
}

/// Opened and asleep, each in a task of its own.
fn asleep(hub: &Broadcaster, count: usize) -> Vec<(Subscriber, Waker)> {
    (0..count)
        .map(|_| {
            let (_, waker) = Wakes::new();
            let mut subscriber = hub.subscribe("prices").open().expect("admitted");
            assert!(poll(&mut subscriber, &waker).is_ready(), "the opening");
            assert!(poll(&mut subscriber, &waker).is_pending());
            (subscriber, waker)
        })
        .collect()
}

/// Everyone receives one piece and falls asleep again.
fn deliver(subscribers: &mut [(Subscriber, Waker)]) -> AllocationInfo {
    measure(|| {
        for (subscriber, waker) in subscribers {
            assert!(poll(subscriber, waker).is_ready());
            assert!(poll(subscriber, waker).is_pending());
        }
    })
}

#[test]
fn a_live_event_is_delivered_without_an_allocation() {
    let hub = Broadcaster::new();
    let mut subscribers = asleep(&hub, 1_000);
    publish_many(&hub, "prices", 1);
    deliver(&mut subscribers);
    for _ in 0..10 {
        publish_many(&hub, "prices", 1);
        let (first, others) = subscribers.split_at_mut(1);
        let first = deliver(first).count_total;
        let others = deliver(others).count_total;
        // The first to read an event makes it shareable: once for the event, not per delivery.
        assert!(first <= 1, "{first} allocations for the first");
        assert_eq!(others, 0, "for 999 others");
    }
    let total = hub.stats().delivered;
    assert_eq!(total, 11 * 1_000);
}

#[test]
fn twenty_pending_events_are_joined_once_for_all() {
    let hub = Broadcaster::new();
    let mut subscribers = asleep(&hub, 1_000);
    publish_many(&hub, "prices", 20);
    deliver(&mut subscribers);
    let mut most = 0;
    for _ in 0..10 {
        publish_many(&hub, "prices", 20);
        let (first, others) = subscribers.split_at_mut(1);
        let first = deliver(first);
        let others = deliver(others);
        assert_eq!(others.count_total, 0, "for 999 others");
        assert!(
            first.bytes_max < 4_096,
            "{} bytes to join 20 small events",
            first.bytes_max
        );
        most = most.max(first.count_total);
    }
    println!("20 pending: {most} allocations for the first of 1,000, none for the others");
}

/// What was encoded when it was published is joined for the first who returns, and then shared: nothing is
/// encoded, or even copied, for the others.
#[test]
fn a_crowd_that_returns_is_sent_what_was_made_for_its_first() {
    const RECORDS: u64 = 1_000;
    let hub = Broadcaster::builder().history(1_000).build();
    publish_many(&hub, "prices", RECORDS);
    let (_, waker) = Wakes::new();
    let mut crowd: Vec<_> = (0..500)
        .map(|_| {
            let returns = hub.subscribe("prices").from_oldest();
            let mut subscriber = returns.open().expect("admitted");
            assert!(poll(&mut subscriber, &waker).is_ready(), "the opening");
            subscriber
        })
        .collect();
    let (first, others) = crowd.split_at_mut(1);
    let mut received = 0;
    while let Poll::Ready(Some(piece)) = poll(&mut first[0], &waker) {
        received += piece.len() as u64;
        let cost = measure(|| {
            for subscriber in others.iter_mut() {
                let same = poll(subscriber, &waker);
                assert!(matches!(same, Poll::Ready(Some(same)) if same == piece));
            }
        });
        assert_eq!(cost.count_total, 0, "for 499 others, at {received}");
    }
    assert!(
        received > 10 * RECORDS,
        "{received} bytes of {RECORDS} records"
    );
    assert_eq!(hub.stats().replayed, 500 * RECORDS);
}

#[test]
fn a_poll_that_finds_nothing_allocates_nothing() {
    let hub = Broadcaster::new();
    let mut subscribers = asleep(&hub, 100);
    publish_many(&hub, "prices", 1);
    deliver(&mut subscribers);
    let cost = measure(|| {
        for _ in 0..100 {
            for (subscriber, waker) in &mut subscribers {
                assert!(poll(subscriber, waker).is_pending());
            }
        }
    });
    assert_eq!(cost.count_total, 0);
}

#[test]
fn a_task_that_moves_costs_no_allocation_either() {
    let hub = Broadcaster::new();
    let mut subscribers = asleep(&hub, 100);
    let (_, elsewhere) = Wakes::new();
    let cost = measure(|| {
        for (subscriber, _) in &mut subscribers {
            assert!(poll(subscriber, &elsewhere).is_pending());
        }
    });
    assert_eq!(cost.count_total, 0);
}

/// In bytes, everything that the core holds for one of very many, the `Subscriber` included.
const BUDGET: usize = 256;

#[test]
fn ten_thousand_idle_subscribers_stay_within_their_budget_and_give_everything_back() {
    const COUNT: usize = 10_000;
    let hub = Broadcaster::new();
    let (_, waker) = Wakes::new();
    let open = |count| {
        let mut subscribers = Vec::with_capacity(count);
        for _ in 0..count {
            let mut subscriber = hub.subscribe("prices").open().expect("admitted");
            while poll(&mut subscriber, &waker).is_ready() {}
            subscribers.push(subscriber);
        }
        subscribers
    };
    // The timer's thread is started once for the whole process.
    drop(open(1));
    let mut subscribers = Vec::new();
    let opened = measure(|| subscribers = open(COUNT));
    let dropped = measure(|| drop(subscribers));

    let each = opened.bytes_current as usize / COUNT;
    println!(
        "an idle subscriber: {each} bytes, of which {} are the `Subscriber` itself",
        size_of::<Subscriber>()
    );
    assert!(each <= BUDGET, "{each} bytes");
    let left = opened.bytes_current + dropped.bytes_current;
    assert!(left.abs() < 1_024, "{left} bytes are left");
    assert_eq!(hub.stats().subscribers, 0);
    assert!(hub.stats().topics.is_empty());
}

/// In bytes, what a key adds, with the tables that it is found by.
const BUDGET_OF_A_KEY: usize = 512;

#[test]
fn a_key_of_its_own_costs_each_subscriber_little() {
    const COUNT: usize = 10_000;
    let hub = Broadcaster::new();
    let keys: Vec<String> = (0..COUNT).map(|n| format!("user {n}")).collect();
    let mut subscribers = Vec::with_capacity(COUNT);
    let opened = measure(|| {
        for key in &keys {
            let subscriber = hub.subscribe("prices").key(key).open();
            subscribers.push(subscriber.expect("admitted"));
        }
    });
    let dropped = measure(|| drop(subscribers));
    let each = opened.bytes_current as usize / COUNT;
    println!("a subscriber with a key of its own: {each} bytes on the heap before it sleeps");
    assert!(each <= BUDGET_OF_A_KEY, "{each} bytes");
    // The tables keep their capacity for the next crowd.
    let left = (opened.bytes_current + dropped.bytes_current) / COUNT as i64;
    assert!(left <= 64, "{left} bytes each are left");
}

#[test]
fn publishing_allocates_for_the_event_and_not_for_those_who_listen() {
    let topic = Topic::from_static("prices");
    let publish = |hub: &Broadcaster| {
        let event = Event::data("x".repeat(100)).name("quote");
        measure(|| {
            hub.try_publish(&topic, event).expect("published");
        })
        .count_total
    };
    for listeners in [0, 1, 1_000] {
        // The window is full: from here on it only turns over.
        let hub = Broadcaster::builder().history(100).build();
        publish_many(&hub, "prices", 300);
        let mut subscribers = asleep(&hub, listeners);
        let mut most = 0;
        for _ in 0..300 {
            most = most.max(publish(&hub));
            deliver(&mut subscribers);
        }
        println!("publishing to {listeners}: at most {most} allocations");
        assert!(most <= 3, "{most} allocations with {listeners} listeners");
    }
}
