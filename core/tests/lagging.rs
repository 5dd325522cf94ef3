//! Slow clients, full houses, quiet lines and the end: nobody waits for anybody, and everyone is
//! told.

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_core::timer::{ManualTimer, Timer, Unscheduled};
use fanfare_core::{
    Broadcaster, Event, EventSource as _, KeepAlive, LagPolicy, PublishError, RefusedReason,
    Retention, SendError, Topic,
};
use futures_lite::future;
use support::{
    brief, bytes_held, next_now, numbers, place, poll_now, publish, publish_many, Client, Seen,
};

// --- Lagging ---------------------------------------------------------------------------------

#[test]
fn each_policy_does_to_a_slow_client_what_it_says() {
    // A window of 3; the client has read up to 2, then 3..=10 come, of which 8..=10 are left.
    for (policy, expect, then) in [
        (LagPolicy::Resume, "gap:lagged>7 #8 #9 #10", "#11"),
        (LagPolicy::SkipToLatest, "gap:lagged>10", "#11"),
        (LagPolicy::Disconnect, "gap:lagged>7 retry end", ""),
    ] {
        let hub = Broadcaster::builder().history(3).on_lag(policy).build();
        let mut client = Client::open(hub.subscribe("a"));
        publish_many(&hub, "a", 2);
        assert_eq!(client.drain_brief(), "#1 #2");
        publish_many(&hub, "a", 8);
        assert_eq!(client.drain_brief(), expect, "{policy}");
        publish(&hub, "a");
        assert_eq!(client.drain_brief(), then, "{policy}, afterwards");
        assert_eq!(hub.stats().gaps.total(), 1, "{policy}");
    }
}

#[test]
fn a_publisher_that_is_faster_than_the_timer_piles_nothing_up() {
    /// A timer that is late: it keeps its calls until somebody makes them.
    #[derive(Clone, Debug, Default)]
    struct Late(Arc<Mutex<Vec<Waker>>>);

    impl Timer for Late {
        fn wake_at(&self, _: Instant, waker: Waker) -> Result<(), Unscheduled> {
            self.0.lock().expect("no test panics here").push(waker);
            Ok(())
        }
    }

    let timer = Late::default();
    let calls = || std::mem::take(&mut *timer.0.lock().expect("no test panics here"));
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .keep_alive(KeepAlive::off())
        .build();
    // So many that their waking is left to the timer, in two selections.
    let mut crowd: Vec<_> = (0..1_100)
        .map(|_| Client::open(hub.subscribe("a")))
        .collect();
    crowd.push(Client::open(hub.subscribe("all")));
    for client in &mut crowd {
        client.drain();
    }
    publish_many(&hub, "a", 100);
    let waiting = calls();
    assert_eq!(waiting.len(), 1);
    waiting.into_iter().for_each(Waker::wake);
    for client in &mut crowd {
        assert!(client.was_woken());
        assert_eq!(client.drain().len(), 100);
    }
    // And the next publish calls again.
    publish(&hub, "a");
    assert_eq!(calls().len(), 1);
}

#[test]
fn the_gap_of_a_slow_client_names_both_of_its_ends() {
    let hub = Broadcaster::builder().history(3).build();
    let mut client = Client::open(hub.subscribe("a"));
    publish_many(&hub, "a", 2);
    client.drain();
    publish_many(&hub, "a", 8);
    let expect = Seen::Gap {
        reason: "lagged".to_owned(),
        from: Some(place(&hub, 2).to_string()),
        to: place(&hub, 7),
    };
    assert_eq!(client.drain().first(), Some(&expect));
}

#[test]
fn a_client_that_is_exactly_as_slow_as_the_window_is_long_misses_nothing() {
    for policy in [
        LagPolicy::Resume,
        LagPolicy::SkipToLatest,
        LagPolicy::Disconnect,
    ] {
        let hub = Broadcaster::builder().history(3).on_lag(policy).build();
        let mut client = Client::open(hub.subscribe("a"));
        for round in 0..5 {
            publish_many(&hub, "a", 3);
            let expect = numbers(round * 3 + 1, round * 3 + 3);
            assert_eq!(client.drain_brief(), expect, "{policy}");
        }
    }
}

