//! A broadcaster whose history is elsewhere: its window, and what it reads behind it.

mod support;
#[path = "support/remote.rs"]
mod remote;

use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::broadcaster::Drain;
use fanfare_core::history::{Append, HistoryError, Memory};
use fanfare_core::timer::ManualTimer;
use fanfare_core::{
    forward, Broadcaster, Event, EventId, KeepAlive, LagPolicy, LastEventId, PublishError,
    Retention, SendError, Topic,
};
use futures_lite::future::{block_on, poll_once};
use futures_lite::StreamExt as _;
use remote::Remote;
use support::{brief, gaps, ids, read, wait_for, Client, Seen, DEADLINE};

fn hub_before(remote: &Remote, window: usize) -> Broadcaster {
    let hub = Broadcaster::builder()
        .history(window)
        .keep_alive(KeepAlive::off())
        .backend(remote.clone())
        .build();
    wait_until_ready(&hub);
    hub
}

fn is_ready(hub: &Broadcaster) -> bool {
    hub.stats().backend.expect("there is one").is_ready
}

fn wait_until_ready(hub: &Broadcaster) {
    wait_for("the tail", || is_ready(hub).then_some(()));
}

fn elsewhere(remote: &Remote, topic: &'static str, count: u64) -> Vec<EventId> {
    let append = |n| Append::new(Topic::from_static(topic), &Event::data(format!("{n}")));
    (0..count).map(|n| remote.append_now(append(n))).collect()
}

#[test]
fn what_any_process_publishes_reaches_those_who_are_here() {
    let remote = Remote::new(1_000);
    let (here, there) = (hub_before(&remote, 100), hub_before(&remote, 100));
    let mut client = Client::open(here.subscribe("a"));
    let one = block_on(here.publish("a", Event::data("1"))).expect("up");
    let two = block_on(there.publish("a", Event::data("2"))).expect("up");
    block_on(there.publish("b", Event::data("not his"))).expect("up");
    let three = elsewhere(&remote, "a", 1)[0];
    assert_eq!(ids(&read(&mut client, 3)), [one, two, three]);
    assert_eq!(remote.reads(), 0, "who is live reads the window alone");
}

#[test]
fn what_a_producer_has_sent_is_published_though_it_drops_its_source() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    let mut client = Client::open(hub.subscribe("a"));
    block_on(hub.topic("a").send(Event::data("1"))).expect("up");
    let two = futures_lite::stream::once(Event::data("2"));
    block_on(forward(two, hub.topic("a"))).expect("up");
    assert_eq!(ids(&read(&mut client, 2)).len(), 2);
    // And of what is not, it is told at once.
    remote.set_up(false);
    let failed = block_on(hub.topic("a").send(Event::data("3")));
    assert!(matches!(failed, Err(SendError::Publish(_))), "{failed:?}");
}

#[test]
fn what_is_repeated_under_its_key_counts_once_with_a_backend_or_without() {
    let remote = Remote::new(1_000);
    for hub in [Broadcaster::new(), hub_before(&remote, 100)] {
        let publish = |key: &str| {
            let published = hub.publish("a", Event::data("1")).key(key);
            block_on(published).expect("up")
        };
        let first = publish("one");
        assert_eq!(publish("one"), first);
        assert!(publish("two") > first);
        assert_eq!(publish("one"), first);
        assert_eq!(hub.stats().published, 2);
    }
}

#[test]
fn a_producer_that_waits_for_its_next_event_has_published_the_last() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    let mut client = Client::open(hub.subscribe("a"));
    let one_then_none = futures_lite::stream::once(Event::data("1"))
        .chain(futures_lite::stream::pending::<Event>());
    let mut forward = std::pin::pin!(forward(one_then_none, hub.topic("a")));
    wait_for("the event", || {
        assert!(block_on(poll_once(forward.as_mut())).is_none());
        client.drain_brief().contains('1').then_some(())
    });
}

#[test]
fn what_is_published_before_the_tail_begins_reaches_those_who_are_here() {
    for _ in 0..50 {
        let remote = Remote::new(1_000);
        let hub = Broadcaster::builder()
            .keep_alive(KeepAlive::off())
            .backend(remote.clone())
            .build();
        let mut client = Client::open(hub.subscribe("a"));
        let _ = (client.poll(), client.poll());
        let id = block_on(hub.publish("a", Event::data("1"))).expect("up");
        assert_eq!(ids(&read(&mut client, 1)), [id]);
    }
}

