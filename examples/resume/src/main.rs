//! Run with `cargo run -p resume`, open <http://127.0.0.1:3000> in two windows, and vote. Stop the
//! server and start it again: the pages come back, see that something is missing, and begin anew.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};
use serde::Serialize;

#[tokio::main]
async fn main() -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    let server = fanfare::axum::serve(listener, app(Poll::new(hub.clone())).into_make_service())
        .with_graceful_shutdown(hub.close_when(fanfare::signal()));
    hub.serve(server, Duration::from_secs(1)).await
}

fn app(poll: Poll) -> Router {
    Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/votes", get(snapshot))
        .route("/votes/{candidate}", post(vote))
        .route("/events", get(events))
        .with_state(poll)
}

/// A state, and the broadcaster of its changes.
#[derive(Clone)]
struct Poll {
    hub: Broadcaster,
    votes: Arc<Mutex<Votes>>,
}

type Votes = BTreeMap<String, u64>;

impl Poll {
    fn new(hub: Broadcaster) -> Self {
        Self {
            hub,
            votes: Arc::default(),
        }
    }

    /// The map is whole after every step, so a panic elsewhere does not spoil it.
    fn votes(&self) -> MutexGuard<'_, Votes> {
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and publishes the change as one step, under the state's lock: whoever
    /// reads the state there finds the change in both the state and the log, or in neither.
    fn vote(&self, candidate: String) -> Result<(), PublishError> {
        let mut votes = self.votes();
        self.hub
            .try_publish("votes", Event::data(&candidate).name("vote"))?;
        *votes.entry(candidate).or_default() += 1;
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let votes = self.votes();
        Snapshot {
            votes: votes.clone(),
            after: self.hub.last_id().to_string(),
        }
    }
}

/// The state, and the place in the log at which it was so.
#[derive(Serialize)]
struct Snapshot {
    votes: Votes,
    after: String,
}

async fn snapshot(State(poll): State<Poll>) -> Json<Snapshot> {
    Json(poll.snapshot())
}

async fn vote(State(poll): State<Poll>, Path(candidate): Path<String>) -> Result<(), PublishError> {
    poll.vote(candidate)
}

/// The place is in the query when the page opens the stream, and in the header when its browser
/// comes back by itself; the header comes first. What cannot be continued begins with a gap.
async fn events(State(poll): State<Poll>, last: LastEventId) -> Sse {
    Sse::new(poll.hub.subscribe("votes").after(last))
}
