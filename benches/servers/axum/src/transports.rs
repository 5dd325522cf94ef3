//! What competes with server-sent events: the same events by polling and over a WebSocket.

use std::net::Ipv4Addr;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, RawQuery, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::Router;
use demo_shared::{Demo, Reply};
use futures_util::stream::{Stream, StreamExt as _};

use crate::events::EventsQuery;
use crate::App;

/// Polling is answered as the demo answers it: a page of the history.
pub(crate) fn polling(hub: fanfare::Broadcaster) -> std::io::Result<Router<App>> {
    let demo = Demo::new(hub)?;
    let router: Router<Demo> = Router::new()
        .route("/poll", get(poll))
        .route("/long-poll", get(long_poll));
    Ok(router.with_state(demo))
}

async fn poll(State(demo): State<Demo>, RawQuery(query): RawQuery) -> Response {
    json(demo.poll(&query.unwrap_or_default()).await)
}

async fn long_poll(State(demo): State<Demo>, RawQuery(query): RawQuery) -> Response {
    // Its clients are all on this machine, and no limit of an address's is set.
    let client = Ipv4Addr::LOCALHOST.into();
    json(demo.long_poll(&query.unwrap_or_default(), client).await)
}

fn json(reply: Result<Reply, Reply>) -> Response {
    let reply = reply.unwrap_or_else(|refusal| refusal);
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, reply.json.to_string()).into_response()
}

/// As in axum's chat example, with the message encoded once, since a clone of it shares its bytes.
pub(crate) async fn websocket(
    State(app): State<App>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let App::Websocket(native) = app else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let last = headers
        .get("last-event-id")
        .and_then(|last| last.to_str().ok());
    let events = native.follow(&query.topics, last);
    upgrade.on_upgrade(|socket| forward(events, socket))
}

/// Sends every event until the client goes. It is read from as well, so that pings are answered
/// and a close is noticed.
async fn forward(events: impl Stream<Item = Utf8Bytes>, socket: WebSocket) {
    let (mut to_client, mut from_client) = socket.split();
    let sent = events
        .map(|event| Ok(Message::Text(event)))
        .forward(&mut to_client);
    let gone = async { while let Some(Ok(_)) = from_client.next().await {} };
    futures_util::future::select(std::pin::pin!(sent), std::pin::pin!(gone)).await;
}
