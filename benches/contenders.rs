//! [`Contender`]: the ways to hand one event to many tasks that are compared.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use fanfare_core::timer::{ThreadTimer, Timer, Unscheduled};
use fanfare_core::{broadcaster::Builder, Broadcaster, Event, KeepAlive, LastEventId, Topic};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::executor::{drain, Tally};
use crate::TEXT;

/// A way to hand one event to many tasks.
///
/// Every contender encodes an event of the same text once when it is published, and hands each
/// follower a `Bytes` that shares the result.
pub trait Contender {
    /// What the figures call it.
    const NAME: &'static str;

    /// Without followers.
    fn new() -> Self;

    /// A task that takes all that is published from its first poll on.
    fn follow(&self, tally: Tally) -> impl Future<Output = ()>;

    /// Publishes an event. Returns how many bytes of it each follower is going to be delivered.
    fn publish(&self) -> u64;
}

/// The most events that a bench publishes before it lets the followers run. The others' queues
/// have to hold that many; tokio's rounds it up to a power of two, so that is what all get.
const CAPACITY: usize = 32;

/// This project, with its defaults: the latest 1,000 events are retained, and whoever is behind
/// is handed all that is pending as one piece.
#[derive(Debug)]
pub struct Fanfare {
    hub: Broadcaster,
    topic: Topic,
    /// What the first record, whose sequence number has one digit, is encoded to.
    first_len: u64,
}

impl Fanfare {
    fn with(builder: Builder) -> Self {
        // Whether a stream owes a sign of life is asked as ever; the benches want to know to the
        // byte what is delivered.
        let hub = builder.keep_alive(KeepAlive::off()).build();
        let topic = Topic::from_static("quotes");
        let mut fanfare = Self {
            hub,
            topic,
            first_len: 0,
        };
        // Fill the window: a log that has run for a while evicts at each event.
        for _ in 0..1_000 {
            fanfare.publish();
        }
        let page = pin!(fanfare.hub.replay(&fanfare.topic, LastEventId::none(), 1));
        let page = page.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(page)) = page else {
            unreachable!("in memory it is ready at once");
        };
        fanfare.first_len = page.records.first().map_or(0, |r| r.bytes().len() as u64);
        fanfare
    }
}

impl Contender for Fanfare {
    const NAME: &'static str = "fanfare";

    fn new() -> Self {
        Self::with(Broadcaster::builder())
    }

    fn follow(&self, tally: Tally) -> impl Future<Output = ()> {
        let subscriber = self.hub.subscribe(&self.topic).open();
        let subscriber = subscriber.expect("there is no limit");
        drain(subscriber, move |piece| tally.take(piece))
    }

    fn publish(&self) -> u64 {
        let published = self.hub.try_publish(&self.topic, Event::data(TEXT));
        let id = published.expect("the log is open, and the event is small");
        self.first_len + u64::from(id.minor.ilog10())
    }
}

/// The same, but however many wait, the publisher's thread wakes them all: what the waking costs
/// is then part of what is measured, and nothing runs on a second core.
#[derive(Debug)]
pub struct FanfareWakingInline(Fanfare);

impl Contender for FanfareWakingInline {
    const NAME: &'static str = "fanfare, woken inline";

    fn new() -> Self {
        Self(Fanfare::with(Broadcaster::builder().timer(InlineTimer)))
    }

    fn follow(&self, tally: Tally) -> impl Future<Output = ()> {
        self.0.follow(tally)
    }

    fn publish(&self) -> u64 {
        self.0.publish()
    }
}

/// Makes the calls that are due at once from the caller's own thread.
#[derive(Debug)]
struct InlineTimer;

impl Timer for InlineTimer {
    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        if deadline <= self.now() {
            waker.wake();
            Ok(())
        } else {
            ThreadTimer.wake_at(deadline, waker)
        }
    }
}

/// What the others send: the same event, without an id, since they have none to give.
fn encoded() -> Bytes {
    Event::data(TEXT).encode()
}

/// `tokio::sync::broadcast` at its cheapest: each task is an `async` block that loops over
/// `recv`, whose future so stays in place and allocates nothing.
#[derive(Debug)]
pub struct TokioBroadcast(broadcast::Sender<Bytes>);

impl TokioBroadcast {
    fn send(&self) -> u64 {
        let event = encoded();
        let len = event.len() as u64;
        self.0.send(event).expect("somebody follows");
        len
    }
}

impl Contender for TokioBroadcast {
    const NAME: &'static str = "tokio broadcast, recv in place";

    fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }

    fn follow(&self, tally: Tally) -> impl Future<Output = ()> {
        let mut receiver = self.0.subscribe();
        async move {
            while let Ok(piece) = receiver.recv().await {
                tally.take(piece);
            }
        }
    }

    fn publish(&self) -> u64 {
        self.send()
    }
}

/// `tokio::sync::broadcast` as a response's body needs it, a `Stream`: the wrapper that
/// `tokio-stream` has for it, which keeps `recv`'s future in a box that it reuses.
#[derive(Debug)]
pub struct TokioBroadcastStream(TokioBroadcast);

impl Contender for TokioBroadcastStream {
    const NAME: &'static str = "tokio broadcast, BroadcastStream";

    fn new() -> Self {
        Self(TokioBroadcast::new())
    }

    fn follow(&self, tally: Tally) -> impl Future<Output = ()> {
        let stream = BroadcastStream::new(self.0 .0.subscribe());
        drain(stream, move |piece| {
            tally.take(piece.expect("nobody lags behind"));
        })
    }

    fn publish(&self) -> u64 {
        self.0.send()
    }
}

/// The `async-broadcast` crate, whose receiver is a `Stream` of its own.
#[derive(Debug)]
pub struct AsyncBroadcast {
    sender: async_broadcast::Sender<Bytes>,
    receiver: async_broadcast::InactiveReceiver<Bytes>,
}

impl Contender for AsyncBroadcast {
    const NAME: &'static str = "async-broadcast";

    fn new() -> Self {
        let (sender, receiver) = async_broadcast::broadcast(CAPACITY);
        Self {
            sender,
            receiver: receiver.deactivate(),
        }
    }

    fn follow(&self, tally: Tally) -> impl Future<Output = ()> {
        drain(self.receiver.activate_cloned(), move |piece| {
            tally.take(piece);
        })
    }

    fn publish(&self) -> u64 {
        let event = encoded();
        let len = event.len() as u64;
        let sent = self.sender.try_broadcast(event);
        sent.expect("somebody follows, and has taken what came before");
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Executor;

    /// `run_until_delivered` counts to the byte.
    fn delivers_all_to_all<C: Contender>() {
        let contender = C::new();
        for followers in [1, 3, 2_000] {
            let mut executor = Executor::new(followers, |tally| contender.follow(tally));
            for events in [1, 20, 1] {
                let bytes: u64 = (0..events).map(|_| contender.publish()).sum();
                assert!(bytes >= 100 * events);
                executor.run_until_delivered(bytes * followers as u64);
            }
        }
    }

    #[test]
    fn every_contender_delivers_everything_to_everyone() {
        delivers_all_to_all::<Fanfare>();
        delivers_all_to_all::<FanfareWakingInline>();
        delivers_all_to_all::<TokioBroadcast>();
        delivers_all_to_all::<TokioBroadcastStream>();
        delivers_all_to_all::<AsyncBroadcast>();
    }
}