#[test]
fn nothing_is_published_where_no_tail_would_bring_it() {
    let remote = Remote::new(1_000);
    remote.set_up(false);
    let hub = Broadcaster::builder().backend(remote.clone()).build();
    let publish = || block_on(hub.publish("a", Event::data("1")));
    assert!(publish().expect_err("away").is_retryable());
    remote.set_up(true);
    wait_until_ready(&hub);
    publish().expect("up");
}

#[test]
fn who_is_older_than_the_window_comes_in_through_the_backend() {
    let remote = Remote::new(100_000);
    let before = elsewhere(&remote, "a", 2_500);
    let hub = hub_before(&remote, 10);
    let mut client = Client::open(hub.subscribe("a").after(before[0]));
    let after = elsewhere(&remote, "a", 2_500);
    let seen = read(&mut client, 2_499 + 2_500);
    assert_eq!(ids(&seen), [&before[1..], &after[..]].concat());
    assert_eq!(gaps(&seen), [""; 0]);
}

#[test]
fn a_crowd_that_returns_costs_one_read_a_page() {
    let remote = Remote::new(100_000);
    let before = elsewhere(&remote, "a", 2_001);
    let hub = hub_before(&remote, 10);
    remote.hold_replays(true);
    let mut crowd: Vec<_> = (0..200)
        .map(|_| Client::open(hub.subscribe("a").after(before[0])))
        .collect();
    for client in &mut crowd {
        let _ = client.poll();
    }
    remote.hold_replays(false);
    for client in &mut crowd {
        assert_eq!(ids(&read(client, 2_000)), before[1..]);
    }
    // Somebody who comes a little later shares them too.
    let mut late = Client::open(hub.subscribe("a").after(before[0]));
    assert_eq!(ids(&read(&mut late, 2_000)), before[1..]);
    assert_eq!(remote.reads(), 2, "two pages");
}

/// Each stopped at a place of its own, and yet they do not read a page each for all of their way.
#[test]
fn clients_that_stopped_at_different_places_soon_share_their_pages() {
    let remote = Remote::new(Retention::new().records(100_000).bytes(1 << 30));
    let before = elsewhere(&remote, "a", 20_000);
    let hub = hub_before(&remote, 10);
    let clients = 20;
    for at in (0..clients).map(|n| n * 97) {
        let mut client = Client::open(hub.subscribe("a").after(before[at]));
        let seen = read(&mut client, before.len() - 1 - at);
        assert_eq!(
            (ids(&seen), gaps(&seen)),
            (before[at + 1..].to_vec(), vec![])
        );
    }
    let pages = before.len() / 1_000 + 1;
    assert!(remote.reads() <= clients + pages, "{}", remote.reads());
}

#[test]
fn a_crowd_shares_the_pages_in_which_it_finds_nothing() {
    let remote = Remote::new(Retention::new().records(100_000).bytes(1 << 30));
    let first = elsewhere(&remote, "rare.a", 1)[0];
    elsewhere(&remote, "loud", 10_000);
    // One for the window, and so one that is older than it.
    let rest = elsewhere(&remote, "rare.a", 2);
    let hub = hub_before(&remote, 1);
    wait_for("the window", || (hub.last_id() == rest[1]).then_some(()));
    let mut reads = Vec::new();
    for _ in 0..3 {
        let mut client = Client::open(hub.subscribe("rare.*").after(first));
        assert_eq!(ids(&read(&mut client, 2)), rest);
        reads.push(remote.reads());
    }
    assert!(reads[0] > 2, "some pages are empty: {reads:?}");
    assert_eq!(reads[1..], [reads[0], reads[0]]);
}