#[test]
fn a_gap_bears_the_name_that_it_was_given() {
    let hub = Broadcaster::builder().history(1).gap_name("lost").build();
    let mut client = Client::open(hub.subscribe("a"));
    publish_many(&hub, "a", 2);
    assert_eq!(client.drain_brief(), "!lost #2");
}

#[test]
fn one_client_that_never_reads_costs_a_thousand_others_nothing() {
    let hub = Broadcaster::builder().history(20).build();
    let mut never = Client::open(hub.subscribe("a"));
    let mut others: Vec<_> = (0..1_000)
        .map(|_| Client::open(hub.subscribe("a")))
        .collect();
    let data = "x".repeat(100);
    let mut most_held = 0;
    for n in 1..=100 {
        let event = Event::data(&*data);
        let id = hub.try_publish("a", event).expect("published");
        assert_eq!(id.minor, n);
        most_held = most_held.max(bytes_held(&hub.stats()));
        if n % 10 == 0 {
            for other in &mut others {
                assert_eq!(other.drain_brief(), numbers(n - 9, n));
            }
        }
    }
    assert!(
        most_held < 20 * 160,
        "{most_held} bytes of 20 small records"
    );
    assert_eq!(
        never.drain_brief(),
        format!("gap:lagged>80 {}", numbers(81, 100))
    );
    publish(&hub, "a");
    assert_eq!(never.drain_brief(), "#101");
    assert_eq!(hub.stats().delivered, 1_000 * 100 + 21);
}

// --- Batches ---------------------------------------------------------------------------------

#[test]
fn what_is_pending_arrives_as_one_piece_that_everyone_at_the_same_place_shares() {
    for pending in [1, 2, 20] {
        let hub = Broadcaster::new();
        let mut subscribers: Vec<_> = (0..50)
            .map(|_| hub.subscribe("a").open().expect("admitted"))
            .collect();
        for subscriber in &mut subscribers {
            next_now(subscriber).expect("open");
        }
        publish_many(&hub, "a", pending);
        let pieces: Vec<Bytes> = subscribers
            .iter_mut()
            .map(|subscriber| next_now(subscriber).expect("open"))
            .collect();
        let whole: Vec<u8> = (1..=pending)
            .flat_map(|n| format!("id: {}\ndata: a\n\n", place(&hub, n)).into_bytes())
            .collect();
        assert_eq!(pieces[0], whole, "{pending} pending");
        let places: HashSet<_> = pieces.iter().map(|piece| piece.as_ptr()).collect();
        assert_eq!(places.len(), 1, "{pending} pending");
        assert!(subscribers.iter_mut().all(|s| poll_now(s).is_pending()));
    }
}

/// The largest piece that several events are joined to.
const MAX_PIECE: usize = 32 * 1024;

/// All pieces that are there now, without what opens the stream.
fn pieces(subscriber: &mut fanfare_core::Subscriber) -> Vec<Bytes> {
    next_now(subscriber).expect("open");
    std::iter::from_fn(|| match poll_now(subscriber) {
        Poll::Ready(piece) => piece,
        Poll::Pending => None,
    })
    .collect()
}

#[test]
fn pieces_are_bounded_and_hold_whole_events() {
    let hub = Broadcaster::new();
    for _ in 0..100 {
        let event = Event::data("x".repeat(1_000));
        hub.try_publish("a", event).expect("published");
    }
    let mut subscriber = hub.subscribe("a").from_oldest().open().expect("admitted");
    let pieces = pieces(&mut subscriber);
    assert!((4..20).contains(&pieces.len()), "{} pieces", pieces.len());
    for piece in &pieces {
        assert!(piece.len() <= MAX_PIECE, "{} bytes", piece.len());
        assert!(piece.starts_with(b"id: ") && piece.ends_with(b"\n\n"));
    }
    let total: usize = pieces.iter().map(Bytes::len).sum();
    assert_eq!(total, bytes_held(&hub.stats()));
}

