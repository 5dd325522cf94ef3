//! Publish against poll against drop against close, in every interleaving: no wake-up is lost.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p fanfare-core --test loom --release`. A sleeper
//! that nobody wakes is found as a deadlock.
#![cfg(loom)]

use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use fanfare_core::broadcaster::Drain;
use fanfare_core::{Broadcaster, Event, KeepAlive, PublishError, Subscriber};
use futures_core::Stream;
use loom::sync::Notify;
use loom::thread;

/// Explores every interleaving with at most this many preemptions: the bugs that are there show
/// with two.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(f);
}

/// An executor of one task. Its waker agrees that it equals its clone, which loom's own does not,
/// so that a task sleeps a second time without a lock.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Task(Notify);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }
    let task = Arc::new(Task(Notify::new()));
    let waker = Waker::from(Arc::clone(&task));
    assert!(waker.will_wake(&waker.clone()));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        task.0.wait();
    }
}

/// Without a timer's thread, which is no part of the model, and without an opening to read.
fn hub(records: usize) -> Broadcaster {
    Broadcaster::builder()
        .history(records)
        .keep_alive(KeepAlive::off())
        .retry(None)
        .build()
}

fn subscribe(hub: &Broadcaster) -> Subscriber {
    let mut subscriber = hub.subscribe("t").open().expect("open");
    assert_eq!(block_on(next(&mut subscriber)).expect("the opening"), ":\n");
    subscriber
}

async fn next(subscriber: &mut Subscriber) -> Option<String> {
    struct Next<'a>(&'a mut Subscriber);
    impl Future for Next<'_> {
        type Output = Option<String>;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let bytes = Pin::new(&mut *self.0).poll_next(cx);
            bytes.map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
    Next(subscriber).await
}

/// Reads until the data of `n` events, or gap events, have arrived. One task, and so one waker,
/// all along: a second sleep finds the first one's place.
fn read(subscriber: &mut Subscriber, n: usize) -> Vec<String> {
    block_on(async {
        let mut data = Vec::new();
        while data.len() < n {
            let text = next(subscriber).await.expect("open");
            let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
            data.extend(lines.map(str::to_owned));
        }
        data
    })
}

#[test]
fn publish_against_poll() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        let publisher = thread::spawn(move || {
            hub.try_publish("t", Event::data("1")).expect("open");
        });
        assert_eq!(read(&mut subscriber, 1), ["1"]);
        publisher.join().expect("no panic");
    });
}

/// The second sleep is in the place of the first, marked without a lock: only the fences order it
/// against the publisher.
#[test]
fn publish_against_a_second_sleep() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        block_on(async {
            let asleep = |cx: &mut Context<'_>| {
                Poll::Ready(Pin::new(&mut subscriber).poll_next(cx).is_pending())
            };
            assert!(std::future::poll_fn(asleep).await, "a first sleep");
            hub.try_publish("t", Event::data("1")).expect("open");
            assert!(next(&mut subscriber)
                .await
                .expect("open")
                .contains("data: 1"));
            let publisher = thread::spawn(move || {
                hub.try_publish("t", Event::data("2")).expect("open");
            });
            assert!(next(&mut subscriber)
                .await
                .expect("open")
                .contains("data: 2"));
            publisher.join().expect("no panic");
        });
    });
}

#[test]
fn publish_twice_against_poll() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        let publisher = thread::spawn(move || {
            hub.try_publish("t", Event::data("1")).expect("open");
            hub.try_publish("t", Event::data("2")).expect("open");
        });
        assert_eq!(read(&mut subscriber, 2), ["1", "2"]);
        publisher.join().expect("no panic");
    });
}

#[test]
fn two_publishers_against_poll() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        let publishers = ["1", "2"].map(|data| {
            let hub = hub.clone();
            thread::spawn(move || hub.try_publish("t", Event::data(data)).expect("open"))
        });
        let mut data = read(&mut subscriber, 2);
        data.sort();
        assert_eq!(data, ["1", "2"]);
        for publisher in publishers {
            publisher.join().expect("no panic");
        }
    });
}

#[test]
fn eviction_against_poll() {
    model(|| {
        let hub = hub(1);
        let mut subscriber = subscribe(&hub);
        let publisher = thread::spawn(move || {
            hub.try_publish("t", Event::data("1")).expect("open");
            hub.try_publish("t", Event::data("2")).expect("open");
        });
        let data = read(&mut subscriber, 2);
        assert_eq!(data[1], "2");
        assert!(data[0] == "1" || data[0].contains("lagged"), "{data:?}");
        publisher.join().expect("no panic");
    });
}