/// More clients than pages are kept for, each at a place of its own, which read a little and stop.
#[test]
fn those_who_stall_in_more_places_than_pages_are_kept_for_miss_nothing() {
    let remote = Remote::new(Retention::new().records(100_000).bytes(1 << 30));
    let text = "x".repeat(1_000);
    let append = || Append::new(Topic::from_static("a"), &Event::data(&text));
    let before: Vec<_> = (0..1_000).map(|_| remote.append_now(append())).collect();
    let hub = hub_before(&remote, 10);
    let mut crowd: Vec<_> = (0..200)
        .map(|at| (at, Client::open(hub.subscribe("a").after(before[at]))))
        .collect();
    let mut seen: Vec<_> = crowd
        .iter_mut()
        .map(|(_, client)| read(client, 1))
        .collect();
    for ((at, client), seen) in crowd.iter_mut().zip(&mut seen) {
        let rest = before.len() - 1 - *at - ids(seen).len();
        seen.extend(read(client, rest));
        assert_eq!(
            (ids(seen), gaps(seen)),
            (before[*at + 1..].to_vec(), vec![])
        );
    }
}

#[test]
fn only_the_backend_judges_ids() {
    let remote = Remote::new(5);
    let before = elsewhere(&remote, "a", 10);
    let hub = hub_before(&remote, 3);
    let (epoch, last) = (before[0].major, before[9]);
    let rest = "#6 #7 #8 #9 #10";
    for (after, expect) in [
        ("nonsense".to_owned(), format!("gap:unparsable>5 {rest}")),
        ("7-7".to_owned(), format!("gap:epoch>5 {rest}")),
        (format!("{epoch}-11"), format!("gap:ahead>5 {rest}")),
        (format!("{epoch}-4"), format!("gap:expired>5 {rest}")),
        (format!("{epoch}-5"), rest.to_owned()),
        (format!("{epoch}-9"), "#10".to_owned()),
    ] {
        let last = LastEventId::from_request(Some(after.as_bytes()), None);
        let mut client = Client::open(hub.subscribe("a").after(last));
        let events = expect.matches('#').count();
        let seen = read(&mut client, events);
        assert_eq!(brief(&seen), expect, "{after}");
        let from = seen.iter().find_map(|seen| match seen {
            Seen::Gap { from, .. } => from.clone(),
            _ => None,
        });
        assert!(
            from.is_none_or(|from| from == after),
            "told in its own words"
        );
    }
    let mut client = Client::open(hub.subscribe("a").after(last));
    assert_eq!(client.poll(), Poll::Ready(vec![]), "the opening");
    let next = elsewhere(&remote, "a", 1);
    assert_eq!(ids(&read(&mut client, 1)), next);
}

#[test]
fn a_hole_is_told_of_once_however_many_pages_lie_in_it() {
    let remote = Remote::new(Retention::new().records(2_500).bytes(1 << 30));
    let quiet = elsewhere(&remote, "quiet", 2_500);
    let loud = elsewhere(&remote, "loud", 5_000);
    let hub = hub_before(&remote, 10);
    let last = LastEventId::from(EventId::new(quiet[0].major, 0));
    let mut client = Client::open(hub.subscribe("quiet,loud").after(last));
    let seen = read(&mut client, 5_000);
    assert_eq!(ids(&seen), [&quiet[..], &loud[2_500..]].concat());
    let end = loud[2_499].minor;
    assert_eq!(gaps(&seen), [format!("gap:expired>{end}")]);
}

#[test]
fn what_goes_while_a_client_comes_in_is_told_from_where_it_is() {
    let remote = Remote::new(Retention::new().records(1_500).bytes(1 << 30));
    let first = elsewhere(&remote, "a", 3_000);
    let hub = hub_before(&remote, 10);
    let mut client = Client::open(hub.subscribe("a").after(first[0]));
    let mut seen = read(&mut client, 1);
    let more = elsewhere(&remote, "a", 2_000);
    // The page that is being sent ends where all pages end.
    let paged = &first[1_500..2_048];
    seen.extend(read(&mut client, paged.len() + 1_500 - ids(&seen).len()));
    let told = seen.iter().filter_map(|seen| match seen {
        Seen::Gap { from, to, .. } => Some((from.clone(), *to)),
        _ => None,
    });
    let expect = [(first[0], first[1_499]), (first[2_047], more[499])];
    let expect = expect.map(|(from, to)| (Some(from.to_string()), to));
    assert_eq!(told.collect::<Vec<_>>(), expect);
    assert_eq!(ids(&seen), [paged, &more[500..]].concat());
}

