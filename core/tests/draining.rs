//! A drain ends all streams, spread over its window, within its bound.

mod support;

use std::collections::HashSet;
use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};
use std::time::Duration;

use fanfare_core::broadcaster::{Drain, Drained, EndReason};
use fanfare_core::timer::ManualTimer;
use fanfare_core::{
    channel, Broadcaster, Event, KeepAlive, RefusedReason, Subscriber, WhenRefused,
};
use futures_lite::future;
use support::{next_now, publish, Client, Seen, Wakes};

fn quiet(timer: &ManualTimer) -> Broadcaster {
    Broadcaster::builder()
        .timer(timer.clone())
        .keep_alive(KeepAlive::off())
        .build()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let (_, waker) = Wakes::new();
    future.poll(&mut Context::from_waker(&waker))
}

fn asleep(hub: &Broadcaster, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count)
        .map(|_| Client::open(hub.subscribe("a")))
        .collect();
    for client in &mut clients {
        assert_eq!(client.drain_brief(), "");
    }
    clients
}

#[test]
fn ends_are_spread_evenly_over_the_window() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 10_000);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(5))));
    assert!(poll(draining.as_mut()).is_pending());
    assert!(hub.is_draining() && !hub.is_closed());
    let mut retries = HashSet::new();
    let mut histogram = Vec::new();
    for _ in 0..10 {
        timer.advance(Duration::from_millis(500));
        let before = clients.len();
        clients.retain_mut(|client| {
            if !client.was_woken() {
                return true;
            }
            let seen = client.drain();
            match seen[..] {
                // Others were there first.
                [] => true,
                [Seen::Retry(delay), Seen::End] => {
                    retries.insert(delay);
                    false
                }
                _ => panic!("{seen:?}"),
            }
        });
        histogram.push(before - clients.len());
    }
    println!("ends in each tenth of the window: {histogram:?}");
    assert_eq!(histogram.iter().sum::<usize>(), 10_000);
    assert!(histogram.iter().all(|ends| (900..=1_100).contains(ends)));
    assert!(retries.len() > 500, "{} different retries", retries.len());
    let Poll::Ready(drained) = poll(draining) else {
        panic!("everyone has gone");
    };
    assert_eq!((drained.streams, drained.forced), (10_000, 0));
    assert_eq!(drained.took, Duration::from_secs(5));
    assert!(hub.is_closed());
    assert_eq!(hub.stats().ended.of(EndReason::Drained), 10_000);
}

#[test]
fn those_who_leave_by_themselves_hurry_nobody_else() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 1_000);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(5))));
    assert!(poll(draining.as_mut()).is_pending());
    clients.truncate(500);
    let mut histogram = Vec::new();
    for _ in 0..10 {
        timer.advance(Duration::from_millis(500));
        let before = clients.len();
        clients.retain_mut(|client| !client.drain().contains(&Seen::End));
        histogram.push(before - clients.len());
    }
    assert!(
        histogram.iter().all(|ends| (45..=55).contains(ends)),
        "{histogram:?}"
    );
}

#[test]
fn until_its_end_a_stream_receives_what_is_published() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 10);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(1))));
    assert!(poll(draining.as_mut()).is_pending());
    let mut received = vec![0; 10];
    let mut published = 0;
    let mut open: HashSet<usize> = (0..10).collect();
    while !open.is_empty() {
        publish(&hub, "a");
        published += 1;
        timer.advance(Duration::from_millis(100));
        open.retain(|n| {
            let seen = clients[*n].drain();
            let events = seen
                .iter()
                .filter(|seen| matches!(seen, Seen::Event { .. }));
            received[*n] += events.count();
            assert_eq!(received[*n], published, "up to its end, everything");
            !seen.contains(&Seen::End)
        });
    }
    let different: HashSet<_> = received.into_iter().collect();
    assert!(
        different.len() >= 9,
        "they ended one after the other: {different:?}"
    );
}

