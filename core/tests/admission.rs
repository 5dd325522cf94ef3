//! Who is admitted: limits per key, how fast, and how a refusal is answered.

mod support;

use std::time::Duration;

use fanfare_core::broadcaster::{EndReason, KeyFull, Rate};
use fanfare_core::response::Answer;
use fanfare_core::timer::ManualTimer;
use fanfare_core::{
    channel, Broadcaster, Event, EventStream, GapReason, KeepAlive, LagPolicy, Refused,
    RefusedReason, WhenRefused,
};
use futures_lite::stream;
use support::{next_now, poll_now, Client};

fn reason<T>(opened: Result<T, Refused>) -> Option<RefusedReason> {
    opened.err().map(|refused| refused.reason)
}

/// No trait is in scope here.
#[test]
fn every_reason_says_its_word() {
    assert_eq!(EndReason::Unauthorized.as_str(), "unauthorized");
    assert_eq!(RefusedReason::KeyFull.as_str(), "key_full");
    assert_eq!(GapReason::Unparsable.as_str(), "unparsable");
}

#[test]
fn a_stream_counts_against_each_of_its_keys() {
    let hub = Broadcaster::builder().max_per_key(2).build();
    let open = |user: &str, address: &str| hub.subscribe("a").key(user).key(address).open();
    let first = open("ann", "1.1.1.1").expect("admitted");
    let second = open("bob", "1.1.1.1").expect("admitted");
    assert_eq!(reason(open("cy", "1.1.1.1")), Some(RefusedReason::KeyFull));
    let third = open("ann", "2.2.2.2").expect("admitted");
    assert_eq!(reason(open("ann", "3.3.3.3")), Some(RefusedReason::KeyFull));
    assert_eq!(hub.stats().subscribers, 3, "a refusal takes no place");
    drop(first);
    let fourth = open("ann", "1.1.1.1").expect("both have room again");
    drop((second, third, fourth));
    assert!(hub.streams().is_empty());

    let twice = hub.subscribe("a").key("dan").key("dan").open();
    let _twice = twice.expect("a key that is given twice counts once");
    assert_eq!(reason(hub.subscribe("a").key("dan").open()), None);
}

#[test]
fn the_oldest_of_a_key_can_make_room_for_the_newest() {
    let hub = Broadcaster::builder()
        .max_per_key(2)
        .when_key_full(KeyFull::EndOldest)
        .build();
    let open = |key: &str| Client::open(hub.subscribe("a").key(key));
    let mut other = open("other");
    let mut clients = [open("k"), open("k")];
    for client in &mut clients {
        assert_eq!(client.drain_brief(), "");
    }
    let mut third = open("k");
    let [oldest, older] = &mut clients;
    assert!(oldest.was_woken() && !older.was_woken());
    assert_eq!(oldest.drain_brief(), "retry end");
    let mut fourth = open("k");
    assert_eq!(older.drain_brief(), "retry end");
    for client in [&mut other, &mut third, &mut fourth] {
        assert_eq!(client.drain_brief(), "");
    }
    drop(clients);
    assert_eq!(hub.stats().ended.of(EndReason::Replaced), 2);
    assert_eq!(hub.disconnect("k"), 2, "those that are left");

    let nobody = Broadcaster::builder()
        .max_per_key(0)
        .when_key_full(KeyFull::EndOldest)
        .build();
    let opened = nobody.subscribe("a").key("k").open();
    assert_eq!(reason(opened), Some(RefusedReason::KeyFull));
}

/// One stream may have several keys; one that makes room under one of them does so under all.
#[test]
fn no_more_streams_are_ended_than_room_is_needed() {
    let hub = Broadcaster::builder()
        .max_per_key(2)
        .when_key_full(KeyFull::EndOldest)
        .build();
    let open = |user: &str, address: &str| hub.subscribe("a").key(user).key(address).open();
    let shown = || -> Vec<_> {
        let streams = hub.streams();
        streams.iter().map(|stream| stream.keys.join(" ")).collect()
    };
    let elsewhere = open("bob", "home").expect("admitted");
    let first = open("ann", "home").expect("admitted");
    let second = open("ann", "work").expect("admitted");
    // Ann has two, and two are at home: the one that is both makes room for both.
    let third = open("ann", "home").expect("admitted");
    drop(first);
    assert_eq!(shown(), ["bob home", "ann work", "ann home"]);
    assert_eq!(hub.stats().ended.of(EndReason::Replaced), 1);
    drop((elsewhere, second, third));
    assert_eq!(hub.stats().ended.of(EndReason::Replaced), 1);

    // The oldest of each, where they are not the same.
    let older = open("dan", "here").expect("admitted");
    let old = open("cy", "there").expect("admitted");
    let both = [open("dan", "there"), open("cy", "here")];
    let newest = open("dan", "there").expect("admitted");
    drop((older, old));
    assert_eq!(hub.stats().ended.of(EndReason::Replaced), 3);
    assert_eq!(shown(), ["dan there", "cy here", "dan there"]);
    drop((both, newest));
    assert!(hub.streams().is_empty());
}