#[test]
fn who_falls_behind_the_window_reads_the_backend_and_is_told_only_of_what_is_gone() {
    let remote = Remote::new(100);
    let hub = hub_before(&remote, 2);
    let mut client = Client::open(hub.subscribe("a"));
    let _ = client.poll();
    let first = elsewhere(&remote, "a", 50);
    wait_for("the window", || (hub.last_id() == first[49]).then_some(()));
    let seen = read(&mut client, 50);
    assert_eq!((ids(&seen), gaps(&seen)), (first.clone(), vec![]));

    let more = elsewhere(&remote, "a", 150);
    wait_for("the window", || (hub.last_id() == more[149]).then_some(()));
    let seen = read(&mut client, 100);
    assert_eq!(ids(&seen), more[50..]);
    assert_eq!(gaps(&seen), [format!("gap:lagged>{}", more[49].minor)]);
    assert_eq!(hub.stats().replayed, 0, "it has been live from its start");
}

#[test]
fn the_other_lag_policies_do_not_read_it() {
    let remote = Remote::new(100);
    let build = |policy| {
        let hub = Broadcaster::builder().history(2).on_lag(policy);
        let hub = hub.backend(remote.clone()).build();
        wait_until_ready(&hub);
        hub
    };
    let (latest, disconnect) = (build(LagPolicy::SkipToLatest), build(LagPolicy::Disconnect));
    let mut skips = Client::open(latest.subscribe("a"));
    let mut leaves = Client::open(disconnect.subscribe("a"));
    let _ = (skips.poll(), leaves.poll());
    let some = elsewhere(&remote, "a", 10);
    for hub in [&latest, &disconnect] {
        wait_for("the window", || (hub.last_id() == some[9]).then_some(()));
    }
    assert_eq!(brief(&skips.drain()), "gap:lagged>10");
    assert_eq!(brief(&leaves.drain()), "gap:lagged>8 retry end");
    assert_eq!(remote.reads(), 0);
}

#[test]
fn while_the_engine_is_away_streams_stay_and_publishing_says_so() {
    let remote = Remote::new(1_000);
    let before = elsewhere(&remote, "a", 20);
    let hub = hub_before(&remote, 5);
    let mut live = Client::open(hub.subscribe("a"));
    let _ = live.poll();
    remote.set_up(false);
    wait_for("it to be noticed", || (!is_ready(&hub)).then_some(()));
    let refused = block_on(hub.publish("a", Event::data("x"))).expect_err("away");
    assert!(refused.is_retryable(), "{refused}");
    assert!(matches!(
        refused,
        PublishError::History(HistoryError::Unavailable(_))
    ));
    let page = block_on(hub.replay("a", before[0], 10));
    assert!(matches!(page, Err(HistoryError::Unavailable(_))));
    let mut returns = Client::open(hub.subscribe("a").after(before[9]));
    assert_eq!(returns.poll(), Poll::Ready(vec![]), "the opening");
    assert_eq!(returns.poll(), Poll::Pending);
    assert_eq!(live.poll(), Poll::Pending);

    remote.set_up(true);
    wait_until_ready(&hub);
    let after = elsewhere(&remote, "a", 3);
    assert_eq!(ids(&read(&mut live, 3)), after);
    let seen = read(&mut returns, 13);
    assert_eq!(ids(&seen), [&before[10..], &after[..]].concat());
    assert_eq!(gaps(&seen), [""; 0]);
    assert!(hub.stats().backend.expect("there").failures > 0);
}

