//! A backend that does what the test says, at the worst time, or against its contract.

mod support;
#[path = "support/script.rs"]
mod script;

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::broadcaster::Builder;
use fanfare_core::history::{HistoryError, Page};
use fanfare_core::timer::{ManualTimer, Timer, Unscheduled};
use fanfare_core::{
    Broadcaster, Event, EventId, Gap, GapReason, KeepAlive, LagPolicy, LastEventId, Retention,
};
use futures_core::Stream;
use futures_lite::future::block_on;
use script::{id, record, Does, Script};
use support::{brief, ids, read, wait_for, within, Client, Seen, Wakes, DEADLINE};

fn builder(script: &Script) -> Builder {
    let builder = Broadcaster::builder().keep_alive(KeepAlive::off());
    builder.backend(script.clone())
}

/// A broadcaster before a log that has come this far.
fn started(builder: Builder, script: &Script, at: EventId) -> Broadcaster {
    script.starts(at);
    let hub = builder.build();
    wait_until_at(&hub, at);
    hub
}

fn wait_until_at(hub: &Broadcaster, last: EventId) {
    wait_for("the tail", || (hub.stats().last == last).then_some(()));
}

/// Nothing is left after the place that is asked for.
fn nothing_after(after: &LastEventId) -> Page {
    Page::new(None, vec![], after.id().expect("an id"))
}

fn nothing() -> Script {
    Script::new(nothing_after)
}

#[test]
fn a_read_that_nobody_waits_for_any_more_is_dropped() {
    /// As a channel's receiver does, it keeps the waker that wakes it.
    struct Receiver {
        _alive: Arc<()>,
        waker: Option<Waker>,
    }

    impl Future for Receiver {
        type Output = Result<Page, HistoryError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            self.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    let alive = Arc::new(());
    let of_reads = Arc::clone(&alive);
    let script = Script::with(move |_| {
        let _alive = Arc::clone(&of_reads);
        Box::pin(Receiver {
            _alive,
            waker: None,
        })
    });
    let hub = started(builder(&script), &script, id(90));
    let mut clients: Vec<_> = (0..2)
        .map(|_| Client::open(hub.subscribe("a").after(id(1))))
        .collect();
    for client in &mut clients {
        client.drain();
    }
    assert_eq!(Arc::strong_count(&alive), 3, "one read for both");
    clients.pop();
    assert_eq!(Arc::strong_count(&alive), 3);
    clients.pop();
    assert_eq!(Arc::strong_count(&alive), 2);
}

#[test]
fn a_read_that_calls_for_its_next_poll_leaves_the_thread_to_others() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let script = Script::with(move |after| {
        let (polls, after) = (Arc::clone(&counted), after.clone());
        Box::pin(poll_fn(move |cx| {
            // As a runtime's own futures do when their task has had its share.
            if polls.fetch_add(1, Ordering::SeqCst) < 10_000 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(nothing_after(&after)))
        }))
    });
    let hub = started(builder(&script), &script, id(90));
    let mut client = Client::open(hub.subscribe("a").after(id(1)));
    let _opening = client.poll();
    assert_eq!(client.poll(), Poll::Pending);
    assert!(client.was_woken());
    assert!(polls.load(Ordering::SeqCst) <= 2, "{polls:?}");
}

