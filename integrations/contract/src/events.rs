//! An event stream as a client sees it: decoded, with every byte kept beside it.

use std::net::SocketAddr;
use std::time::Instant;

use fanfare_core::{Decoded, Decoder, Message};
use serde_json::Value;

use crate::{Body, Connection, End, Piece, Pieces, Request, Response, DEADLINE};

/// A stream of events that is being read.
#[derive(Debug)]
pub struct Events<B = Body> {
    body: B,
    decoder: Decoder,
    received: Vec<u8>,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event, a comment or a reconnection time.
    Decoded(Decoded),
    /// The end of the stream.
    End(End),
}

impl Events {
    /// Opens a stream.
    ///
    /// # Panics
    ///
    /// If the answer is not 200.
    #[track_caller]
    pub fn open(addr: SocketAddr, request: &Request) -> Self {
        Self::of(request.send(addr))
    }

    /// Reads the stream that an answer is.
    ///
    /// # Panics
    ///
    /// If the answer is not 200.
    #[track_caller]
    pub fn of(response: Response) -> Self {
        if response.head.status != 200 {
            let head = response.head.clone();
            panic!("the stream was answered with {head:?}: {}", response.text());
        }
        Self::from(response.body)
    }

    /// The connection that the stream comes on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.body.connection()
    }
}

impl<B> From<B> for Events<B> {
    fn from(body: B) -> Self {
        Self {
            body,
            decoder: Decoder::new(),
            received: Vec::new(),
        }
    }
}

impl<B: Pieces> Events<B> {
    /// The stream's body, for what else can be done with it. What was read is forgotten.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Every byte of the body so far.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Waits until the given time for what comes next.
    ///
    /// # Panics
    ///
    /// If nothing comes, or the bytes are not an event stream.
    #[track_caller]
    pub fn item(&mut self, until: Instant) -> Item {
        match self.next_until(until) {
            Some(item) => item,
            None => panic!("nothing came in time{}", self.so_far()),
        }
    }

    /// What comes next, if it has come already.
    ///
    /// # Panics
    ///
    /// If the bytes are not an event stream.
    #[track_caller]
    pub fn try_item(&mut self) -> Option<Item> {
        self.next_until(Instant::now())
    }

    #[track_caller]
    fn next_until(&mut self, until: Instant) -> Option<Item> {
        loop {
            if let Some(decoded) = self.decoder.next() {
                return Some(Item::Decoded(decoded));
            }
            match self
                .body
                .next(until.saturating_duration_since(Instant::now()))
            {
                Piece::Chunk(chunk) => {
                    self.received.extend_from_slice(&chunk);
                    self.decoder
                        .feed(&chunk)
                        .unwrap_or_else(|error| panic!("{error}{}", self.so_far()));
                }
                Piece::End(end) => return Some(Item::End(end)),
                Piece::Quiet => return None,
            }
        }
    }

    /// Waits until the stream has begun, which is when its reconnection time comes.
    ///
    /// # Panics
    ///
    /// If something else comes first, or nothing.
    #[track_caller]
    pub fn opened(mut self) -> Self {
        match self.item(Instant::now() + DEADLINE) {
            Item::Decoded(Decoded::Retry(_)) => self,
            other => panic!("a stream begins with {other:?}"),
        }
    }

    /// Waits for the next event, past comments, reconnection times and the demo's own news about
    /// topics.
    ///
    /// # Panics
    ///
    /// If the stream ends or nothing comes.
    #[track_caller]
    pub fn event(&mut self) -> Message {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.item(until) {
                Item::Decoded(Decoded::Event(message)) if message.name != TOPICS => return message,
                Item::Decoded(_) => {}
                Item::End(end) => panic!("the stream ended ({end:?}){}", self.so_far()),
            }
        }
    }

    /// Waits for the next event, which must be a gap. Returns what it says.
    ///
    /// # Panics
    ///
    /// If it is another event, or has an id: a gap must not move the client's place.
    #[track_caller]
    pub fn gap(&mut self) -> Value {
        let message = self.event();
        assert_eq!(message.name, "gap", "{message:?}{}", self.so_far());
        let text = String::from_utf8_lossy(&self.received);
        let mut gaps = text
            .split("\n\n")
            .filter(|block| block.contains("event: gap\n"));
        assert!(
            gaps.all(|gap| !gap.contains("id:")),
            "a gap has an id{}",
            self.so_far()
        );
        serde_json::from_str(&message.data).expect("a gap's data is JSON")
    }

    /// Waits for all events up to the one with the given id, that one included.
    ///
    /// # Panics
    ///
    /// If the stream ends or nothing comes.
    #[track_caller]
    pub fn up_to(&mut self, id: &str) -> Vec<Message> {
        let mut events = vec![self.event()];
        while events
            .last()
            .is_some_and(|event| &*event.last_event_id != id)
        {
            events.push(self.event());
        }
        events
    }

    /// Reads the rest of the stream. Returns it with the way it ended.
    ///
    /// # Panics
    ///
    /// If the stream does not end.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<Decoded>, End) {
        let until = Instant::now() + DEADLINE;
        let mut rest = Vec::new();
        loop {
            match self.item(until) {
                Item::Decoded(decoded) => rest.push(decoded),
                Item::End(end) => return (rest, end),
            }
        }
    }

    fn so_far(&self) -> String {
        format!(
            "; the stream so far:\n{}",
            String::from_utf8_lossy(&self.received)
        )
    }
}

/// A place in the log, as an id names it: `major-minor`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The epoch, where Fanfare assigns ids.
    pub major: u64,
    /// The sequence, where Fanfare assigns ids.
    pub minor: u64,
}

impl Place {
    /// Reads an id.
    ///
    /// # Panics
    ///
    /// If it is not two numbers with a hyphen between them.
    #[must_use]
    #[track_caller]
    pub fn of(id: &str) -> Self {
        let parse = || {
            let (major, minor) = id.split_once('-')?;
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        };
        parse().unwrap_or_else(|| panic!("`{id}` is no id"))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

/// What the demo publishes before the first event of a name that it has not used yet.
const TOPICS: &str = "topics";
