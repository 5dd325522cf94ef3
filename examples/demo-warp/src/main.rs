//! The demo on warp.
//!
//! Run with `cargo xtask demo warp`, or `cargo run --release -p demo-warp -- --port 3000`.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::pin::pin;

use demo_shared::{path, Demo, Flags, Parser, Reply};
use fanfare::warp::{bind_with, last_event_id, LastEventId, Sse, TcpOptions};
use futures_lite::{Stream, StreamExt};
use serde::Deserialize;
use warp::http::{header, Method, StatusCode};
use warp::reply::{html, with, with_status, Reply as _, Response};
use warp::{Buf, Filter, Rejection};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    if flags.tls() {
        Flags::refuse(
            "warp cannot serve HTTPS by itself: leave --tls out, and put a proxy that speaks \
             HTTPS and HTTP/2 in front of it",
        );
    }
    demo_shared::log();
    let hub = demo_shared::broadcaster(&flags);
    let demo = Demo::new(hub.clone());
    if let Some(every) = flags.metrics_every() {
        demo_shared::publish_metrics(&demo, every)?;
    }

    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options).await?;
    demo_shared::say_listening(listener.local_addr()?)?;
    let server = warp::serve(routes(demo))
        .incoming(listener)
        .graceful(hub.close_when(fanfare::signal()));
    let server = async {
        server.run().await;
        Ok(())
    };
    hub.serve(server, flags.grace()).await
}

fn routes(
    demo: Demo,
) -> impl Filter<Extract = (impl warp::Reply,), Error = Rejection> + Clone + Send + Sync + 'static {
    let demo = warp::any().map(move || demo.clone());
    let get = warp::get().or(warp::head()).unify();

    let page = warp::path::end().and(get).map(|| html(demo_shared::PAGE));
    let all_events = warp::path!("events").map(|| "all".to_owned());
    let events = all_events
        .or(warp::path!("events" / String))
        .unify()
        .and(get)
        .and(last_event_id())
        .and(client())
        .and(demo.clone())
        .then(events);
    let publish = warp::path!("publish" / String)
        .and(warp::post())
        .and(warp::query())
        .and(warp::body::stream())
        .and(demo.clone())
        .then(publish);
    let echo = warp::path!("echo")
        .and(warp::post())
        .and(warp::body::stream())
        .then(echo);
    let poll = warp::path!("poll")
        .and(get)
        .and(warp::query())
        .and(demo.clone())
        .then(poll);
    let long_poll = warp::path!("long-poll")
        .and(get)
        .and(warp::query())
        .and(client())
        .and(demo.clone())
        .then(long_poll);
    let stats = warp::path!("stats").and(get).and(demo).then(stats);
    let preflight = warp::method()
        .and_then(|method| async move {
            match method {
                Method::OPTIONS => Ok(StatusCode::NO_CONTENT),
                // `warp::options()` would answer 405 for every route that there is not.
                _ => Err(warp::reject()),
            }
        })
        .with(with::header("access-control-allow-methods", "GET, POST"))
        .with(with::header(
            "access-control-allow-headers",
            "cache-control, content-type, last-event-id",
        ));

    page.or(events)
        .or(publish)
        .or(echo)
        .or(poll)
        .or(long_poll)
        .or(stats)
        .or(preflight)
        .with(with::header("access-control-allow-origin", "*"))
}

/// The client's address, under which its streams are counted.
fn client() -> impl Filter<Extract = (String,), Error = std::convert::Infallible> + Copy {
    warp::addr::remote().map(|address: Option<SocketAddr>| {
        address
            .map(|address| address.ip().to_string())
            .unwrap_or_default()
    })
}

async fn events(topics: String, last: LastEventId, client: String, demo: Demo) -> Response {
    let subscribe = path::decode(&topics).and_then(|topics| demo.events(&topics, last, client));
    match subscribe {
        Ok(subscribe) => Sse::new(subscribe).into_response(),
        Err(reply) => json(&reply),
    }
}

#[derive(Deserialize)]
struct PublishQuery {
    event: Option<String>,
}

async fn publish(
    topic: String,
    query: PublishQuery,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
    demo: Demo,
) -> Response {
    let published = async {
        let topic = path::decode(&topic)?;
        let data = read(body).await?;
        Ok(demo.publish(&topic, query.event.as_deref(), &data))
    };
    json(&published.await.unwrap_or_else(|reply| reply))
}

async fn echo(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Response {
    let events = read(body).await;
    match events.and_then(|events| demo_shared::echo(&events)) {
        Ok(events) => Sse::new(events).into_response(),
        Err(reply) => json(&reply),
    }
}

/// warp's own limit is for bodies that state their length, which not all do.
async fn read(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Result<Vec<u8>, Reply> {
    let mut body = pin!(body);
    let mut data = Vec::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|error| Reply::error(400, error))?;
        if data.len() + piece.remaining() > demo_shared::MAX_DATA {
            return Err(Reply::too_large());
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            data.extend_from_slice(chunk);
            let length = chunk.len();
            piece.advance(length);
        }
    }
    Ok(data)
}

#[derive(Deserialize)]
struct PollQuery {
    after: Option<String>,
    topics: Option<String>,
    wait: Option<f64>,
}

async fn poll(query: PollQuery, demo: Demo) -> Response {
    json(&demo.poll(query.topics.as_deref(), query.after.as_deref()))
}

async fn long_poll(query: PollQuery, client: String, demo: Demo) -> Response {
    let (topics, after) = (query.topics.as_deref(), query.after.as_deref());
    json(&demo.long_poll(topics, after, query.wait, client).await)
}

async fn stats(demo: Demo) -> Response {
    json(&demo.stats())
}

fn json(reply: &Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_status(warp::reply::json(&reply.json), status).into_response();
    if let Some(seconds) = reply.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
