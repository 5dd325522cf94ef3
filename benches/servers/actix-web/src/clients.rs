//! [`Clients`]: what actix-web's users copy, the broadcaster of its example for server-sent events
//! (`server-sent-events` in `actix/examples`): a bounded channel per client in a list behind a lock,
//! and `actix_web_lab::sse`, with what the example leaves out, topics and replay.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use actix_web_lab::sse::{Data, Event};
use bench_server_shared::native::{Open, Replay};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Everyone who follows, by topic.
pub(crate) struct Clients {
    hub: Mutex<Hub>,
    capacity: usize,
    open: Open,
}

struct Hub {
    replay: Replay<Event>,
    topics: HashMap<String, Vec<mpsc::Sender<Event>>>,
}

impl Clients {
    /// Nobody yet. Each topic replays the latest `history` events, and each client's channel holds
    /// `capacity` of them.
    pub(crate) fn new(history: usize, capacity: usize) -> Self {
        Self {
            hub: Mutex::new(Hub {
                replay: Replay::new(history),
                topics: HashMap::new(),
            }),
            capacity,
            open: Open::default(),
        }
    }

    /// Sends to every client of the topic, and forgets those that are gone or full.
    ///
    /// The example awaits each `send`, so that one client that does not read holds up everyone; that
    /// is not what a careful user would keep. A full client's stream ends once none of its topics
    /// sends to it any more; it can come back with its last id.
    pub(crate) fn publish(&self, topic: &str, data: &str) {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let event = hub
            .replay
            .push(topic, |id| Data::new(data.to_owned()).id(id).into());
        if let Some(clients) = hub.topics.get_mut(topic) {
            clients.retain(|client| client.try_send(event.clone()).is_ok());
        }
    }

    /// What follows `last`, or what comes from now on.
    pub(crate) fn follow(
        &self,
        topics: &str,
        last: Option<&str>,
    ) -> impl Stream<Item = Event> + 'static {
        let (sender, receiver) = mpsc::channel(self.capacity);
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = hub.replay.after(topics, last);
        for topic in topics.split(',') {
            let clients = hub.topics.entry(topic.to_owned()).or_default();
            clients.push(sender.clone());
        }
        drop(hub);
        let live = ReceiverStream::new(receiver);
        self.open.count(stream::iter(missed).chain(live))
    }

    /// Forgets clients that are gone from topics on which nothing is published.
    pub(crate) fn remove_stale(&self) {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        for clients in hub.topics.values_mut() {
            clients.retain(|client| !client.is_closed());
        }
    }

    /// How many streams are open.
    pub(crate) fn subscribers(&self) -> usize {
        self.open.streams()
    }
}
