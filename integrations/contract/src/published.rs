//! Events that are published to servers that may be gone, or have no history to put them in.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Place, Request, POLL_INTERVAL};

/// A number that was published as an event's data, and what became of it.
#[derive(Debug)]
pub struct Published {
    /// The number.
    pub number: u32,
    /// What the server said.
    pub outcome: Outcome,
    /// How long it took to say it.
    pub took: Duration,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored, and this is its id.
    Stored(Place),
    /// 503: nothing was stored.
    Refused,
    /// 503, a proxy's 502, or no answer: it may have been stored, or not.
    Unknown,
}

impl Published {
    /// Publishes a number.
    ///
    /// # Panics
    ///
    /// If the answer is neither 202 with an id nor one of those.
    #[track_caller]
    pub fn publish(addr: SocketAddr, topic: &str, number: u32) -> Self {
        let request = Request::post(&format!("/publish/{topic}"), number.to_string());
        let start = Instant::now();
        let answer = request.try_send(addr);
        let answer = answer.map(|answer| (answer.head.status, answer.try_text()));
        let outcome = match answer {
            None => {
                // Nobody may be there for a while.
                thread::sleep(POLL_INTERVAL);
                Outcome::Unknown
            }
            Some((502, _) | (_, None)) => Outcome::Unknown,
            Some((202, Some(answer))) => {
                let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
                Outcome::Stored(Place::of(answer["id"].as_str().expect("it has an id")))
            }
            Some((503, Some(why))) if why.contains("may have stored") => Outcome::Unknown,
            Some((503, Some(_))) => Outcome::Refused,
            Some((status, answer)) => panic!("{number} was answered with {status}: {answer:?}"),
        };
        Self {
            number,
            outcome,
            took: start.elapsed(),
        }
    }
}