/// One looks while another polls the read, which calls for its next poll: it must not depend on the
/// other.
#[test]
fn who_looked_while_another_polled_the_read_is_woken() {
    let polls = Arc::new(AtomicUsize::new(0));
    let other: Arc<Mutex<Option<Client>>> = Arc::default();
    let script = {
        let (polls, other) = (Arc::clone(&polls), Arc::clone(&other));
        Script::with(move |_| {
            let (polls, other) = (Arc::clone(&polls), Arc::clone(&other));
            Box::pin(poll_fn(move |cx| {
                let count = polls.fetch_add(1, Ordering::SeqCst);
                if count > 2 {
                    let page = Page::new(None, vec![record("a", id(90))], id(90));
                    return Poll::Ready(Ok(page));
                }
                let mut other = other.lock().expect("not poisoned");
                if let Some(other) = other.as_mut().filter(|_| count == 2) {
                    let _opening = other.poll();
                    cx.waker().wake_by_ref();
                    assert_eq!(other.poll(), Poll::Pending);
                    other.was_woken();
                }
                Poll::Pending
            }))
        })
    };
    let hub = started(builder(&script), &script, id(90));
    let open = || Client::open(hub.subscribe("a").after(id(1)));
    let mut client = open();
    client.drain();
    *other.lock().expect("not poisoned") = Some(open());
    polls.store(2, Ordering::SeqCst);
    let _ = client.poll();
    // It is never polled again.
    let mut other = other.lock().expect("not poisoned").take().expect("there");
    assert!(other.was_woken());
    assert_eq!(brief(&other.drain()), "#90");
    drop(client);
}

#[test]
fn who_is_beyond_the_window_is_told_of_nothing_that_it_has() {
    for policy in [
        LagPolicy::Resume,
        LagPolicy::SkipToLatest,
        LagPolicy::Disconnect,
    ] {
        let script = nothing();
        let hub = started(builder(&script).history(1).on_lag(policy), &script, id(90));
        let mut client = Client::open(hub.subscribe("a").after(id(100)));
        assert_eq!(brief(&client.drain()), "");
        // The window lets go of what it has seen.
        script.brings((91..100).map(|minor| ("a", id(minor))));
        wait_until_at(&hub, id(99));
        assert_eq!(brief(&client.drain()), "", "{policy:?}");
        script.brings([("a", id(100)), ("a", id(101))]);
        wait_until_at(&hub, id(101));
        assert_eq!(brief(&client.drain()), "#101", "{policy:?}");
    }
}

#[test]
fn a_topic_that_is_forgotten_holds_nobody_up() {
    let pages = |after: &LastEventId| {
        let after = after.id().expect("an id");
        let left = [record("a.x", id(101))];
        let left = left.into_iter().filter(|record| record.id() > after);
        Page::new(None, left.collect(), after.max(id(103)))
    };
    let is_open = Arc::new(AtomicBool::new(false));
    let opens = Arc::clone(&is_open);
    let script = Script::new(move |after| match opens.load(Ordering::SeqCst) {
        true => pages(after),
        false => nothing_after(after),
    });
    let hub = started(builder(&script).max_topics(2), &script, id(90));
    let _named = hub.subscribe("a.x").open().expect("open");
    let mut client = Client::open(hub.subscribe("a.*").after(id(100)));
    assert_eq!(brief(&client.drain()), "");
    is_open.store(true, Ordering::SeqCst);
    // The last has to have the place of the one before it.
    script.brings([
        ("a.x", id(100)),
        ("a.x", id(101)),
        ("b", id(102)),
        ("c", id(103)),
    ]);
    wait_until_at(&hub, id(103));
    assert_eq!(brief(&client.drain()), "#101");
}

#[test]
fn a_hole_of_the_next_life_is_told_of_too() {
    let script = Script::new(|after| match after.id().expect("an id").minor {
        1 => {
            let gap = Gap::new(GapReason::Expired, Some("7-1"), id(50));
            Page::new(Some(gap), vec![record("a", id(51))], id(51))
        }
        _ => {
            let gap = Gap::new(GapReason::Ahead, Some("7-51"), id(10));
            Page::new(Some(gap), vec![record("a", id(11))], id(11))
        }
    });
    let hub = started(builder(&script), &script, id(90));
    let mut client = Client::open(hub.subscribe("a").after(id(1)));
    let seen = read(&mut client, 1);
    assert_eq!(brief(&seen), "gap:expired>50 #51");
    // Restored from a copy: the log has smaller ids than before.
    script.starts(id(9));
    script.brings([("a", id(10)), ("a", id(11))]);
    wait_until_at(&hub, id(11));
    assert_eq!(brief(&client.drain()), "gap:ahead>10 #11");
}