#[test]
fn what_passes_between_it_and_its_engine_is_counted_and_timed() {
    let remote = Remote::new(1_000);
    let before = elsewhere(&remote, "a", 5);
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .history(2)
        .keep_alive(KeepAlive::off())
        .timer(timer.clone())
        .backend(remote.clone())
        .build();
    wait_until_ready(&hub);
    let stats = || hub.stats().backend.expect("there is one");
    assert_eq!(
        (stats().append_times.total(), stats().read_times.total()),
        (0, 0)
    );

    block_on(hub.publish("a", Event::data("x"))).expect("up");
    assert_eq!(stats().append_times.total(), 1);

    remote.hold_replays(true);
    let mut returns = Client::open(hub.subscribe("a").after(before[0]));
    let _ = (returns.poll(), returns.poll());
    timer.advance(Duration::from_millis(4));
    assert_eq!(stats().read_times.total(), 0, "it is still read");
    remote.hold_replays(false);
    assert_eq!(read(&mut returns, 5).len(), 5);
    let times = stats().read_times;
    let found: Vec<_> = times.buckets().filter(|(_, n)| *n > 0).collect();
    assert_eq!(found, [(Some(4_096), 1)], "microseconds");

    let (none, once) = ((0, 0), (1, 1));
    let failures = || (stats().append_failures, stats().interruptions);
    assert_eq!(failures(), none);
    remote.set_up(false);
    wait_for("it to be noticed", || (!is_ready(&hub)).then_some(()));
    block_on(hub.publish("a", Event::data("x"))).expect_err("away");
    wait_for("both", || (failures() == once).then_some(()));
    assert_eq!(
        stats().append_times.total(),
        2,
        "a failure takes its time too"
    );
}

#[test]
fn an_engine_that_was_away_at_the_start_is_waited_for() {
    let remote = Remote::new(1_000);
    let before = elsewhere(&remote, "a", 5);
    remote.set_up(false);
    let hub = Broadcaster::builder().backend(remote.clone()).build();
    let mut live = Client::open(hub.subscribe("a"));
    let mut returns = Client::open(hub.subscribe("a").after(before[1]));
    let _ = (live.poll(), returns.poll());
    assert_eq!(
        (live.poll(), returns.poll()),
        (Poll::Pending, Poll::Pending)
    );
    remote.set_up(true);
    wait_until_ready(&hub);
    let after = elsewhere(&remote, "a", 1);
    assert_eq!(ids(&read(&mut live, 1)), after);
    assert_eq!(ids(&read(&mut returns, 4)), [&before[2..], &after].concat());
}

#[test]
fn who_was_live_when_the_log_began_anew_is_told() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    let mut live = Client::open(hub.subscribe("a"));
    let old = elsewhere(&remote, "a", 3);
    assert_eq!(ids(&read(&mut live, 3)), old);
    remote.replace(1_000);
    let new = elsewhere(&remote, "a", 3);
    let seen = read(&mut live, 3);
    assert_eq!(ids(&seen), new);
    assert_eq!(gaps(&seen).len(), 1, "{}", brief(&seen));
    assert!(gaps(&seen)[0].starts_with("gap:epoch"));
    // And who was away.
    let mut returns = Client::open(hub.subscribe("a").after(old[1]));
    let seen = read(&mut returns, 3);
    assert_eq!(ids(&seen), new);
    assert!(gaps(&seen)[0].starts_with("gap:epoch"));
}

#[test]
fn a_page_of_an_earlier_life_leads_nowhere_in_the_next() {
    // Restored from a copy: what comes now has smaller ids than what clients have seen.
    let copy = Memory::new(Retention::new());
    let remote = Remote::new(100_000);
    let before = elsewhere(&remote, "a", 2_500);
    let hub = hub_before(&remote, 10);
    let mut client = Client::open(hub.subscribe("a").after(before[0]));
    read(&mut client, 1);
    remote.replace_with(copy);
    let next = elsewhere(&remote, "a", 1)[0];
    wait_for("the new life", || (hub.last_id() == next).then_some(()));
    let mut seen = Vec::new();
    wait_for("the new life's event", || {
        seen.extend(client.drain());
        ids(&seen).contains(&next).then_some(())
    });
    assert_eq!(gaps(&seen).len(), 1, "{}", brief(&seen[seen.len() - 3..]));
    assert_eq!(ids(&seen).last(), Some(&next));
}

#[test]
fn who_saw_more_than_this_process_waits_and_sees_nothing_twice() {
    let remote = Remote::new(1_000);
    let (here, there) = (hub_before(&remote, 100), hub_before(&remote, 100));
    for round in 0..50 {
        let topic = if round % 2 == 0 { "a" } else { "b" };
        let id = block_on(there.publish(topic, Event::data("x"))).expect("up");
        // Here it may not have come yet.
        let mut client = Client::open(here.subscribe("a,b").after(id));
        let next = block_on(there.publish("b", Event::data("x"))).expect("up");
        let seen = read(&mut client, 1);
        assert_eq!((ids(&seen), gaps(&seen)), (vec![next], vec![]));
    }
}

