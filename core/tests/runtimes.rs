//! The same walk on every kind of executor: the core brings none and asks for none.

mod support;

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use fanfare_core::{
    channel, forward, Broadcaster, Event, EventId, EventSource, KeepAlive, LastEventId, SendError,
};
use futures_core::Stream;
use futures_lite::{future, StreamExt as _};
use futures_sink::Sink;
use support::{brief, next_now, poll_now, within, Client, Seen};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whatever goes wrong, no test hangs.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_tokio_with_many_threads() {
    let spawn = |task: Task| drop(tokio::spawn(task));
    let walked = tokio::spawn(within(DEADLINE, walk(spawn)));
    walked.await.expect("no panic");
}

#[tokio::test(flavor = "current_thread")]
async fn on_tokio_with_one_thread() {
    within(DEADLINE, walk(|task| drop(tokio::spawn(task)))).await;
}

#[test]
fn on_smol() {
    let spawn = |task: Task| smol::spawn(task).detach();
    smol::block_on(within(DEADLINE, walk(spawn)));
}

#[test]
fn on_no_runtime_at_all() {
    let spawn = |task: Task| drop(std::thread::spawn(|| future::block_on(task)));
    future::block_on(within(DEADLINE, walk(spawn)));
}

/// Publish, replay, live, lag, signs of life, the end; then a crowd.
async fn walk(spawn: impl Fn(Task)) {
    let hub = Broadcaster::builder()
        .history(3)
        .keep_alive(KeepAlive::every(Duration::from_millis(20)))
        .build();
    let publish = |count: usize| {
        let hub = hub.clone();
        async move {
            for _ in 0..count {
                hub.publish("a", Event::data("x")).await.expect("published");
            }
        }
    };

    publish(2).await;
    let mut client = Client::open(hub.subscribe("a").from_oldest());
    assert_eq!(read_to(&mut client, "#2").await, "#1 #2", "replay");

    spawn(Box::pin(publish(1)));
    assert_eq!(read_to(&mut client, "#3").await, "#3", "live");

    publish(7).await;
    let lagged = read_to(&mut client, "#10").await;
    assert_eq!(lagged, "gap:lagged>7 #8 #9 #10", "lag");

    for _ in 0..3 {
        assert_eq!(brief(&client.next().await), ":", "signs of life");
    }

    let to_close = hub.clone();
    spawn(Box::pin(async move { to_close.close() }));
    assert_eq!(read_to(&mut client, "end").await, "retry end");
    drop(client);
    hub.ended(DEADLINE).await;

    crowd(spawn).await;
}

/// Reads until it sees `last`. Signs of life may come at any time, and are left out.
async fn read_to(client: &mut Client, last: &str) -> String {
    let mut all = Vec::new();
    while !all
        .last()
        .is_some_and(|seen: &Seen| seen.to_string() == last)
    {
        let seen = client.next().await;
        all.extend(seen.into_iter().filter(|s| !matches!(s, Seen::Comment(_))));
    }
    brief(&all)
}

/// Many tasks that follow, several that publish, and an end for all.
async fn crowd(spawn: impl Fn(Task)) {
    const FOLLOWERS: usize = 20;
    const PUBLISHERS: usize = 4;
    const EVENTS: usize = 50;
    let hub = Broadcaster::new();
    let events = Arc::new(AtomicUsize::new(0));
    for _ in 0..FOLLOWERS {
        let mut client = Client::open(hub.subscribe("a"));
        let events = Arc::clone(&events);
        spawn(Box::pin(async move {
            while !client.has_ended() {
                let seen = client.next().await;
                let new = seen.iter().filter(|s| matches!(s, Seen::Event { .. }));
                events.fetch_add(new.count(), Ordering::SeqCst);
            }
        }));
    }
    let published = Arc::new(AtomicUsize::new(0));
    for _ in 0..PUBLISHERS {
        let (hub, published) = (hub.clone(), Arc::clone(&published));
        spawn(Box::pin(async move {
            for _ in 0..EVENTS {
                hub.publish("a", Event::data("x")).await.expect("published");
                future::yield_now().await;
            }
            // The last one closes.
            if published.fetch_add(1, Ordering::SeqCst) + 1 == PUBLISHERS {
                hub.close();
            }
        }));
    }
    hub.ended(DEADLINE).await;
    assert_eq!(
        events.load(Ordering::SeqCst),
        FOLLOWERS * PUBLISHERS * EVENTS
    );
}

// --- Producers -------------------------------------------------------------------------------

fn countdown() -> impl Stream<Item = Event> {
    stream! {
        for n in (0..3).rev() {
            future::yield_now().await;
            yield Event::data(n.to_string()).name("tick");
        }
    }
}

const COUNTDOWN: &str = "event: tick\ndata: 2\n\nevent: tick\ndata: 1\n\nevent: tick\ndata: 0\n\n";

#[test]
fn a_stream_is_forwarded_into_a_topic() {
    future::block_on(within(DEADLINE, async {
        let hub = Broadcaster::new();
        let mut client = Client::open(hub.subscribe("launch"));
        forward(countdown(), hub.topic("launch"))
            .await
            .expect("open");
        let seen = client.drain();
        let data: Vec<_> = seen
            .iter()
            .map(|seen| match seen {
                Seen::Event { name, data, .. } => (name.as_str(), data.as_str()),
                other => panic!("{other} is no event"),
            })
            .collect();
        assert_eq!(data, [("tick", "2"), ("tick", "1"), ("tick", "0")]);
        assert!(!client.has_ended(), "the topic belongs to others too");
    }));
}