#[test]
fn an_event_larger_than_a_piece_goes_out_whole_and_alone() {
    let hub = Broadcaster::new();
    let sizes = [10, 3 * MAX_PIECE, 10, 10];
    for size in sizes {
        let event = Event::data("x".repeat(size));
        hub.try_publish("a", event).expect("published");
    }
    let mut subscriber = hub.subscribe("a").from_oldest().open().expect("admitted");
    let pieces = pieces(&mut subscriber);
    let sizes: Vec<_> = pieces.iter().map(|piece| piece.len() > MAX_PIECE).collect();
    assert_eq!(sizes, [false, true, false]);
}

#[test]
fn those_who_began_at_different_places_come_to_share_their_pieces() {
    let hub = Broadcaster::new();
    for _ in 0..400 {
        let event = Event::data("x".repeat(1_000));
        hub.try_publish("a", event).expect("published");
    }
    let open = |after| {
        let subscribe = hub.subscribe("a").after(place(&hub, after));
        subscribe.open().expect("admitted")
    };
    let (mut one, mut other) = (open(0), open(45));
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    // They take turns, as two connections do.
    while let (Poll::Ready(Some(one)), Poll::Ready(Some(other))) =
        (poll_now(&mut one), poll_now(&mut other))
    {
        ones.push(one);
        others.push(other);
    }
    let built: HashSet<_> = ones.iter().map(|piece| piece.as_ptr()).collect();
    let shared = others
        .iter()
        .filter(|piece| built.contains(&piece.as_ptr()));
    let shared = shared.count();
    assert!(
        shared * 2 > others.len(),
        "most of a replay has been built by another: {shared} of {}",
        others.len()
    );
}

#[test]
fn a_long_replay_lets_others_have_their_turn() {
    let hub = Broadcaster::builder()
        .history(Retention::new().bytes(usize::MAX))
        .build();
    for _ in 0..200 {
        let event = Event::data("x".repeat(MAX_PIECE));
        hub.try_publish("a", event).expect("published");
    }
    let mut client = Client::open(hub.subscribe("a").from_oldest());
    let (mut seen, mut turns) = (Vec::new(), 0);
    while seen.len() < 200 {
        client.was_woken();
        match client.poll() {
            Poll::Ready(more) => seen.extend(more),
            Poll::Pending => {
                assert!(client.was_woken(), "it comes back by itself");
                turns += 1;
            }
        }
    }
    assert_eq!(brief(&seen), numbers(1, 200));
    assert!((1..=20).contains(&turns), "{turns} turns for others");
}

// --- Coming and going ------------------------------------------------------------------------

#[test]
fn a_client_that_leaves_in_the_middle_takes_nothing_from_the_others() {
    let hub = Broadcaster::new();
    let open = || Client::open(hub.subscribe("a"));
    let mut clients: Vec<_> = (0..10).map(|_| open()).collect();
    for client in &mut clients {
        client.drain();
    }
    for n in 1..=9 {
        publish(&hub, "a");
        // Asleep, woken, having read, not having read: in every state somebody leaves.
        let gone = clients.swap_remove(n as usize * 7 % clients.len());
        drop(gone);
        for client in &mut clients {
            assert!(client.was_woken());
            assert_eq!(client.drain_brief(), format!("#{n}"));
        }
        assert_eq!(hub.stats().subscribers, clients.len());
    }
    clients.clear();
    assert_eq!(hub.stats().subscribers, 0);
    publish(&hub, "a");
}

#[test]
fn whether_anybody_listens_is_known_per_topic() {
    let hub = Broadcaster::new();
    let topic = |text: &str| Topic::new(text).expect("a topic");
    let cases = [
        ("a", "a", true),
        ("a", "b", false),
        ("a,b", "b", true),
        ("all", "whatever", true),
        ("x.*", "x.1", true),
        ("x.*", "x.1.deep", false),
        ("x.>", "x.1.deep", true),
    ];
    for (selection, followed, expect) in cases {
        assert!(!hub.has_subscribers(&topic(followed)));
        let client = Client::open(hub.subscribe(selection));
        let case = format!("{followed} in {selection}");
        assert_eq!(hub.has_subscribers(&topic(followed)), expect, "{case}");
        let source = hub.topic(topic(followed));
        assert_eq!(source.is_listened_to(), expect, "{case}");
        drop(client);
        assert!(!hub.has_subscribers(&topic(followed)), "{case}");
    }
}