#[test]
fn what_was_published_here_before_a_client_came_is_no_news_to_it() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    for _ in 0..200 {
        let before = block_on(hub.publish("a", Event::data("before"))).expect("up");
        assert!(hub.last_id() >= before);
        let mut client = Client::open(hub.subscribe("a"));
        let after = block_on(hub.publish("a", Event::data("after"))).expect("up");
        assert_eq!(ids(&read(&mut client, 1)), [after]);
    }
}

#[test]
fn closing_delivers_what_was_published_first() {
    for _ in 0..20 {
        let remote = Remote::new(1_000);
        let hub = hub_before(&remote, 100);
        let mut client = Client::open(hub.subscribe("a"));
        let _ = client.poll();
        let id = block_on(hub.publish("a", Event::data("x"))).expect("up");
        hub.close();
        let late = block_on(hub.publish("a", Event::data("late")));
        assert!(matches!(late, Err(PublishError::Closed)));
        assert!(hub.subscribe("a").open().is_err());
        assert_eq!(ids(&read(&mut client, 1)), [id]);
        wait_for("the end", || {
            let _ = client.poll();
            client.has_ended().then_some(())
        });
    }
}

#[test]
fn draining_delivers_what_was_published_first() {
    for _ in 0..20 {
        let remote = Remote::new(1_000);
        let timer = ManualTimer::new();
        let builder = Broadcaster::builder().keep_alive(KeepAlive::off());
        let hub = builder.timer(timer.clone()).backend(remote.clone()).build();
        wait_until_ready(&hub);
        let mut client = Client::open(hub.subscribe("a"));
        // Nothing that comes wakes this one.
        let mut other = Client::open(hub.subscribe("b"));
        let _ = (client.poll(), client.poll(), other.poll(), other.poll());
        let id = block_on(hub.publish("a", Event::data("x"))).expect("up");
        let drain = Drain::over(Duration::ZERO).bound(DEADLINE);
        let mut draining = std::pin::pin!(hub.drain(drain));
        // It begins in this moment, when the event may still be on its way back.
        assert!(block_on(poll_once(draining.as_mut())).is_none());
        assert_eq!(ids(&read(&mut client, 1)), [id]);
        for mut client in [client, other] {
            wait_for("the end", || {
                timer.advance(Duration::from_millis(20));
                let _ = client.poll();
                client.has_ended().then_some(())
            });
        }
        assert_eq!(block_on(draining).forced, 0);
    }
}

#[test]
fn closing_does_not_wait_for_an_engine_that_is_away() {
    let remote = Remote::new(1_000);
    let before = elsewhere(&remote, "a", 50);
    let hub = hub_before(&remote, 5);
    remote.set_up(false);
    let mut live = Client::open(hub.subscribe("a"));
    let mut returns = Client::open(hub.subscribe("a").after(before[0]));
    hub.close();
    for client in [&mut live, &mut returns] {
        wait_for("the end", || {
            let _ = client.poll();
            client.has_ended().then_some(())
        });
    }
}

#[test]
fn a_dropped_broadcaster_lets_go_of_its_backend() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 5);
    drop(hub);
    wait_for("the thread to end", || remote.is_alone().then_some(()));
}

#[test]
fn pages_are_read_here_if_they_are_here() {
    let remote = Remote::new(1_000);
    let before = elsewhere(&remote, "a", 10);
    let hub = hub_before(&remote, 100);
    let after = elsewhere(&remote, "a", 10);
    wait_for("the window", || (hub.last_id() == after[9]).then_some(()));
    let page = |last: EventId, limit| block_on(hub.replay("a", last, limit)).expect("up");
    assert_eq!(page(after[0], 3).last, after[3]);
    assert_eq!(remote.reads(), 0);
    let old = page(before[0], 3);
    let found: Vec<_> = old.records.iter().map(fanfare_core::Record::id).collect();
    assert_eq!((&found[..], old.last), (&before[1..4], before[3]));
    assert_eq!(remote.reads(), 1);
}