/// A client that reads nothing does not read its end either, and keeps its connection.
#[test]
fn who_never_reads_holds_at_most_twice_as_many_streams_as_it_may() {
    let hub = Broadcaster::builder()
        .max_per_key(3)
        .when_key_full(KeyFull::EndOldest)
        .build();
    let open = |key: &str| hub.subscribe("a").key(key).open();
    let mut unread: Vec<_> = (0..6).map(|_| open("k").expect("admitted")).collect();
    assert_eq!(reason(open("k")), Some(RefusedReason::KeyFull));
    assert_eq!(hub.streams().len(), 6, "all are open");
    assert_eq!(hub.disconnect("k"), 3, "of these, three are to end already");

    // Whoever reads its end makes room, whichever it was.
    drop(unread.remove(1));
    unread.push(open("k").expect("admitted"));
    assert_eq!(reason(open("k")), Some(RefusedReason::KeyFull));
    drop(unread.remove(4));
    unread.push(open("k").expect("admitted"));
    assert_eq!(reason(open("k")), Some(RefusedReason::KeyFull));
    drop(unread);
    let again: Vec<_> = (0..6).map(|_| open("k")).collect();
    assert!(again.iter().all(Result::is_ok), "all is forgotten");
}

/// An address from which ever new users come.
#[test]
fn who_never_reads_holds_no_more_under_a_key_that_many_others_share() {
    let hub = Broadcaster::builder()
        .max_per_key(2)
        .when_key_full(KeyFull::EndOldest)
        .build();
    let open = |user: &str, address: &str| hub.subscribe("a").key(user).key(address).open();
    let mut held = Vec::new();
    for n in 0..20 {
        let user = n.to_string();
        // Two from here, and two from elsewhere in whose favour they are ended.
        held.extend((0..2).filter_map(|_| open(&user, "here").ok()));
        held.extend((0..2).filter_map(|_| open(&user, &format!("elsewhere {n}")).ok()));
    }
    let streams = hub.streams();
    let here = streams
        .iter()
        .filter(|s| s.keys.iter().any(|key| **key == *"here"));
    assert_eq!(here.count(), 4);
}

#[test]
fn a_key_opens_streams_no_faster_than_it_may() {
    let timer = ManualTimer::new();
    let rate = Rate::new(60, Duration::from_secs(60)).burst(3);
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_rate_per_key(rate)
        .build();
    let open = |key: &str| hub.subscribe("a").key(key).open().err();
    for _ in 0..3 {
        assert_eq!(open("k"), None, "a burst");
    }
    let refused = open("k").expect("the fourth is too early");
    assert_eq!(refused.reason, RefusedReason::Rate);
    assert_eq!((refused.status(), refused.is_retryable()), (429, true));
    assert!(refused.retry_after >= Duration::from_secs(1));
    assert_eq!(open("other"), None, "another key's time is its own");
    assert_eq!(reason(hub.subscribe("a").open()), None);

    for _ in 0..5 {
        timer.advance(Duration::from_millis(999));
        assert!(open("k").is_some(), "refusals do not put it off");
        timer.advance(Duration::from_millis(1));
        assert_eq!(open("k"), None, "one each second");
    }
    timer.advance(Duration::from_secs(3_600));
    let admitted = (0..10).filter(|_| open("k").is_none()).count();
    assert_eq!(admitted, 3, "a long pause saves up no more than a burst");
}

/// Strangers name the keys: what is remembered of them must not grow forever.
#[test]
fn a_crowd_of_keys_is_forgotten_when_it_has_no_effect_any_more() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_rate_per_key(Rate::new(1, Duration::from_secs(1)))
        .build();
    let crowd = |from: usize| {
        for n in from..from + 2_000 {
            drop(hub.subscribe("a").key(n.to_string()).open());
        }
    };
    crowd(0);
    timer.advance(Duration::from_secs(2));
    let cost = allocation_counter::measure(|| {
        for round in 1..50 {
            crowd(2_000 * round);
            timer.advance(Duration::from_secs(2));
        }
    });
    let kept = cost.bytes_current;
    assert!(kept < 1 << 20, "{kept} bytes are left of 100,000 keys");
}

