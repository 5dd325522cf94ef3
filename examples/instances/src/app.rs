//! The app: nothing in it knows how many instances there are, but for its history in Redis.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{header, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use axum::{Json, Router};
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::broadcaster::Drain;
use fanfare::redis::RedisHistory;
use fanfare::{Broadcaster, Event};
use serde_json::{json, Value};

/// What the instances are called.
pub(crate) const NAMES: [&str; 2] = ["one", "two"];

/// The time over which an instance that is told to end sends its clients away, so that the other one is not
/// asked by all of them at once. In production that is more.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct App {
    hub: Broadcaster,
    name: Arc<str>,
}

/// Serves one instance until it is told to end.
#[tokio::main]
pub(crate) async fn serve(name: &str, port: &str, redis: &str) -> io::Result<()> {
    let history = RedisHistory::builder(redis)
        .stream("instances")
        .retention(100_000)
        .build();
    let hub = Broadcaster::builder()
        .backend(history.map_err(io::Error::other)?)
        // A proxy takes who comes back to another instance, so there is nothing to wait for.
        .retry(Duration::from_millis(200))
        .build();
    let app = App {
        hub: hub.clone(),
        name: name.into(),
    };
    let app = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/events", get(events))
        .route("/publish/{topic}", post(publish))
        .route("/ready", get(ready))
        .with_state(app);
    let listener = fanfare::axum::bind(format!("127.0.0.1:{port}")).await?;
    let server = fanfare::axum::serve(listener, app.into_make_service())
        .with_graceful_shutdown(hub.drain_when(fanfare::signal(), Drain::over(WINDOW)));
    hub.serve(server, Duration::from_secs(1)).await
}

/// The cookie tells the page which instance its stream comes from: scripts cannot see the headers of
/// what `EventSource` is answered.
async fn events(State(app): State<App>, last: LastEventId) -> impl IntoResponse {
    let cookie = format!("instance={}; Path=/; SameSite=Strict", app.name);
    let stream = Sse::new(app.hub.subscribe("all").after(last));
    ([(header::SET_COOKIE, cookie)], stream)
}

async fn publish(
    State(app): State<App>,
    Path(topic): Path<String>,
    data: String,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let topic = fanfare::Topic::new(&topic).map_err(|error| Refusal::Words(error.to_string()))?;
    let published = app.hub.publish(topic, Event::data(data)).await;
    let id = published.map_err(|error| Refusal::Publish(error.into()))?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id.to_string() }))))
}

/// For whoever decides whether an instance is given clients: whether its Redis answers, and it has not been
/// told to end.
async fn ready(State(app): State<App>) -> StatusCode {
    match app.hub.stats().backend {
        Some(backend) if backend.is_ready && !app.hub.is_draining() => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

enum Refusal {
    Words(String),
    Publish(PublishError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        match self {
            Self::Words(words) => (StatusCode::BAD_REQUEST, words).into_response(),
            Self::Publish(error) => error.into_response(),
        }
    }
}
