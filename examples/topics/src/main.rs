//! Run with `cargo run -p topics`, then follow as Ada and publish as the machine:
//!
//! ```sh
//! curl -N -H 'Authorization: Bearer ada' localhost:3000/events
//! curl -N -H 'Authorization: Bearer ada' 'localhost:3000/events?topics=prices,orders.ada.42'
//! curl -H 'Authorization: Bearer machine' -d 21.5 localhost:3000/topics/sensors.7.temp
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event, InvalidTopic, Topic, Topics};
use serde::Deserialize;

#[tokio::main]
async fn main() -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    let server = fanfare::axum::serve(listener, app(hub.clone()).into_make_service())
        .with_graceful_shutdown(hub.close_when(fanfare::signal()));
    hub.serve(server, Duration::from_secs(1)).await
}

fn app(hub: Broadcaster) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/topics/{topic}", post(publish))
        .with_state(hub)
}

#[derive(Deserialize)]
struct Wish {
    topics: Option<String>,
}

/// The app decides what a user may see. The URL can ask for less, never for more.
async fn events(
    State(hub): State<Broadcaster>,
    user: User,
    Query(wish): Query<Wish>,
    last: LastEventId,
) -> Result<Sse, Denied> {
    let topics = match wish.topics {
        None => user.may_see,
        Some(names) => narrowed(&user.may_see, &names)?,
    };
    Ok(Sse::new(hub.subscribe(topics).after(last)))
}

/// Takes names alone, since only a name can be held against a selection: a [`Topic`] is never a
/// pattern, and `all` is none.
fn narrowed(may_see: &Topics, names: &str) -> Result<Topics, Denied> {
    let names = names.split(',').map(Topic::new);
    let names: Vec<Topic> = names.collect::<Result<_, InvalidTopic>>()?;
    if !names.iter().all(|name| may_see.matches(name)) {
        return Err(Denied::Forbidden);
    }
    Ok(names.try_into()?)
}

async fn publish(
    State(hub): State<Broadcaster>,
    user: User,
    Path(topic): Path<String>,
    body: String,
) -> Result<String, Denied> {
    if !user.may_publish {
        return Err(Denied::Forbidden);
    }
    let id = hub.publish(Topic::new(topic)?, Event::data(body)).await?;
    Ok(id.to_string())
}

struct User {
    may_see: Topics,
    may_publish: bool,
}

impl User {
    /// Where an app asks its database. The example `auth` has tokens that are secret, and cookies.
    fn find(token: &str) -> Option<Self> {
        let (may_see, may_publish) = match token {
            "ada" => ("prices,sensors.*.temp,orders.ada.>", false),
            "bob" => ("prices,orders.bob.>", false),
            "support" => ("orders.>", false),
            "machine" => ("all", true),
            _ => return None,
        };
        Some(Self {
            may_see: may_see.into(),
            may_publish,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.and_then(Self::find).ok_or(Denied::Unknown)
    }
}

enum Denied {
    /// Nobody knows who asks.
    Unknown,
    /// This user may not.
    Forbidden,
    /// That names no topic.
    Topic(InvalidTopic),
    /// The event was not published.
    Publish(PublishError),
}

impl From<InvalidTopic> for Denied {
    fn from(error: InvalidTopic) -> Self {
        Self::Topic(error)
    }
}

impl From<fanfare::PublishError> for Denied {
    fn from(error: fanfare::PublishError) -> Self {
        Self::Publish(error.into())
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown => StatusCode::UNAUTHORIZED.into_response(),
            Self::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Self::Topic(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            Self::Publish(error) => error.into_response(),
        }
    }
}