/// The crowd came once, within one interval. Afterwards only a few come, with keys that are known.
#[test]
fn a_crowd_that_came_once_is_forgotten_by_those_who_come_after_it() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_rate_per_key(Rate::new(10_000, Duration::from_secs(60)))
        .build();
    let cost = allocation_counter::measure(|| {
        for n in 0..20_000 {
            drop(hub.subscribe("a").key(format!("{n:0>200}")).open());
        }
        timer.advance(Duration::from_secs(60));
        for _ in 0..2 {
            for _ in 0..10_000 {
                drop(hub.subscribe("a").key("known").open());
            }
            timer.advance(Duration::from_secs(60));
        }
    });
    let kept = cost.bytes_current;
    assert!(kept < 2 << 20, "{kept} bytes are left of 20,000 keys");
}

/// All of them come within one interval: none is forgotten because it had no effect any more.
#[test]
fn a_flood_of_keys_is_bounded_and_does_not_absolve_who_came_too_often() {
    let timer = ManualTimer::new();
    let day = Duration::from_secs(24 * 60 * 60);
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_rate_per_key(Rate::new(1, day).burst(3))
        .build();
    let open = |key: &str| reason(hub.subscribe("a").key(key).open());
    for _ in 0..3 {
        assert_eq!(open("often"), None, "a burst");
    }
    assert_eq!(open("often"), Some(RefusedReason::Rate));
    let mut flood = 0..;
    let mut flooded_by = |count: usize| {
        let cost = allocation_counter::measure(|| {
            for n in flood.by_ref().take(count) {
                assert_eq!(open(&format!("2001:db8::{n}")), None);
            }
        });
        cost.bytes_current
    };
    let first = flooded_by(70_000);
    let more = flooded_by(10_000);
    assert!(first < 16 << 20, "{first} bytes");
    assert!(more < 64 << 10, "{more} more bytes for 10,000 more keys");
    assert_eq!(open("often"), Some(RefusedReason::Rate));
}

#[test]
fn a_rate_without_an_interval_limits_nobody_and_none_overflows() {
    let time = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for (count, time) in [0, 1, u32::MAX].iter().flat_map(|n| time.map(|t| (*n, t))) {
        for rate in [0, 1, u32::MAX].map(|burst| Rate::new(count, time).burst(burst)) {
            let hub = Broadcaster::builder().max_rate_per_key(rate).build();
            for _ in 0..3 {
                let opened = hub.subscribe("a").key("k").open();
                assert!(opened.is_ok() || reason(opened) == Some(RefusedReason::Rate));
            }
        }
    }
    let rate = Rate::new(1, Duration::ZERO);
    let hub = Broadcaster::builder().max_rate_per_key(rate).build();
    for _ in 0..100 {
        assert_eq!(reason(hub.subscribe("a").key("k").open()), None);
    }
}

#[test]
fn each_route_answers_a_refusal_as_it_likes() {
    let hub = Broadcaster::builder().max_subscribers(0).build();
    let answer = |when: Option<WhenRefused>| {
        let mut subscribe = hub.subscribe("a");
        if let Some(when) = when {
            subscribe = subscribe.when_refused(when);
        }
        let answer = Answer::from(subscribe);
        let (status, retry_after) = (answer.status(), answer.retry_after());
        let mut body = answer.into_body();
        let text = next_now(&mut body);
        assert!(text.is_none() || next_now(&mut body).is_none());
        (status, retry_after.is_some(), text)
    };
    let (status, has_retry_after, text) = answer(None);
    assert_eq!((status, has_retry_after), (503, true));
    assert!(text.is_some(), "and says why");

    let (status, has_retry_after, text) = answer(Some(WhenRefused::Soft));
    assert_eq!((status, has_retry_after), (200, false));
    let text = text.expect("a retry");
    assert!(text.starts_with(b"retry: ") && text.ends_with(b"\n\n"));

    assert_eq!(answer(Some(WhenRefused::Away)), (204, false, None));
    assert_eq!(hub.stats().refused.of(RefusedReason::Full), 3);
}