#[test]
fn a_stream_is_forwarded_to_one_client_at_its_speed() {
    for capacity in [0, 1, 2, 16] {
        future::block_on(within(DEADLINE, async {
            let (client, stream) = channel(capacity);
            let read = stream.fold(Vec::new(), |mut all, bytes| {
                assert!(!bytes.is_empty());
                all.extend(bytes);
                all
            });
            let (sent, read) = future::zip(forward(countdown(), client), read).await;
            sent.expect("it was read to the end");
            assert_eq!(read, COUNTDOWN.as_bytes(), "capacity {capacity}");
        }));
    }
}

#[test]
fn forwarding_stops_when_nobody_can_receive_even_while_the_stream_has_nothing() {
    future::block_on(within(DEADLINE, async {
        let never = || futures_lite::stream::pending::<Event>();

        let hub = Broadcaster::new();
        let (sent, ()) = future::zip(forward(never(), hub.topic("a")), async {
            hub.close();
        })
        .await;
        assert!(matches!(sent, Err(SendError::Closed)));

        let (client, stream) = channel(1);
        let (sent, ()) = future::zip(forward(never(), client), async {
            drop(stream);
        })
        .await;
        assert!(matches!(sent, Err(SendError::Closed)));
    }));
}

/// What `futures::SinkExt::send` does.
async fn feed<S: Sink<Event, Error = SendError> + Unpin>(
    sink: &mut S,
    event: Event,
) -> Result<(), SendError> {
    poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await?;
    Pin::new(&mut *sink).start_send(event)?;
    poll_fn(|cx| Pin::new(&mut *sink).poll_flush(cx)).await
}

async fn close<S: Sink<Event, Error = SendError> + Unpin>(sink: &mut S) -> Result<(), SendError> {
    poll_fn(|cx| Pin::new(&mut *sink).poll_close(cx)).await
}

#[test]
fn every_source_is_a_sink() {
    future::block_on(within(DEADLINE, async {
        let hub = Broadcaster::new();
        let mut topic = hub.topic("a");
        feed(&mut topic, Event::data("1")).await.expect("open");
        close(&mut topic).await.expect("open");
        feed(&mut topic, Event::data("2"))
            .await
            .expect("closing a topic ends nobody's");
        assert_eq!(hub.stats().published, 2);

        let (mut client, mut stream) = channel(1);
        feed(&mut client, Event::data("1")).await.expect("room");
        let full = future::poll_once(feed(&mut client, Event::data("2"))).await;
        assert!(full.is_none(), "back-pressure");
        assert_eq!(next_now(&mut stream).expect("sent"), "data: 1\n\n");
        feed(&mut client, Event::data("2"))
            .await
            .expect("room again");
        close(&mut client).await.expect("open");
        let late = feed(&mut client, Event::data("3")).await;
        assert!(matches!(late, Err(SendError::Closed)));
        assert_eq!(next_now(&mut stream).expect("sent"), "data: 2\n\n");
        assert_eq!(next_now(&mut stream), None);
        assert_eq!(next_now(&mut stream), None);
    }));
}

#[test]
fn a_producer_does_not_know_what_stands_behind_a_trait_object() {
    type Source = Box<dyn EventSource<Error = SendError> + Send>;

    async fn produce(mut out: Source) -> Result<Option<EventId>, SendError> {
        let at = out.last_event_id().and_then(LastEventId::id);
        assert!(out.is_listened_to());
        out.send(Event::data("x")).await?;
        feed(&mut out, Event::data("y")).await?;
        Ok(at)
    }

    future::block_on(within(DEADLINE, async {
        let hub = Broadcaster::new();
        let mut subscriber = Client::open(hub.subscribe("a"));
        let (client, mut stream) = channel(2);
        let client = client.after(EventId::new(7, 42));
        let sources: [(Source, _); 2] = [
            (Box::new(hub.topic("a")), None),
            (Box::new(client), Some(EventId::new(7, 42))),
        ];
        for (source, expect) in sources {
            assert_eq!(produce(source).await.expect("open"), expect);
        }
        assert_eq!(subscriber.drain_brief(), "#1 #2");
        assert_eq!(
            next_now(&mut stream).expect("sent"),
            "data: x\n\ndata: y\n\n"
        );
        assert_eq!(
            next_now(&mut stream),
            None,
            "the client's source was dropped"
        );
    }));
}

#[test]
fn a_producer_can_wait_for_the_end_of_either() {
    future::block_on(within(DEADLINE, async {
        let hub = Broadcaster::new();
        let mut topic = hub.topic("a");
        let (mut client, stream) = channel(1);
        {
            let mut waiting = pin!(future::zip(topic.closed(), client.closed()));
            assert_eq!(future::poll_once(&mut waiting).await, None);
            hub.close();
            assert_eq!(future::poll_once(&mut waiting).await, None);
            drop(stream);
            waiting.await;
        }
        // And it stays so.
        topic.closed().await;
        client.closed().await;
        assert!(!client.is_listened_to());
    }));
}

#[test]
fn a_broadcaster_that_nobody_holds_any_more_is_closed() {
    let hub = Broadcaster::new();
    let mut subscriber = hub.subscribe("a").from_oldest().open().expect("admitted");
    hub.clone()
        .try_publish("a", Event::data("x"))
        .expect("published");
    next_now(&mut subscriber).expect("open");
    let topic = hub.topic("a");
    drop(hub);
    assert!(next_now(&mut subscriber)
        .expect("pending")
        .ends_with(b"data: x\n\n"));
    assert!(
        poll_now(&mut subscriber).is_pending(),
        "the topic's source still may publish"
    );
    drop(topic);
    assert!(next_now(&mut subscriber)
        .expect("the last words")
        .starts_with(b"retry: "));
    assert_eq!(next_now(&mut subscriber), None);
}
