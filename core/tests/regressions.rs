//! Each of these was broken once.

mod support;

use std::time::Duration;

use fanfare_core::timer::ManualTimer;
use fanfare_core::{Broadcaster, EventId, KeepAlive, LastEventId, Retention};
use futures_lite::future;
use support::{place, publish, publish_many, replay, Client};

/// A batch that others have read is remembered; retention may have evicted its records since.
#[test]
fn a_batch_that_was_shared_does_not_bring_evicted_records_back() {
    let hub = Broadcaster::builder().history(1).build();
    let mut early = Client::open(hub.subscribe("a"));
    let _second = Client::open(hub.subscribe("a")); // One alone shares with nobody.
    publish(&hub, "a"); // 1
    assert_eq!(early.drain_brief(), "#1");
    publish_many(&hub, "a", 9); // 2..=10, of which 10 is left
    for (subscribe, expect) in [
        (hub.subscribe("a").from_oldest(), "#10"),
        (
            hub.subscribe("a").after(EventId::new(7, 7)),
            "gap:epoch>9 #10",
        ),
        (
            hub.subscribe("a").after(place(&hub, 0)),
            "gap:expired>9 #10",
        ),
    ] {
        assert_eq!(Client::open(subscribe).drain_brief(), expect);
    }
}

/// The same across topics, where the view's newest evicted place stays while older ones go.
#[test]
fn a_batch_that_was_shared_does_not_outlive_the_records_of_a_quiet_topic() {
    let hub = Broadcaster::builder().history(1).build();
    let _others: Vec<_> = (0..2).map(|_| Client::open(hub.subscribe("a,b"))).collect();
    publish(&hub, "a"); // 1
    publish_many(&hub, "b", 3); // 2..=4, of which 4 is left
    let foreign = EventId::new(7, 7);
    let mut early = Client::open(hub.subscribe("a,b").after(foreign));
    assert_eq!(early.drain_brief(), "gap:epoch>3 #1 #4");
    publish(&hub, "a"); // 5 evicts 1
    let mut late = Client::open(hub.subscribe("a,b").after(foreign));
    assert_eq!(late.drain_brief(), "gap:epoch>3 #4 #5");
}

/// The promise: contiguous, or told. What is left of a quiet topic lies before a hole of a loud
/// one.
#[test]
fn from_oldest_over_several_topics_tells_of_the_hole_between_them() {
    let hub = Broadcaster::builder().history(1).build();
    publish(&hub, "quiet"); // 1
    publish_many(&hub, "loud", 9); // 2..=10, of which 10 is left
    let mut client = Client::open(hub.subscribe("loud,quiet").from_oldest());
    let seen = client.drain_brief();
    assert!(
        seen.contains(">9"),
        "2..=9 are missing without a word: {seen}"
    );
}

#[test]
fn an_idle_stream_is_never_silent_for_longer_than_the_interval_whatever_the_age() {
    for age in [None, Some(1), Some(20), Some(26), Some(40), Some(600)] {
        let timer = ManualTimer::new();
        let mut retention = Retention::new();
        if let Some(age) = age {
            retention = retention.age(Duration::from_secs(age));
        }
        let hub = Broadcaster::builder()
            .history(retention)
            .keep_alive(KeepAlive::every(Duration::from_secs(15)))
            .timer(timer.clone())
            .build();
        let mut client = Client::open(hub.subscribe("a"));
        client.drain();
        let mut silent = 0;
        for second in 1..=300 {
            timer.advance(Duration::from_secs(1));
            silent = if client.drain().is_empty() {
                silent + 1
            } else {
                0
            };
            assert!(silent <= 15, "age {age:?}: silent for long at {second}");
        }
    }
}

/// More than are woken by the publisher itself: their waking goes through the timer.
#[test]
fn very_many_subscribers_are_woken_on_any_clock() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let mut clients: Vec<_> = (0..2_000)
        .map(|_| Client::open(hub.subscribe("a")))
        .collect();
    for client in &mut clients {
        client.drain();
    }
    publish(&hub, "a");
    let woken = clients.iter().filter(|client| client.was_woken()).count();
    assert_eq!(woken, 2_000);
}

#[test]
fn a_grace_without_end_is_no_panic() {
    let hub = Broadcaster::new();
    let client = Client::open(hub.subscribe("a"));
    hub.close();
    let ended = hub.ended(Duration::MAX);
    future::block_on(async {
        let mut ended = std::pin::pin!(ended);
        assert_eq!(future::poll_once(&mut ended).await, None);
        drop(client);
        ended.await;
    });
}

#[test]
fn an_interval_without_end_is_no_panic() {
    let keep_alive = KeepAlive::every(Duration::MAX);
    let hub = Broadcaster::builder().keep_alive(keep_alive).build();
    let mut client = Client::open(hub.subscribe("a"));
    assert_eq!(client.drain_brief(), "");
}

#[test]
fn a_retry_without_end_is_no_panic() {
    let hub = Broadcaster::builder().retry(Duration::MAX).build();
    let mut client = Client::open(hub.subscribe("a"));
    hub.close();
    assert!(hub.subscribe("a").open().is_err());
    assert_eq!(client.drain_brief(), "retry end");
}

#[test]
fn the_page_of_an_empty_log_is_followed_by_everything() {
    let hub = Broadcaster::new();
    let page = replay(&hub, "all", LastEventId::none(), 10);
    assert_eq!((page.gap, page.records.len()), (None, 0));
    let first = hub
        .try_publish("a", fanfare_core::Event::data("x"))
        .expect("published");
    let next = replay(&hub, "all", page.last, 10);
    assert_eq!((next.gap, next.last), (None, first));
    assert_eq!(next.records.len(), 1);
}

