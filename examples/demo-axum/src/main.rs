//! The demo on axum.
//!
//! Run with `cargo xtask demo`, or `cargo run --release -p demo-axum -- --port 3000`.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
mod tls;

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{header, HeaderName, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use demo_shared::{Demo, Flags, Parser, Reply};
use fanfare::axum::{bind_with, LastEventId, Sse, TcpOptions};
use serde::Deserialize;
use tower_http::cors::{Any, CorsLayer};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let hub = demo_shared::broadcaster(&flags);
    let demo = Demo::new(hub.clone());
    if let Some(every) = flags.metrics_every() {
        demo_shared::publish_metrics(&demo, every)?;
    }

    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options).await?;
    let address = listener.local_addr()?;
    let app = app(demo).into_make_service_with_connect_info::<SocketAddr>();
    let closing = hub.close_when(fanfare::signal());
    if flags.tls() {
        #[cfg(feature = "tls")]
        {
            use axum::serve::ListenerExt as _;
            let certificate = demo_shared::tls::Certificate::self_signed(&flags)?;
            let listener = tls::TlsListener::new(listener, certificate.server_config()?);
            // Tapped, since axum then knows the clients' addresses.
            let listener = listener.tap_io(|_| {});
            demo_shared::say_listening_with_tls(address)?;
            let server = axum::serve(listener, app).with_graceful_shutdown(closing);
            return hub.serve(server, flags.grace()).await;
        }
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    demo_shared::say_listening(address)?;
    let server = axum::serve(listener, app).with_graceful_shutdown(closing);
    hub.serve(server, flags.grace()).await
}

fn app(demo: Demo) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ]);
    Router::new()
        .route("/", get(Html(demo_shared::PAGE)))
        .route("/events", get(all_events))
        .route("/events/{topics}", get(events))
        .route("/publish/{topic}", post(publish))
        .route("/echo", post(echo))
        .route("/poll", get(poll))
        .route("/long-poll", get(long_poll))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::max(demo_shared::MAX_DATA))
        .layer(cors)
        .with_state(demo)
}

async fn all_events(
    demo: State<Demo>,
    client: ConnectInfo<SocketAddr>,
    last: LastEventId,
) -> Response {
    events(demo, client, Path("all".to_owned()), last).await
}

async fn events(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Path(topics): Path<String>,
    last: LastEventId,
) -> Response {
    match demo.events(&topics, last, client.ip()) {
        Ok(subscribe) => Sse::new(subscribe).into_response(),
        Err(reply) => json(reply),
    }
}

#[derive(Deserialize)]
struct PublishQuery {
    event: Option<String>,
}

async fn publish(
    State(demo): State<Demo>,
    Path(topic): Path<String>,
    Query(query): Query<PublishQuery>,
    data: Result<Bytes, BytesRejection>,
) -> Response {
    json(match data {
        Ok(data) => demo.publish(&topic, query.event.as_deref(), &data),
        Err(rejection) => Reply::error(rejection.status().as_u16(), rejection.body_text()),
    })
}

async fn echo(events: Bytes) -> Response {
    match demo_shared::echo(&events) {
        Ok(events) => Sse::new(events).into_response(),
        Err(reply) => json(reply),
    }
}

#[derive(Deserialize)]
struct PollQuery {
    after: Option<String>,
    topics: Option<String>,
    wait: Option<f64>,
}

async fn poll(State(demo): State<Demo>, Query(query): Query<PollQuery>) -> Response {
    json(demo.poll(query.topics.as_deref(), query.after.as_deref()))
}

async fn long_poll(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Query(query): Query<PollQuery>,
) -> Response {
    let (topics, after) = (query.topics.as_deref(), query.after.as_deref());
    json(demo.long_poll(topics, after, query.wait, client.ip()).await)
}

async fn stats(State(demo): State<Demo>) -> Response {
    json(demo.stats())
}

fn json(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(reply.json)).into_response();
    if let Some(seconds) = reply.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