#[test]
fn a_tail_that_ends_or_panics_is_opened_again_where_it_stopped() {
    let script = nothing();
    script.tail_does(Does::Ends);
    let hub = builder(&script).build();
    let mut client = Client::open(hub.subscribe("a"));
    assert_eq!(brief(&client.drain()), "");
    wait_for("the second tail", || script.begun().get(1).map(|_| ()));
    script.starts(id(90));
    script.brings([("a", id(91))]);
    wait_until_at(&hub, id(91));
    script.tail_does(Does::Panics);
    wait_for("the third tail", || script.begun().get(2).map(|_| ()));
    script.starts(id(91));
    script.brings([("a", id(91)), ("a", id(92))]);
    assert_eq!(brief(&read(&mut client, 2)), "#91 #92");
    assert_eq!(script.begun(), [None, None, Some(id(91))]);
}

#[test]
fn closing_does_not_wait_for_a_tail_that_always_has_more() {
    let script = nothing();
    let hub = started(builder(&script).history(10), &script, id(90));
    let mut client = Client::open(hub.subscribe("b"));
    script.tail_does(Does::BringsForEver(id(91)));
    hub.close();
    wait_for("the end", || {
        let _ = client.poll();
        client.has_ended().then_some(())
    });
}

#[test]
fn a_waker_may_ask_the_broadcaster_when_the_log_begins_anew() {
    struct Asks(Broadcaster, AtomicBool);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            let _ = self.0.last_id();
            self.1.store(true, Ordering::SeqCst);
        }
    }

    let script = nothing();
    let hub = started(builder(&script), &script, id(90));
    let asks = Arc::new(Asks(hub.clone(), AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&asks));
    let mut subscriber = hub.subscribe("a").open().expect("open");
    let mut cx = Context::from_waker(&waker);
    while Pin::new(&mut subscriber).poll_next(&mut cx).is_ready() {}
    script.starts(id(500));
    wait_for("the answer", || asks.1.load(Ordering::SeqCst).then_some(()));
}

#[test]
fn a_page_that_was_under_way_does_not_do_for_who_published_since() {
    let log: Arc<Mutex<Vec<_>>> = Arc::default();
    let is_held = Arc::new(AtomicBool::new(true));
    let script = {
        let (log, is_held) = (Arc::clone(&log), Arc::clone(&is_held));
        Script::with(move |after| {
            let (log, is_held) = (Arc::clone(&log), Arc::clone(&is_held));
            let after = after.clone();
            Box::pin(async move {
                let records = log.lock().expect("not poisoned").clone();
                let last = after.id().expect("an id").max(id(90));
                let last = records.last().map_or(last, fanfare_core::Record::id);
                poll_fn(|_| match is_held.load(Ordering::SeqCst) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
                Ok(Page::new(None, records, last))
            })
        })
    };
    let hub = started(builder(&script), &script, id(90));
    let (_, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut before = Box::pin(hub.replay("a", id(1), 10));
    assert!(before.as_mut().poll(&mut cx).is_pending());

    script.gives(id(91));
    let published = block_on(hub.publish("a", Event::data("a"))).expect("up");
    log.lock()
        .expect("not poisoned")
        .push(record("a", published));
    let mut after = Box::pin(hub.replay("a", id(1), 10));
    assert!(after.as_mut().poll(&mut cx).is_pending());
    is_held.store(false, Ordering::SeqCst);
    assert_eq!(block_on(before).expect("up").records.len(), 0);
    assert_eq!(block_on(after).expect("up").last, published);
}

#[test]
fn age_empties_the_window_though_nobody_is_there() {
    let (script, timer) = (nothing(), ManualTimer::new());
    let age = Duration::from_secs(10);
    let builder = builder(&script).timer(timer.clone());
    let builder = builder.history(Retention::new().age(age));
    let hub = started(builder, &script, id(90));
    script.brings([("a", id(91))]);
    wait_until_at(&hub, id(91));
    wait_for("the sweep", || {
        timer.advance(age);
        hub.stats().topics.is_empty().then_some(())
    });
}

#[test]
fn pages_without_records_leave_the_thread_to_others() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let script = Script::new(move |after| {
        counted.fetch_add(1, Ordering::SeqCst);
        let next = after.id().expect("an id").minor + 1;
        Page::new(None, vec![], id(next))
    });
    let hub = started(builder(&script), &script, id(1_000));
    let mut client = Client::open(hub.subscribe("a").after(id(1)));
    let _opening = client.poll();
    assert_eq!(client.poll(), Poll::Pending);
    assert!(client.was_woken());
    assert!(reads.load(Ordering::SeqCst) <= 2, "{reads:?}");
    assert_eq!(brief(&client.drain()), "");
    script.brings([("a", id(1_001))]);
    assert_eq!(ids(&read(&mut client, 1)), [id(1_001)]);
}

#[test]
fn pages_that_lead_nowhere_are_not_read_without_a_pause() {
    let page = |_: &LastEventId| Page::new(None, vec![record("a", id(6))], id(5));
    let script = Script::new(page);
    // Its time stands still.
    let builder = builder(&script).timer(ManualTimer::new());
    let hub = started(builder, &script, id(90));
    let mut client = Client::open(hub.subscribe("a").after(id(5)));
    assert_eq!(brief(&client.drain()), "#6");
    assert_eq!(client.poll(), Poll::Pending);
}

#[test]
fn pages_are_kept_until_the_next_tick() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let script = Script::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Page::new(None, vec![record("a", id(90))], id(90))
    });
    let timer = ManualTimer::new();
    let keep_alive = KeepAlive::every(Duration::from_secs(10));
    let builder = builder(&script).keep_alive(keep_alive).timer(timer.clone());
    let hub = started(builder, &script, id(90));
    let reads_of_one_more = || {
        let mut client = Client::open(hub.subscribe("a").after(id(1)));
        assert_eq!(brief(&client.drain()), "#90");
        reads.load(Ordering::SeqCst)
    };
    assert_eq!((reads_of_one_more(), reads_of_one_more()), (1, 1));
    timer.advance(Duration::from_secs(5));
    assert_eq!((reads_of_one_more(), reads_of_one_more()), (2, 2));
}