#[test]
fn places_are_limited_and_given_back_on_every_path() {
    let hub = Broadcaster::builder().max_subscribers(2).build();
    let reason = |key: &str| {
        let opened = hub.subscribe("a").key(key).open();
        opened.err().map(|refused| refused.reason)
    };
    let first = Client::open(hub.subscribe("a"));
    let mut second = Client::open(hub.subscribe("b").key("k"));
    for _ in 0..3 {
        assert_eq!(reason("k"), Some(RefusedReason::Full));
    }
    assert_eq!(
        (hub.stats().subscribers, hub.stats().refused.total()),
        (2, 3)
    );
    drop(first);
    for _ in 0..3 {
        assert_eq!(reason("k"), None, "and given back at once");
    }
    second.drain();
    drop(second);
    assert_eq!(hub.stats().subscribers, 0);
}

#[test]
fn places_are_limited_per_key_and_given_back_on_every_path() {
    let hub = Broadcaster::builder()
        .max_subscribers(3)
        .max_per_key(2)
        .history(1)
        .on_lag(LagPolicy::Disconnect)
        .build();
    let open = |key: &str| hub.subscribe("a").key(key).open();
    let refused = |key: &str| {
        let refused = open(key).err()?;
        Some((refused.reason, refused.status()))
    };
    let key_full = Some((RefusedReason::KeyFull, 429));
    let full = Some((RefusedReason::Full, 503));

    let one = open("one").expect("admitted");
    let mut other = Client::new(open("one").expect("admitted"));
    assert_eq!(refused("one"), key_full);
    assert_eq!(hub.stats().subscribers, 2, "a refusal takes no place");
    let two = open("two").expect("admitted");
    // Without a place left, the key is not asked; and it is not charged.
    assert_eq!(refused("two"), full);
    drop(one);
    let third = open("two").expect("admitted");
    assert_eq!(refused("two"), full);
    drop((two, third));
    assert_eq!(refused("two"), None);

    // One whose stream has ended keeps its place until it is dropped: its response still stands.
    publish_many(&hub, "a", 3);
    assert_eq!(other.drain_brief(), "gap:lagged>2 retry end");
    assert_eq!(hub.stats().subscribers, 1);
    drop(other);
    assert_eq!(hub.stats().subscribers, 0);
    let _both = (open("one").expect("given back"), open("one").expect("both"));
    let without_key = hub.subscribe("a").open();
    assert!(without_key.is_ok(), "who has no key counts against none");

    hub.close();
    assert_eq!(refused("three"), Some((RefusedReason::Closing, 503)));
}

#[test]
fn those_who_are_refused_together_are_told_different_times() {
    let hub = Broadcaster::builder().max_subscribers(0).build();
    let waits: HashSet<_> = (0..100)
        .filter_map(|_| hub.subscribe("a").open().err())
        .map(|refused| refused.retry_after)
        .collect();
    assert!(waits.len() > 50, "{} of 100 differ", waits.len());
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(3));
    assert!(waits.iter().all(|wait| (least..=most).contains(wait)));
}

// --- The end ---------------------------------------------------------------------------------

#[test]
fn at_the_end_everyone_gets_what_is_pending_then_a_retry_of_its_own_then_the_end() {
    let hub = Broadcaster::new();
    let mut clients: Vec<_> = (0..100).map(|_| Client::open(hub.subscribe("a"))).collect();
    for client in clients.iter_mut().take(50) {
        client.drain();
    }
    publish_many(&hub, "a", 3);
    hub.close();
    hub.close();
    let mut retries = HashSet::new();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.was_woken(), n < 50, "who slept is woken");
        let seen = client.drain();
        assert_eq!(brief(&seen), "#1 #2 #3 retry end");
        for _ in 0..3 {
            assert_eq!(client.poll(), Poll::Ready(vec![Seen::End]), "for good");
        }
        let Some(Seen::Retry(delay)) = seen.get(3) else {
            panic!("checked above");
        };
        assert!((1_000..=3_000).contains(&delay.as_millis()), "{delay:?}");
        retries.insert(*delay);
    }
    assert!(retries.len() > 50, "{} of 100 differ", retries.len());
}