#[test]
fn those_who_come_during_it_are_sent_elsewhere_softly() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let _client = asleep(&hub, 1);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(5))));
    assert!(poll(draining.as_mut()).is_pending());
    let refused = hub.subscribe("a").open().expect_err("draining");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert_eq!(refused.answer(), WhenRefused::Soft);
    let away = hub.subscribe("a").when_refused(WhenRefused::Away).open();
    assert_eq!(away.expect_err("draining").answer(), WhenRefused::Away);
    let private = hub.private(futures_lite::stream::pending::<Event>()).open();
    assert!(private.is_err());
    assert_eq!(hub.stats().subscribers, 1);
    let progress = hub.stats().drain.expect("under way");
    assert_eq!((progress.streams, progress.open), (1, 1));
}

#[test]
fn who_does_not_read_is_waited_for_until_the_bound_and_not_longer() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 3);
    let second = Duration::from_secs(1);
    let mut draining = pin!(hub.drain(Drain::over(5 * second).bound(second)));
    let mut serving = pin!(hub.serve(future::pending::<Result<(), ()>>(), 60 * second));
    assert!(poll(draining.as_mut()).is_pending());
    timer.advance(second / 2);
    // One leaves, and two stay without reading.
    clients.pop();
    assert!(poll(draining.as_mut()).is_pending());
    assert!(poll(serving.as_mut()).is_pending());
    timer.advance(second / 2);
    let Poll::Ready(Drained {
        streams,
        forced,
        took,
        ..
    }) = poll(draining)
    else {
        panic!("the bound has passed");
    };
    assert_eq!((streams, forced, took), (3, 2, second));
    assert_eq!(
        poll(serving),
        Poll::Ready(Ok(())),
        "nor does the server wait"
    );
    // Were they read after all, they end.
    for client in &mut clients {
        assert!(client.drain_brief().ends_with("end"));
    }
}

#[test]
fn ends_that_nobody_reads_are_offered_to_others() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 100);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(1))));
    assert!(poll(draining.as_mut()).is_pending());
    // Every other client's task is never polled again.
    let mut ended = 0;
    for _ in 0..40 {
        timer.advance(Duration::from_millis(20));
        for client in clients.iter_mut().step_by(2) {
            if client.was_woken() && client.drain_brief() == "retry end" {
                ended += 1;
            }
        }
    }
    // At the window's end there is one for everybody; before it, these can only be the others'.
    assert_eq!(ended, 50, "whoever reads has ended before the window's end");
}

#[test]
fn private_streams_come_to_their_own_end_within_the_grace() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let second = Duration::from_secs(1);
    let (mut finite, stream) = channel(4);
    let mut finite_body = hub.private(stream).open().expect("open");
    let (_endless, stream) = channel(4);
    let mut endless_body = hub.private(stream).open().expect("open");
    for body in [&mut finite_body, &mut endless_body] {
        let _opening = next_now(body);
    }
    let mut draining = pin!(hub.drain(Drain::over(second).grace(3 * second)));
    assert!(poll(draining.as_mut()).is_pending());
    timer.advance(2 * second);
    assert!(support::poll_now(&mut endless_body).is_pending(), "not yet");
    future::block_on(finite.send(Event::data("last"))).expect("still there");
    drop(finite);
    assert_eq!(next_now(&mut finite_body).expect("data"), "data: last\n\n");
    assert_eq!(next_now(&mut finite_body), None, "its own end");
    drop(finite_body);
    timer.advance(second);
    let farewell = next_now(&mut endless_body).expect("a retry");
    assert!(farewell.starts_with(b"retry: "));
    drop(endless_body);
    let Poll::Ready(drained) = poll(draining) else {
        panic!("everyone has gone");
    };
    assert_eq!((drained.streams, drained.forced), (2, 0));
    let ended = hub.stats().ended;
    assert_eq!(
        (ended.of(EndReason::Finished), ended.of(EndReason::Drained)),
        (1, 1)
    );
}

/// Private streams have an end of their own, and take none of those that are handed out.
#[test]
fn private_streams_do_not_hasten_the_ends_of_the_others() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let private: Vec<_> = (0..90)
        .map(|_| hub.private(futures_lite::stream::pending::<Event>()).open())
        .collect();
    let mut clients = asleep(&hub, 10);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(1))));
    assert!(poll(draining.as_mut()).is_pending());
    timer.advance(Duration::from_millis(500));
    let ended = clients.iter_mut().map(Client::drain_brief);
    assert_eq!(ended.filter(|seen| seen == "retry end").count(), 5);
    drop((clients, private));
    let Poll::Ready(drained) = poll(draining) else {
        panic!("everyone has gone");
    };
    assert_eq!(drained.streams, 100);
}