#[test]
fn many_records_that_come_together_wake_a_crowd_once() {
    #[derive(Clone, Debug, Default)]
    struct Counts(Arc<AtomicUsize>);

    impl Timer for Counts {
        fn wake_at(&self, _: Instant, waker: Waker) -> Result<(), Unscheduled> {
            self.0.fetch_add(1, Ordering::SeqCst);
            waker.wake();
            Ok(())
        }
    }

    let (script, timer) = (nothing(), Counts::default());
    let hub = started(builder(&script).timer(timer.clone()), &script, id(90));
    let open = |_| Client::open(hub.subscribe("*"));
    let mut crowd: Vec<_> = (0..1_100).map(open).collect();
    for client in &mut crowd {
        client.drain();
    }
    let before = timer.0.load(Ordering::SeqCst);
    let topics = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    script.brings(topics.into_iter().zip((91..).map(id)));
    wait_until_at(&hub, id(102));
    wait_for("the crowd", || crowd[0].was_woken().then_some(()));
    assert_eq!(timer.0.load(Ordering::SeqCst) - before, 1);
    assert_eq!(crowd[1_099].drain().len(), 12);
}

#[test]
fn who_is_overtaken_on_its_way_is_told_from_where_it_is() {
    let script = Script::new(|after| match after.id().expect("an id").minor {
        1 => Page::new(None, vec![record("a", id(2))], id(2)),
        _ => {
            let gap = Gap::new(GapReason::Expired, after.as_str(), id(89));
            Page::new(Some(gap), vec![record("a", id(90))], id(90))
        }
    });
    let hub = started(builder(&script), &script, id(90));
    let mut client = Client::open(hub.subscribe("a").after(id(1)));
    let seen = client.drain();
    assert_eq!(brief(&seen), "#2 gap:lagged>89 #90");
    let from = seen.iter().find_map(|seen| match seen {
        Seen::Gap { from, .. } => from.clone(),
        _ => None,
    });
    assert_eq!(from, Some(id(2).to_string()));
}