#[test]
fn whoever_sleeps_over_any_selection_is_woken_by_the_end() {
    let hub = Broadcaster::new();
    let mut clients = ["a", "a,b", "x.*", "all"].map(|topics| Client::open(hub.subscribe(topics)));
    for client in &mut clients {
        assert_eq!(client.drain_brief(), "");
    }
    hub.close();
    for client in &mut clients {
        assert!(client.was_woken());
        assert_eq!(client.drain_brief(), "retry end");
    }
}

#[test]
fn a_client_that_lags_at_the_end_is_still_told() {
    let hub = Broadcaster::builder().history(2).build();
    let mut client = Client::open(hub.subscribe("a"));
    publish_many(&hub, "a", 5);
    hub.close();
    assert_eq!(client.drain_brief(), "gap:lagged>3 #4 #5 retry end");
}

#[test]
fn without_a_retry_nothing_is_written_of_one() {
    let hub = Broadcaster::builder().retry(None).build();
    let mut subscriber = hub.subscribe("a").open().expect("admitted");
    assert_eq!(next_now(&mut subscriber).expect("open"), ":\n");
    publish(&hub, "a");
    hub.close();
    assert!(next_now(&mut subscriber)
        .expect("pending")
        .starts_with(b"id: "));
    assert_eq!(next_now(&mut subscriber), None);
    assert_eq!(next_now(&mut subscriber), None);

    let hub = Broadcaster::builder()
        .retry(None)
        .history(1)
        .on_lag(LagPolicy::Disconnect)
        .build();
    let mut client = Client::open(hub.subscribe("a"));
    publish_many(&hub, "a", 2);
    assert_eq!(client.drain_brief(), "gap:lagged>1 end");
}

#[test]
fn after_the_end_nothing_is_taken() {
    let hub = Broadcaster::new();
    let late = hub.publish("a", Event::data("late"));
    let subscribe = hub.subscribe("a");
    let mut source = hub.topic("a");
    hub.close();
    assert!(hub.is_closed());
    future::block_on(async {
        let error = late.await.expect_err("closed");
        assert!(matches!(error, PublishError::Closed), "{error}");
        assert!(!error.is_retryable());
        let error = source.send(Event::data("late")).await.expect_err("closed");
        assert!(matches!(error, SendError::Closed), "{error}");
        source.closed().await;
    });
    let error = hub.try_publish("a", Event::data("late"));
    assert!(matches!(error, Err(PublishError::Closed)));
    let refused = subscribe.open().expect_err("closed");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert_eq!(hub.stats().published, 0);
    assert_eq!(hub.stats().subscribers, 0);
}

#[test]
fn it_has_ended_once_it_is_closed_and_the_last_client_is_gone() {
    future::block_on(async {
        let hub = Broadcaster::builder().timer(ManualTimer::new()).build();
        let mut ended = std::pin::pin!(hub.ended(Duration::from_secs(10)));
        assert_eq!(
            future::poll_once(&mut ended).await,
            None,
            "nobody is there, but"
        );
        let (one, mut other) = (
            Client::open(hub.subscribe("a")),
            Client::open(hub.subscribe("a")),
        );
        hub.close();
        assert_eq!(future::poll_once(&mut ended).await, None);
        drop(one);
        assert_eq!(other.drain_brief(), "retry end");
        assert_eq!(future::poll_once(&mut ended).await, None, "not written yet");
        drop(other);
        assert_eq!(future::poll_once(&mut ended).await, Some(()));
        assert_eq!(
            future::poll_once(hub.ended(Duration::MAX / 4)).await,
            Some(())
        );
    });
}

#[test]
fn it_has_ended_once_the_grace_is_over_whoever_is_left() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let grace = Duration::from_secs(10);
    let _stays = Client::open(hub.subscribe("a"));
    let (wakes, waker) = support::Wakes::new();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut ended = Box::pin(hub.ended(grace));
    let mut poll = || std::future::Future::poll(ended.as_mut(), &mut cx);
    timer.advance(grace * 2);
    assert!(poll().is_pending(), "it counts from the close");
    hub.close();
    assert!(wakes.take() > 0);
    assert!(poll().is_pending());
    timer.advance(grace - Duration::from_millis(1));
    assert!(poll().is_pending());
    wakes.take();
    timer.advance(Duration::from_millis(1));
    assert!(wakes.take() > 0);
    assert!(poll().is_ready());
}

