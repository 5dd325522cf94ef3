//! What users write by hand where a framework ships no more than a response: a channel per topic,
//! and a replay buffer, behind one lock.
//!
//! It is what a careful user ends up with: with ids, resume, and no hole or doubled event between
//! replay and live. It does what tokio's channel does to who lags behind: it goes on, and what was
//! missed is lost.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, select_all, Stream, StreamExt};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// An event as most servers pass it to those who format it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id, `epoch-sequence`, as Fanfare writes one.
    pub id: String,
    /// Its text.
    pub data: String,
}

/// A [`tokio::sync::broadcast`] channel per topic, with replay.
///
/// `T` is what goes through the channels: a [`Message`] in an [`Arc`], or bytes.
#[derive(Debug)]
pub struct Native<T> {
    hub: Mutex<Hub<T>>,
    capacity: usize,
    open: Open,
}

#[derive(Debug)]
struct Hub<T> {
    replay: Replay<T>,
    topics: HashMap<String, broadcast::Sender<T>>,
}

impl<T: Clone + Send + 'static> Native<T> {
    /// Nothing yet. Each topic replays the latest `history` events, and its channel holds `capacity`
    /// of them for a client that is behind. tokio's makes room for them when it is made.
    #[must_use]
    pub fn new(history: usize, capacity: usize) -> Self {
        Self {
            hub: Mutex::new(Hub {
                replay: Replay::new(history),
                topics: HashMap::new(),
            }),
            capacity,
            open: Open::default(),
        }
    }

    /// Publishes what `encode` makes of the event's id.
    pub fn publish(&self, topic: &str, encode: impl FnOnce(String) -> T) {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let event = hub.replay.push(topic, encode);
        if let Some(topic) = hub.topics.get(topic) {
            // It fails if nobody listens. Under the lock, so that who subscribes finds an event
            // either in the replay or in the channel.
            let _ = topic.send(event);
        }
    }

    /// What follows `last`, or what comes from now on.
    pub fn follow(&self, topics: &str, last: Option<&str>) -> impl Stream<Item = T> + Send {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = hub.replay.after(topics, last);
        let mut live: Vec<_> = topics
            .split(',')
            .map(|topic| {
                let channel = hub
                    .topics
                    .entry(topic.to_owned())
                    .or_insert_with(|| broadcast::channel(self.capacity).0);
                BroadcastStream::new(channel.subscribe()).filter_map(|event| ready(event.ok()))
            })
            .collect();
        drop(hub);
        // Who follows one topic writes no merge.
        let live = match live.pop() {
            Some(only) if live.is_empty() => only.left_stream(),
            last => select_all(live.into_iter().chain(last)).right_stream(),
        };
        self.open.count(stream::iter(missed).chain(live))
    }

    /// How many streams are open.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.open.streams()
    }
}

/// The latest events of each topic, and the number that the next one gets.
#[derive(Debug)]
pub struct Replay<T> {
    /// When the server began, so that no id of an earlier life is taken for one of this.
    epoch: u128,
    last: u64,
    history: usize,
    topics: HashMap<String, VecDeque<(u64, T)>>,
}

impl<T: Clone> Replay<T> {
    /// Keeps `history` events per topic.
    #[must_use]
    pub fn new(history: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            epoch: now.unwrap_or_default().as_micros(),
            last: 0,
            history,
            topics: HashMap::new(),
        }
    }

    /// Keeps what `encode` makes of the event's id, and returns it.
    pub fn push(&mut self, topic: &str, encode: impl FnOnce(String) -> T) -> T {
        self.last += 1;
        let event = encode(format!("{}-{}", self.epoch, self.last));
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), VecDeque::new());
        }
        if let Some(kept) = self.topics.get_mut(topic) {
            if kept.len() == self.history {
                kept.pop_front();
            }
            kept.push_back((self.last, event.clone()));
        }
        event
    }

    /// The events of these topics after that id, in order; all of them if the id is not of ours,
    /// and none if there is none.
    #[must_use]
    pub fn after(&self, topics: &str, last: Option<&str>) -> Vec<T> {
        let Some(last) = last.filter(|last| !last.is_empty()) else {
            return Vec::new();
        };
        let seen = last
            .split_once('-')
            .filter(|(epoch, _)| epoch.parse() == Ok(self.epoch))
            .and_then(|(_, sequence)| sequence.parse().ok())
            .unwrap_or(0);
        let mut missed: Vec<&(u64, T)> = topics
            .split(',')
            .filter_map(|topic| self.topics.get(topic))
            .flat_map(|kept| kept.range(kept.partition_point(|(at, _)| *at <= seen)..))
            .collect();
        missed.sort_by_key(|(at, _)| *at);
        missed.into_iter().map(|(_, event)| event.clone()).collect()
    }
}

/// Counts the streams that are open.
#[derive(Clone, Debug, Default)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// How many there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The stream, counted until it is dropped.
    pub fn count<S: Stream>(&self, stream: S) -> impl Stream<Item = S::Item> + use<S> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Self::clone(self));
        stream.inspect(move |_| {
            // It lives and dies with the closure, and so with the stream.
            let _ = &counted;
        })
    }
}

#[derive(Debug)]
struct Counted(Open);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0 .0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn publish(native: &Native<String>, topic: &str) {
        native.publish(topic, |id| id);
    }

    /// What is ready at once, without the epochs.
    fn ready(stream: impl Stream<Item = String>) -> Vec<String> {
        let mut stream = Box::pin(stream);
        std::iter::from_fn(|| stream.next().now_or_never().flatten())
            .map(|id| id.split_once('-').expect("an id").1.to_owned())
            .collect()
    }

    #[test]
    fn replay_joins_live_in_order() {
        let native = Native::new(8, 8);
        let first = native.follow("a", None);
        for topic in ["a", "b", "c", "a"] {
            publish(&native, topic);
        }
        let epoch = native.hub.lock().expect("nobody panicked").replay.epoch;
        let back = native.follow("a,b", Some(&format!("{epoch}-1")));
        publish(&native, "b");
        assert_eq!(ready(back), ["2", "4", "5"]);
        assert_eq!(ready(first), ["1", "4"]);
    }

    #[test]
    fn only_the_latest_are_kept() {
        let native = Native::new(2, 2);
        for _ in 0..5 {
            publish(&native, "a");
        }
        assert_eq!(ready(native.follow("a", Some("0-0"))), ["4", "5"]);
        assert!(ready(native.follow("a", Some(""))).is_empty());
    }

    #[test]
    fn who_lags_behind_loses_in_silence() {
        let native = Native::new(2, 2);
        let slow = native.follow("a", None);
        for _ in 0..5 {
            publish(&native, "a");
        }
        assert_eq!(ready(slow), ["4", "5"]);
    }

    #[test]
    fn a_channel_may_hold_less_than_is_replayed() {
        let native = Native::new(4, 2);
        let slow = native.follow("a", None);
        for _ in 0..5 {
            publish(&native, "a");
        }
        assert_eq!(ready(slow), ["4", "5"]);
        assert_eq!(ready(native.follow("a", Some("0-0"))), ["2", "3", "4", "5"]);
    }

    #[test]
    fn streams_are_counted_while_they_live() {
        let native = Native::<String>::new(2, 2);
        let streams = (native.follow("a", None), native.follow("a,b", None));
        assert_eq!(native.subscribers(), 2);
        drop(streams);
        assert_eq!(native.subscribers(), 0);
    }
}
