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
use fanfare_core::history::{Append, BoxFuture, BoxStream, History, HistoryError, Page, TailItem};
use fanfare_core::{
    Broadcaster, Event, EventId, KeepAlive, LastEventId, PublishError, Record, Subscriber, Topic,
    Topics,
};
use futures_core::Stream;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Mutex, Notify};
use loom::thread;

/// Explores every interleaving with at most this many preemptions: the bugs that are there show
/// with two.
const PREEMPTIONS: usize = 3;

fn model(f: impl Fn() + Sync + Send + 'static) {
    model_with(PREEMPTIONS, f);
}

fn model_with(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
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

/// What is published once a key has been disconnected reaches none of its streams, also one that
/// has just found itself in its right.
#[test]
fn disconnect_then_publish_against_poll() {
    model(|| {
        let hub = hub(8);
        let opened = hub.subscribe("t").key("k").open();
        let mut subscriber = opened.expect("open");
        block_on(async {
            assert_eq!(next(&mut subscriber).await.expect("the opening"), ":\n");
            hub.try_publish("t", Event::data("1")).expect("open");
            let ending = thread::spawn(move || {
                hub.disconnect("k");
                hub.try_publish("t", Event::data("2")).expect("open");
                hub
            });
            while let Some(text) = next(&mut subscriber).await {
                assert!(!text.contains("data: 2"), "{text}");
            }
            drop(ending.join().expect("no panic"));
        });
    });
}

/// A stream that a drain ends has what was published before it.
#[test]
fn publish_then_drain_against_poll() {
    model(|| {
        let hub = hub(8);
        let mut subscriber = subscribe(&hub);
        let draining = thread::spawn(move || {
            hub.try_publish("t", Event::data("1")).expect("open");
            block_on(hub.drain(Drain::over(std::time::Duration::ZERO)))
        });
        assert_eq!(read(&mut subscriber, 1), ["1"]);
        assert_eq!(block_on(next(&mut subscriber)), None);
        drop(subscriber);
        assert_eq!(draining.join().expect("no panic").forced, 0);
    });
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

/// A backend with one page, which is there when the engine says so.
#[derive(Debug, Default)]
struct Engine {
    has_answered: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Whether a read calls for its next poll while it is polled, as a runtime's futures do.
    gives_way: bool,
}

impl Engine {
    /// Whoever was polled last is called.
    fn answer(&self) {
        self.has_answered.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().expect("not poisoned").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What the broadcaster is given; the engine's threads have it too.
#[derive(Debug)]
struct Behind(Arc<Engine>);

struct Reading {
    engine: Arc<Engine>,
    has_given_way: bool,
}

impl Future for Reading {
    type Output = Result<Page, HistoryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.engine.gives_way && !self.has_given_way {
            self.has_given_way = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *self.engine.waker.lock().expect("not poisoned") = Some(cx.waker().clone());
        if !self.engine.has_answered.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let (topic, id) = (Topic::from_static("t"), EventId::new(1, 2));
        let append = Append::new(topic.clone(), &Event::data("found"));
        let record = Record::from_block(id, topic, append.block());
        Poll::Ready(Ok(Page::new(None, vec![record], id)))
    }
}

impl History for Behind {
    fn append(&self, _: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async { Err(HistoryError::Closed) })
    }

    fn replay<'a>(
        &'a self,
        _: &'a Topics,
        _: &'a LastEventId,
        _: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        Box::pin(Reading {
            engine: Arc::clone(&self.0),
            has_given_way: false,
        })
    }

    fn tail(&self, _: Option<EventId>) -> BoxStream<'_, TailItem> {
        struct Nothing;
        impl Stream for Nothing {
            type Item = TailItem;
            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<TailItem>> {
                Poll::Pending
            }
        }
        Box::pin(Nothing)
    }
}

/// Two clients that ask for the same page; the broadcaster lives as long as they do.
fn two_who_return(engine: &Arc<Engine>) -> (Broadcaster, [Subscriber; 2]) {
    let builder = Broadcaster::builder()
        .keep_alive(KeepAlive::off())
        .retry(None);
    let hub = builder.backend(Behind(Arc::clone(engine))).build();
    let clients = [(); 2].map(|()| {
        let after = hub.subscribe("t").after(EventId::new(1, 1));
        let mut subscriber = after.open().expect("open");
        assert_eq!(block_on(next(&mut subscriber)).expect("the opening"), ":\n");
        subscriber
    });
    (hub, clients)
}

#[test]
fn a_shared_read_against_its_answer() {
    for gives_way in [false, true] {
        // With three it takes minutes.
        model_with(2, move || {
            let engine = Arc::new(Engine {
                gives_way,
                ..Engine::default()
            });
            let (_hub, [mut one, mut other]) = two_who_return(&engine);
            let reader = thread::spawn(move || assert_eq!(read(&mut other, 1), ["found"]));
            let answers = thread::spawn(move || engine.answer());
            assert_eq!(read(&mut one, 1), ["found"]);
            reader.join().expect("no panic");
            answers.join().expect("no panic");
        });
    }
}

/// Who leaves has perhaps been the one that polled the read last.
#[test]
fn a_shared_read_against_one_who_leaves() {
    model_with(2, || {
        let engine = Arc::new(Engine::default());
        let (_hub, [mut one, mut other]) = two_who_return(&engine);
        let leaver = thread::spawn(move || {
            struct Once<'a>(&'a mut Subscriber);
            impl Future for Once<'_> {
                type Output = ();
                fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                    let _ = Pin::new(&mut *self.0).poll_next(cx);
                    Poll::Ready(())
                }
            }
            block_on(Once(&mut other));
            drop(other);
        });
        let answers = thread::spawn(move || engine.answer());
        assert_eq!(read(&mut one, 1), ["found"]);
        leaver.join().expect("no panic");
        answers.join().expect("no panic");
    });
}