#[test]
fn it_closes_when_the_signal_comes_and_not_when_nobody_waits_for_it() {
    future::block_on(async {
        let hub = Broadcaster::new();
        let mut client = Client::open(hub.subscribe("a"));
        drop(hub.close_when(async {}));
        assert!(!hub.is_closed(), "never polled");
        let pending = hub.close_when(future::pending::<()>());
        assert_eq!(future::poll_once(pending).await, None);
        assert!(!hub.is_closed());
        hub.close_when(async { "a signal of any type" }).await;
        assert!(hub.is_closed());
        assert_eq!(client.drain_brief(), "retry end");
    });
}

// --- Signs of life ---------------------------------------------------------------------------

fn keeping_alive(keep_alive: KeepAlive) -> (Broadcaster, ManualTimer) {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .keep_alive(keep_alive)
        .timer(timer.clone())
        .build();
    (hub, timer)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_idle_stream_shows_life_within_every_interval_and_not_more_often_than_every_half() {
    for (keep_alive, sign) in [
        (KeepAlive::every(10 * SECOND), ":"),
        (KeepAlive::every(10 * SECOND).event("ping"), "!ping"),
    ] {
        let (hub, timer) = keeping_alive(keep_alive);
        let mut client = Client::open(hub.subscribe("a"));
        client.drain();
        let mut silent = 0;
        for second in 0..100 {
            timer.advance(SECOND);
            silent += 1;
            match &*client.drain_brief() {
                "" => assert!(silent <= 10, "silent at {second}"),
                seen => {
                    assert_eq!(seen, sign);
                    assert!(silent >= 5, "too soon at {second}");
                    silent = 0;
                }
            }
        }
    }
}

#[test]
fn a_sign_of_life_is_one_line_of_two_bytes_or_an_event_without_an_id() {
    for (keep_alive, expect) in [
        (KeepAlive::every(SECOND), ":\n"),
        (
            KeepAlive::every(SECOND).event("ping"),
            "event: ping\ndata: \n\n",
        ),
    ] {
        let (hub, timer) = keeping_alive(keep_alive);
        let mut subscriber = hub.subscribe("a").open().expect("admitted");
        next_now(&mut subscriber).expect("open");
        timer.advance(2 * SECOND);
        assert_eq!(next_now(&mut subscriber).expect("open"), expect);
        assert!(poll_now(&mut subscriber).is_pending());
    }
}

#[test]
fn there_is_no_sign_of_life_while_data_flows() {
    let (hub, timer) = keeping_alive(KeepAlive::every(10 * SECOND));
    let mut client = Client::open(hub.subscribe("a"));
    client.drain();
    for n in 1..=100 {
        timer.advance(4 * SECOND);
        publish(&hub, "a");
        assert_eq!(client.drain_brief(), format!("#{n}"));
    }
}

#[test]
fn there_is_none_at_all_when_it_is_off() {
    let (hub, timer) = keeping_alive(KeepAlive::off());
    let mut client = Client::open(hub.subscribe("a"));
    client.drain();
    timer.advance(100_000 * SECOND);
    assert!(!client.was_woken());
    assert_eq!(client.drain_brief(), "");
}

#[test]
fn signs_of_life_go_on_for_those_who_come_after_everyone_had_left() {
    let (hub, timer) = keeping_alive(KeepAlive::every(10 * SECOND));
    for _ in 0..3 {
        let mut client = Client::open(hub.subscribe("a"));
        client.drain();
        timer.advance(10 * SECOND);
        assert!(client.was_woken());
        assert_eq!(client.drain_brief(), ":");
        drop(client);
        timer.advance(1_000 * SECOND);
    }
}

#[test]
fn a_client_that_does_not_read_owes_one_sign_of_life_and_not_many() {
    let (hub, timer) = keeping_alive(KeepAlive::every(10 * SECOND));
    let mut client = Client::open(hub.subscribe("a"));
    client.drain();
    timer.advance(1_000 * SECOND);
    assert_eq!(client.drain_brief(), ":");
}