#[test]
fn topics_that_are_only_followed_leave_room_for_those_that_are_published_to() {
    let hub = Broadcaster::builder().max_topics(10).build();
    let names: Vec<String> = (0..64).map(|i| format!("followed{i}")).collect();
    let topics: fanfare_core::Topics = names.join(",").parse().expect("a selection");
    let _follower = hub.subscribe(topics).open().expect("admitted");
    publish(&hub, "news");
}

#[test]
fn one_topic_too_many_takes_the_place_of_the_oldest_that_nobody_names() {
    let hub = Broadcaster::builder().max_topics(2).build();
    let _wide = hub.subscribe("all").open().expect("admitted");
    let named = hub.subscribe("named").open().expect("admitted");
    publish(&hub, "named"); // 1
    publish(&hub, "old"); // 2
    publish(&hub, "new"); // 3
    let mut held: Vec<_> = hub
        .stats()
        .topics
        .into_iter()
        .filter(|(_, t)| t.records > 0)
        .collect();
    held.sort_by_key(|(topic, _)| topic.clone());
    let held: Vec<_> = held.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(held, ["named", "new"]);
    let mut back = Client::open(
        hub.subscribe("old")
            .after(replay(&hub, "named", LastEventId::none(), 1).records[0].id()),
    );
    assert_eq!(
        back.drain_brief(),
        "gap:expired>2",
        "who comes back for it is told"
    );

    let _also_named = hub.subscribe("new").open().expect("admitted");
    let refused = hub
        .try_publish("third", fanfare_core::Event::data("x"))
        .expect_err("no room");
    assert!(refused.is_retryable());
    drop(named);
    publish(&hub, "third");
}

#[test]
fn all_topics_together_are_bounded_too() {
    let hub = Broadcaster::builder().max_history_bytes(10_000).build();
    for i in 0..100 {
        let topic = fanfare_core::Topic::new(format!("topic{i}")).expect("a topic");
        hub.try_publish(topic, fanfare_core::Event::data("x".repeat(1_000)))
            .expect("published");
    }
    let held: usize = hub
        .stats()
        .topics
        .iter()
        .map(|(_, topic)| topic.bytes)
        .sum();
    assert!((8_000..=10_000).contains(&held), "{held}");
}

#[test]
fn a_history_of_its_own_knows_its_age() {
    use fanfare_core::history::{Append, History, Memory};
    let memory = Memory::new(Retention::new().age(Duration::from_millis(1)));
    let topic = fanfare_core::Topic::from_static("a");
    let page = futures_lite::future::block_on(async {
        memory
            .append(Append::new(topic, &fanfare_core::Event::data("x")))
            .await
            .expect("appended");
        let appended = std::time::Instant::now();
        while appended.elapsed() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        memory
            .replay(&fanfare_core::Topics::all(), &LastEventId::none(), 10)
            .await
    });
    assert_eq!(page.expect("a page").records.len(), 0);
}

#[test]
fn a_task_that_only_its_waker_holds_may_own_the_other_end() {
    use fanfare_core::{channel, ClientStream, EventSource};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Wake, Waker};

    struct Task(#[allow(dead_code)] Mutex<Option<ClientStream>>);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let (mut client, stream) = channel(1);
    let owner = Waker::from(Arc::new(Task(Mutex::new(Some(stream)))));
    assert!(client
        .poll_closed(&mut Context::from_waker(&owner))
        .is_pending());
    drop(owner);
    // Replaces, and so drops, the waker, the task, and with it the stream.
    let other = Waker::from(Arc::new(Task(Mutex::new(None))));
    let mut cx = Context::from_waker(&other);
    assert!(client.poll_closed(&mut cx).is_pending());
    assert!(client.poll_closed(&mut cx).is_ready(), "the stream is gone");
}

#[test]
fn a_wide_selection_that_finds_little_lets_others_have_their_turn() {
    let hub = Broadcaster::builder().history(100_000).build();
    let first = publish(&hub, "start");
    for _ in 0..10_000 {
        hub.try_publish("loud", fanfare_core::Event::data("x"))
            .expect("published");
    }
    hub.try_publish("quiet.one", fanfare_core::Event::data("x"))
        .expect("published");
    let mut client = Client::open(hub.subscribe("quiet.*").after(first));
    let mut polls = 0;
    loop {
        polls += 1;
        match client.poll() {
            std::task::Poll::Ready(seen) if !seen.is_empty() => break,
            _ => assert!(polls < 100),
        }
    }
    assert!(
        polls > 3,
        "{polls} polls for 10,000 records that are not its own"
    );
}

#[test]
fn a_repeated_append_with_a_key_is_stored_once() {
    use fanfare_core::history::{Append, History, Memory, REMEMBERED_KEYS};
    let memory = Memory::new(Retention::new());
    let append = |key: &str| {
        let topic = fanfare_core::Topic::from_static("a");
        let append = Append::new(topic, &fanfare_core::Event::data("x")).key(key);
        futures_lite::future::block_on(memory.append(append)).expect("open")
    };
    let first = append("one");
    assert_eq!(append("one"), first);
    assert!(append("two") > first);
    assert_eq!(append("one"), first);
    for n in 0..REMEMBERED_KEYS {
        append(&format!("more {n}"));
    }
    assert!(append("one") > first, "forgotten at last");
}