/// The window is behind: it still has what the history has let go of.
#[test]
fn a_gap_that_was_told_is_not_delivered_by_a_window_that_lags() {
    let script = Script::new(|after| {
        let gap = Some(Gap::new(GapReason::Expired, after.as_str(), id(95)));
        match after.id().expect("an id").minor {
            1 => Page::new(gap, vec![record("a", id(92))], id(92)),
            92 => Page::new(gap, vec![record("a", id(96))], id(96)),
            _ => nothing_after(after),
        }
    });
    let hub = started(builder(&script), &script, id(90));
    script.brings((91..=98).map(|minor| ("a", id(minor))));
    wait_until_at(&hub, id(98));
    let mut client = Client::open(hub.subscribe("a").after(id(1)));
    assert_eq!(brief(&client.drain()), "gap:expired>95 #92 #96 #97 #98");
}

/// A page is kept that was read before the history let go of what is in it.
#[test]
fn a_gap_that_was_told_is_not_delivered_by_a_page_that_was_read_before() {
    let is_evicted = Arc::new(AtomicBool::new(false));
    let evicted = Arc::clone(&is_evicted);
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let script = Script::new(move |after| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_evicted = evicted.load(Ordering::SeqCst);
        let gap = is_evicted.then(|| Gap::new(GapReason::Expired, after.as_str(), id(95)));
        let left = if is_evicted { 96..=96 } else { 93..=96 };
        match after.id().expect("an id").minor {
            1 => Page::new(gap, vec![record("a", id(92))], id(92)),
            92 => Page::new(gap, left.map(|n| record("a", id(n))).collect(), id(96)),
            _ => Page::new(None, vec![], id(100)),
        }
    });
    let hub = started(builder(&script), &script, id(100));
    let open = |at| Client::open(hub.subscribe("a").after(id(at)));
    assert_eq!(brief(&open(92).drain()), "#93 #94 #95 #96");
    is_evicted.store(true, Ordering::SeqCst);
    assert_eq!(brief(&open(1).drain()), "gap:expired>95 #92 #96");
    let read = reads.load(Ordering::SeqCst);
    // The page is read anew once, whoever comes.
    for _ in 0..3 {
        assert_eq!(brief(&open(1).drain()), "gap:expired>95 #92 #96");
    }
    let more = reads.load(Ordering::SeqCst) - read;
    assert!(more <= 3, "{more} reads, of the end of the log");
}

/// Several threads wait for the same reads, which call at any time, and some leave: whoever stays is
/// woken. Nobody here polls without having been called.
#[test]
fn whoever_waits_for_a_read_is_woken_whoever_leaves() {
    const ROUNDS: u64 = 300;
    let calls: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let script = {
        let calls = Arc::clone(&calls);
        Script::with(move |_| {
            let (calls, mut left) = (Arc::clone(&calls), 4);
            Box::pin(poll_fn(move |cx| {
                left -= 1;
                if left == 0 {
                    let page = Page::new(None, vec![record("a", id(1_000))], id(1_000));
                    return Poll::Ready(Ok(page));
                }
                let mut calls = calls.lock().expect("not poisoned");
                calls.push(cx.waker().clone());
                Poll::Pending
            }))
        })
    };
    let hub = started(builder(&script), &script, id(1_000));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let engine = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let called = std::mem::take(&mut *calls.lock().expect("not poisoned"));
                called.into_iter().for_each(Waker::wake);
                thread::yield_now();
            }
        });
        let clients: Vec<_> = (0..4)
            .map(|which| {
                let hub = &hub;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mut client = Client::open(hub.subscribe("a").after(id(round)));
                        let _opening = client.poll();
                        if (round + which) % 3 == 0 {
                            let _ = client.poll();
                            continue;
                        }
                        let next = within(DEADLINE, client.next());
                        assert_eq!(brief(&block_on(next)), "#1000", "round {round}");
                    }
                })
            })
            .collect();
        let results: Vec<_> = clients
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::SeqCst);
        engine.join().expect("wakes");
        assert!(results.iter().all(Result::is_ok));
    });
}
