//! The demo on hyper and smol: no tokio runtime, and no framework.
//!
//! Run with `cargo xtask demo hyper`, or `cargo run --release -p demo-hyper -- --port 3000`.
//! smol's executor has one thread; set the environment variable `SMOL_THREADS` for more.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;

use demo_shared::{path, Demo, Flags, Parser, Reply};
use fanfare::hyper::smol::{bind_with, serve, Peer, TcpOptions};
use fanfare::hyper::{LastEventId, Sse};
use fanfare::response::SseBody;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

/// A stream of events, or bytes.
type Body = Either<SseBody, Full<Bytes>>;

fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let hub = demo_shared::broadcaster(&flags);
    let demo = Demo::new(hub.clone());
    if let Some(every) = flags.metrics_every() {
        demo_shared::publish_metrics(&demo, every)?;
    }

    if flags.tls() {
        #[cfg(feature = "tls")]
        return smol::block_on(tls::run(&flags, demo));
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    smol::block_on(async {
        let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
        let listener = bind_with(flags.address(), options).await?;
        demo_shared::say_listening(listener.local_addr()?)?;
        let service = service_fn(move |request| answer(demo.clone(), request));
        serve(listener, service)
            .with_graceful_shutdown(hub.close_when(fanfare::signal()))
            .grace(flags.grace())
            .await;
        Ok(())
    })
}

async fn answer(demo: Demo, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut response = route(&demo, request).await;
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    Ok(response)
}

async fn route(demo: &Demo, request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().path().to_owned();
    let segments: Vec<&str> = target.split('/').skip(1).collect();
    let method = match request.method() {
        // hyper leaves the body out by itself.
        &Method::HEAD => &Method::GET,
        method => method,
    };
    match (method, &segments[..]) {
        (&Method::OPTIONS, _) => preflight(),
        (&Method::GET, [""]) => page(),
        (&Method::GET, ["events"]) => events(demo, "all", &request),
        (&Method::GET, ["events", topics]) => events(demo, topics, &request),
        (&Method::POST, ["publish", topic]) => publish(demo, topic, request).await,
        (&Method::POST, ["echo"]) => echo(request).await,
        (&Method::GET, ["poll"]) => poll(demo, &request),
        (&Method::GET, ["long-poll"]) => long_poll(demo, &request).await,
        (&Method::GET, ["stats"]) => json(&demo.stats()),
        _ => json(&Reply::error(404, "there is nothing here")),
    }
}

fn events(demo: &Demo, topics: &str, request: &Request<Incoming>) -> Response<Body> {
    let last = LastEventId::from_request(request);
    let subscribe =
        path::decode(topics).and_then(|topics| demo.events(&topics, last, client(request)));
    match subscribe {
        Ok(subscribe) => Sse::new(subscribe).into_response().map(Either::Left),
        Err(reply) => json(&reply),
    }
}

async fn publish(demo: &Demo, topic: &str, request: Request<Incoming>) -> Response<Body> {
    let event = parameter(&request, "event");
    let published = async {
        let topic = path::decode(topic)?;
        let data = read(request.into_body()).await?;
        Ok(demo.publish(&topic, event.as_deref(), &data))
    };
    json(&published.await.unwrap_or_else(|reply| reply))
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let events = read(request.into_body()).await;
    match events.and_then(|events| demo_shared::echo(&events)) {
        Ok(events) => Sse::new(events).into_response().map(Either::Left),
        Err(reply) => json(&reply),
    }
}

async fn read(body: Incoming) -> Result<Bytes, Reply> {
    match Limited::new(body, demo_shared::MAX_DATA).collect().await {
        Ok(data) => Ok(data.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Reply::too_large()),
        Err(error) => Err(Reply::error(400, error)),
    }
}

fn poll(demo: &Demo, request: &Request<Incoming>) -> Response<Body> {
    let topics = parameter(request, "topics");
    let after = parameter(request, "after");
    json(&demo.poll(topics.as_deref(), after.as_deref()))
}

async fn long_poll(demo: &Demo, request: &Request<Incoming>) -> Response<Body> {
    let topics = parameter(request, "topics");
    let after = parameter(request, "after");
    let wait = match parameter(request, "wait").map(|wait| wait.parse()) {
        None => None,
        Some(Ok(wait)) => Some(wait),
        Some(Err(_)) => return json(&Reply::error(400, "`wait` is a number of seconds")),
    };
    let (topics, after) = (topics.as_deref(), after.as_deref());
    json(&demo.long_poll(topics, after, wait, client(request)).await)
}

fn page() -> Response<Body> {
    let mut response = Response::new(Either::Right(demo_shared::PAGE.into()));
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    response
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(
        &mut response,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST",
    );
    set(
        &mut response,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "cache-control, content-type, last-event-id",
    );
    response
}

fn json(reply: &Reply) -> Response<Body> {
    let mut response = Response::new(Either::Right(reply.json.to_string().into()));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = reply.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

/// The client's address, under which its streams are counted.
fn client(request: &Request<Incoming>) -> String {
    let peer = request.extensions().get();
    peer.map(|Peer(address)| address.ip().to_string())
        .unwrap_or_default()
}

/// The first value of a query's parameter.
fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
