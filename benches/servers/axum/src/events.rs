//! `GET /events`: server-sent events, both ways.

use std::convert::Infallible;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{self, IntoResponse, Response};
use bench_server_shared::{topics, KEEP_ALIVE};
use fanfare::axum::{LastEventId, Sse};
use fanfare::response::HEADERS;
use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::App;

#[derive(Deserialize)]
pub(crate) struct EventsQuery {
    pub(crate) topics: String,
}

pub(crate) async fn fanfare(
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
    last: LastEventId,
) -> Response {
    let App::Fanfare(hub) = app else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match topics(&query.topics) {
        Ok(topics) => Sse::new(hub.subscribe(topics).after(last)).into_response(),
        Err(words) => (StatusCode::BAD_REQUEST, words).into_response(),
    }
}

/// As in axum's own documentation and the answers that copy it: a `BroadcastStream` whose lag is
/// passed over, an `Event` made for each client, and a keep-alive.
pub(crate) async fn native(
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let App::Native(native) = app else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let last = headers
        .get("last-event-id")
        .and_then(|last| last.to_str().ok());
    let events = native.follow(&query.topics, last).map(|message| {
        let event = Event::default().id(&message.id).data(&message.data);
        Ok::<_, Infallible>(event)
    });
    let sse = response::Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    (HEADERS, sse).into_response()
}