#[test]
fn at_the_cap_too_it_says_that_the_server_goes_away() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_subscribers(1)
        .build();
    let _client = asleep(&hub, 1);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(1))));
    assert!(poll(draining.as_mut()).is_pending());
    let refused = hub.subscribe("a").open().expect_err("draining");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert!(!refused.is_retryable(), "not by this process");
}

#[test]
fn no_window_is_too_long_and_none_too_short() {
    for window in [Duration::MAX, Duration::from_nanos(1), Duration::ZERO] {
        let longest = Drain::over(window).grace(window);
        for drain in [
            longest,
            longest.bound(window),
            longest.bound(Duration::ZERO),
        ] {
            let timer = ManualTimer::new();
            let hub = quiet(&timer);
            let (_producer, stream) = channel(1);
            let private = hub.private(stream).open().expect("open");
            let clients = asleep(&hub, 3);
            let mut draining = pin!(hub.drain(drain));
            if poll(draining.as_mut()).is_pending() {
                timer.advance(Duration::from_secs(1));
                drop((private, clients));
                assert!(poll(draining).is_ready(), "{drain:?}: nobody is left");
            }
        }
    }
}

#[test]
fn with_nobody_there_it_is_over_at_once() {
    let hub = quiet(&ManualTimer::new());
    let drained = future::block_on(hub.drain(Drain::over(Duration::from_secs(60))));
    assert_eq!((drained.streams, drained.forced), (0, 0));
    assert!(hub.is_closed());
}

#[test]
fn without_a_window_everybody_ends_at_once() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 100);
    let mut draining = pin!(hub.drain(Drain::over(Duration::ZERO)));
    assert!(poll(draining.as_mut()).is_pending());
    for mut client in clients.drain(..) {
        assert!(client.was_woken());
        assert_eq!(client.drain_brief(), "retry end");
    }
    assert!(poll(draining).is_ready());
}

#[test]
fn it_begins_with_the_signal() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 1);
    let (mut signal, received) = channel(1);
    let mut received = received;
    let signalled = std::future::poll_fn(move |cx| {
        futures_core::Stream::poll_next(Pin::new(&mut received), cx).map(|_| ())
    });
    let drain = Drain::over(Duration::from_secs(1));
    let mut shutdown = pin!(hub.drain_when(signalled, drain));
    assert!(poll(shutdown.as_mut()).is_pending());
    assert!(!hub.is_draining());
    future::block_on(signal.send(Event::data("now"))).expect("listened to");
    assert!(poll(shutdown.as_mut()).is_pending());
    assert!(hub.is_draining());
    timer.advance(Duration::from_secs(1));
    assert_eq!(clients[0].drain_brief(), "retry end");
    clients.clear();
    assert!(poll(shutdown).is_ready());
}

#[test]
fn a_close_during_it_ends_all_at_once() {
    let timer = ManualTimer::new();
    let hub = quiet(&timer);
    let mut clients = asleep(&hub, 10);
    let mut draining = pin!(hub.drain(Drain::over(Duration::from_secs(5))));
    assert!(poll(draining.as_mut()).is_pending());
    hub.close();
    for client in &mut clients {
        assert_eq!(client.drain_brief(), "retry end");
    }
}

/// On the real timer and real threads.
#[test]
fn a_drain_on_real_time_loses_nobody() {
    let hub = Broadcaster::new();
    let subscribers: Vec<Subscriber> = (0..200)
        .map(|_| hub.subscribe("a").open().expect("admitted"))
        .collect();
    let readers: Vec<_> = subscribers
        .into_iter()
        .map(|mut subscriber| {
            std::thread::spawn(move || {
                future::block_on(async {
                    while futures_lite::StreamExt::next(&mut subscriber)
                        .await
                        .is_some()
                    {}
                });
            })
        })
        .collect();
    let drain = Drain::over(Duration::from_millis(300)).bound(support::DEADLINE);
    let drained = future::block_on(hub.drain(drain));
    for reader in readers {
        reader.join().expect("it ends");
    }
    assert_eq!((drained.streams, drained.forced), (200, 0));
}