#[test]
fn private_streams_are_counted_limited_and_given_back_with_all_others() {
    let hub = Broadcaster::builder()
        .max_per_key(2)
        .max_subscribers(2)
        .build();
    let private = |key: &str| {
        let (client, stream) = channel(4);
        let stream = hub.private(stream).key(key).open();
        stream.map(|stream| (client, stream))
    };
    let first = private("k").expect("admitted");
    let subscriber = hub.subscribe("a").key("k").open().expect("admitted");
    assert_eq!(reason(private("k")), Some(RefusedReason::Full));
    drop(subscriber);
    let other = private("other").expect("admitted");
    drop(other);
    let second = private("k").expect("admitted");
    drop(hub.subscribe("a").open());
    assert_eq!(hub.stats().subscribers, 2);
    drop((first, second));
    assert_eq!(hub.stats().subscribers, 0);

    let events = stream::iter([Event::data("one")]);
    let mut finite = hub.private(EventStream::new(events)).open().expect("open");
    assert_eq!(next_now(&mut finite).expect("opening"), ":\n");
    assert_eq!(next_now(&mut finite).expect("event"), "data: one\n\n");
    assert_eq!(next_now(&mut finite), None);
    drop(finite);
    assert_eq!(hub.stats().ended.of(EndReason::Finished), 1);

    let answer = Answer::from(hub.private(stream::pending::<Event>()));
    assert_eq!(answer.status(), 200);
    hub.close();
    let answer_late = Answer::from(hub.private(stream::pending::<Event>()));
    assert_eq!(answer_late.status(), 503);
    let mut body = answer.into_body();
    assert_eq!(next_now(&mut body).expect("opening"), ":\n");
    let farewell = next_now(&mut body).expect("a retry");
    assert!(farewell.starts_with(b"retry: "));
    assert_eq!(next_now(&mut body), None, "closed with all the others");
    assert!(poll_now(&mut body).is_ready());
}

#[test]
fn private_streams_are_kept_alive_as_their_broadcaster_says_unless_they_say_otherwise() {
    let timer = ManualTimer::new();
    let second = Duration::from_secs(1);
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .keep_alive(KeepAlive::every(10 * second).event("ping"))
        .build();
    let open = |stream: EventStream| {
        let mut stream = hub.private(stream).open().expect("admitted");
        assert_eq!(next_now(&mut stream).expect("the opening"), ":\n");
        assert!(poll_now(&mut stream).is_pending());
        stream
    };
    let silent = || EventStream::new(stream::pending::<Event>());
    let mut usual = open(silent());
    let mut own = open(silent().keep_alive(KeepAlive::every(30 * second)));
    let mut none = open(silent().keep_alive(KeepAlive::off()));
    let own_timer = ManualTimer::new();
    let mut elsewhere = open(silent().timer(own_timer.clone()));

    timer.advance(10 * second);
    let ping = next_now(&mut usual).expect("a sign of life");
    assert!(ping.starts_with(b"event: ping\n"));
    for other in [&mut own, &mut none, &mut elsewhere] {
        assert!(poll_now(other).is_pending());
    }
    assert_eq!(hub.stats().keep_alives, 1);
    timer.advance(20 * second);
    assert_eq!(next_now(&mut own).expect("a sign of life"), ":\n");
    own_timer.advance(10 * second);
    assert!(next_now(&mut elsewhere).is_some());
    assert_eq!(hub.stats().keep_alives, 3);
}

#[test]
fn who_has_skipped_what_it_missed_is_not_behind() {
    let hub = Broadcaster::builder()
        .history(2)
        .on_lag(LagPolicy::SkipToLatest)
        .build();
    let mut client = Client::open(hub.subscribe("a").key("k"));
    support::publish_many(&hub, "a", 10);
    assert_eq!(hub.streams()[0].behind, 10);
    assert_eq!(client.drain_brief(), "gap:lagged>10");
    assert_eq!(hub.streams()[0].behind, 0);
}

#[test]
fn streams_show_who_is_behind_and_for_how_long() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let mut quick = Client::open(hub.subscribe("a").key("quick"));
    timer.advance(Duration::from_secs(5));
    let _slow = Client::open(hub.subscribe("a,b").key("slow").key("1.1.1.1"));
    let _unnamed = Client::open(hub.subscribe("a"));
    support::publish_many(&hub, "a", 3);
    support::publish_many(&hub, "c", 3);
    quick.drain();
    let streams = hub.streams();
    let shown: Vec<_> = streams
        .iter()
        .map(|stream| {
            let topics = stream.topics.as_ref().map(ToString::to_string);
            (stream.keys.join(" "), topics, stream.behind, stream.age)
        })
        .collect();
    let five = Duration::from_secs(5);
    assert_eq!(
        shown,
        [
            ("quick".to_owned(), Some("a".to_owned()), 0, five),
            (
                "slow 1.1.1.1".to_owned(),
                Some("a,b".to_owned()),
                3,
                Duration::ZERO
            ),
        ]
    );
}