#[test]
fn close_against_publish_against_poll() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        let publisher = thread::spawn({
            let hub = hub.clone();
            move || match hub.try_publish("t", Event::data("1")) {
                Ok(_) => true,
                Err(PublishError::Closed) => false,
                Err(error) => panic!("{error}"),
            }
        });
        let closer = thread::spawn(move || hub.close());
        let received = block_on(async {
            let mut received = false;
            while let Some(text) = next(&mut subscriber).await {
                assert!(!received && text.ends_with("data: 1\n\n"), "{text:?}");
                received = true;
            }
            received
        });
        assert_eq!(
            publisher.join().expect("no panic"),
            received,
            "published is received"
        );
        closer.join().expect("no panic");
    });
}

#[test]
fn drop_against_publish_against_poll() {
    model(|| {
        let hub = hub(8);
        let leaves = subscribe(&hub);
        let mut stays = subscribe(&hub);
        let leaver = thread::spawn(move || drop(leaves));
        let publisher = thread::spawn({
            let hub = hub.clone();
            move || hub.try_publish("t", Event::data("1")).expect("open")
        });
        assert_eq!(read(&mut stays, 1), ["1"]);
        leaver.join().expect("no panic");
        publisher.join().expect("no panic");
        drop(stays);
        assert_eq!(hub.stats().subscribers, 0);
    });
}

#[test]
fn subscribe_against_publish() {
    model(|| {
        let hub = hub(8);
        let first = hub.try_publish("t", Event::data("1")).expect("open");
        let publisher = thread::spawn({
            let hub = hub.clone();
            move || hub.try_publish("t", Event::data("2")).expect("open")
        });
        // Whether it subscribes before or after the second event, it receives it once.
        let mut subscriber = hub.subscribe("t").after(first).open().expect("open");
        assert_eq!(read(&mut subscriber, 1), ["2"]);
        publisher.join().expect("no panic");
    });
}

#[test]
fn the_wait_for_the_end_against_the_last_drop() {
    model(|| {
        let hub = hub(8);
        let subscriber = subscribe(&hub);
        let ended = hub.ended(std::time::Duration::from_secs(3_600));
        hub.close();
        let leaving = thread::spawn(move || drop(subscriber));
        block_on(ended);
        leaving.join().expect("no panic");
    });
}

#[test]
fn a_drain_against_the_last_drop() {
    model(|| {
        let hub = hub(8);
        let subscriber = subscribe(&hub);
        let leaving = thread::spawn(move || drop(subscriber));
        let drained = block_on(hub.drain(Drain::over(std::time::Duration::ZERO)));
        assert_eq!(drained.forced, 0);
        leaving.join().expect("no panic");
    });
}

/// Who is disconnected while it falls asleep for the first time, or again, is woken.
#[test]
fn disconnect_against_poll() {
    for sleeps_before in [false, true] {
        model(move || {
            let hub = hub(8);
            let opened = hub.subscribe("t").key("k").open();
            let mut subscriber = opened.expect("open");
            block_on(async {
                assert_eq!(next(&mut subscriber).await.expect("the opening"), ":\n");
                if sleeps_before {
                    let asleep = |cx: &mut Context<'_>| {
                        Poll::Ready(Pin::new(&mut subscriber).poll_next(cx).is_pending())
                    };
                    assert!(std::future::poll_fn(asleep).await, "a first sleep");
                }
                let ending = thread::spawn(move || {
                    assert_eq!(hub.disconnect("k"), 1);
                    hub
                });
                assert_eq!(next(&mut subscriber).await, None);
                drop(ending.join().expect("no panic"));
            });
        });
    }
}

/// Who is admitted as a drain begins is ended by it.
#[test]
fn a_drain_against_an_admission() {
    model(|| {
        let hub = hub(8);
        let coming = thread::spawn({
            let hub = hub.clone();
            move || {
                let Ok(mut subscriber) = hub.subscribe("t").open() else {
                    return 0;
                };
                block_on(async { while next(&mut subscriber).await.is_some() {} });
                1
            }
        });
        let drained = block_on(hub.drain(Drain::over(std::time::Duration::ZERO)));
        let admitted = coming.join().expect("no panic");
        assert!(drained.streams >= admitted, "it is waited for");
        assert_eq!(drained.forced, 0);
    });
}