/// Nothing ticks here: no keep-alive, no age, no subscriber.
#[test]
fn a_page_that_was_read_a_while_ago_is_no_answer() {
    let remote = Remote::new(Retention::new().records(2_000).bytes(1 << 30));
    let before = elsewhere(&remote, "a", 3_000);
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .history(10)
        .keep_alive(KeepAlive::off())
        .timer(timer.clone())
        .backend(remote.clone())
        .build();
    wait_until_ready(&hub);
    let page = || block_on(hub.replay("a", before[1_000], 10)).expect("up");
    assert_eq!(page().gap, None);
    let reads = remote.reads();
    elsewhere(&remote, "a", 1_500);
    assert_eq!(page().gap, None, "a crowd of a moment shares a page");
    assert_eq!(remote.reads(), reads);
    timer.advance(Duration::from_secs(2));
    let page = page();
    assert_eq!(page.gap.expect("it was evicted").to, before[2_499]);
    assert_eq!(page.records[0].id(), before[2_500]);
}

#[test]
fn a_page_has_what_was_published_here_before_it_was_asked_for() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    let start = hub.last_id();
    for count in 1..200 {
        let id = block_on(hub.publish("a", Event::data("x"))).expect("up");
        for after in [LastEventId::none(), start.into(), hub.last_id().into()] {
            let page = block_on(hub.replay("a", &after, 1_000)).expect("up");
            let expect = if after.id() == Some(id) { 0 } else { count };
            assert_eq!((page.records.len(), page.last), (expect, id), "{after:?}");
        }
    }
}

#[test]
fn a_key_is_handed_on() {
    let remote = Remote::new(1_000);
    let hub = hub_before(&remote, 100);
    let publish = || block_on(hub.publish("a", Event::data("x")).key("once")).expect("up");
    assert_eq!(publish(), publish());
}

/// Many clients come and go while other processes publish, with a window that is far too small and
/// an engine that is away now and then: each sees every event once, in order.
#[test]
fn nothing_is_lost_or_doubled_whatever_happens() {
    const EVENTS: usize = 3_000;
    let remote = Remote::new(Retention::new().records(1_000_000).bytes(1 << 30));
    let hubs = [
        hub_before(&remote, 1),
        hub_before(&remote, 7),
        hub_before(&remote, 300),
    ];
    let start = hubs[0].last_id();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let topics = ["a", "b", "c"];
            let mut ids = Vec::new();
            while ids.len() < EVENTS {
                let topic = topics[ids.len() % 3];
                let hub = &hubs[ids.len() % hubs.len()];
                if let Ok(id) = block_on(hub.publish(topic, Event::data("x"))) {
                    ids.push(id);
                }
                if ids.len() % 500 == 250 {
                    remote.set_up(false);
                    thread::yield_now();
                    remote.set_up(true);
                }
            }
            ids
        });
        let reader = |seed: u64| {
            let (hubs, remote) = (&hubs, &remote);
            scope.spawn(move || {
                let mut random = seed;
                let mut next = move |limit: u64| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (random >> 33) % limit
                };
                let selections = ["all", "a,b,c", "*"];
                let (mut last, mut seen) = (start, Vec::new());
                let until = Instant::now() + DEADLINE;
                while seen.len() < EVENTS {
                    assert!(Instant::now() < until, "{} of {EVENTS}", seen.len());
                    let hub = &hubs[usize::try_from(next(3)).expect("small")];
                    let topics = selections[usize::try_from(next(3)).expect("small")];
                    let mut client = Client::open(hub.subscribe(topics).after(last));
                    for _ in 0..next(200) {
                        let Poll::Ready(found) = client.poll() else {
                            thread::yield_now();
                            continue;
                        };
                        assert_eq!(gaps(&found), [""; 0], "after {last}");
                        seen.extend(ids(&found));
                        last = seen.last().copied().unwrap_or(last);
                    }
                    let _ = remote;
                }
                seen
            })
        };
        let readers: Vec<_> = (1..=6).map(reader).collect();
        let published = publisher.join().expect("publishes");
        for reader in readers {
            assert_eq!(reader.join().expect("reads"), published);
        }
    });
}
