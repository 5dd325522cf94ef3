//! The demo on hyper and smol: no tokio runtime, and no framework.
//!
//! Run with `cargo xtask demo hyper`, or `cargo run --release -p demo-hyper -- --port 3000`.
//! One thread does it all: the server is one future.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;

use async_io::block_on;
use demo_shared::{path, Demo, Flags, Parser, Reply};
use fanfare::hyper::smol::{bind_with, serve, Peer, TcpOptions};
use fanfare::hyper::LastEventId;
use fanfare::response::SseBody;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};

/// A stream of events, or bytes.
type Body = Either<SseBody, Full<Bytes>>;

fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let demo = Demo::start(&flags)?;
    let hub = demo.hub().clone();

    if flags.tls() {
        #[cfg(feature = "tls")]
        return block_on(tls::run(&flags, demo));
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    block_on(async {
        let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
        let listener = bind_with(flags.address(), options).await?;
        demo_shared::say_listening(listener.local_addr()?)?;
        let service = service_fn(move |request| answer(demo.clone(), request));
        let mut server = serve(listener, service)
            .with_graceful_shutdown(hub.drain_when(fanfare::signal(), flags.drain()));
        if let Some(timeout) = flags.header_timeout() {
            server = server.header_read_timeout(timeout);
        }
        let server = async {
            server.await;
            Ok(())
        };
        hub.serve(server, flags.grace()).await
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
        (&Method::GET, [""]) => page(demo_shared::PAGE),
        (&Method::GET, ["events"]) => events(demo, "all", &request),
        (&Method::GET, ["events", topics]) if !topics.is_empty() => events(demo, topics, &request),
        (&Method::POST, ["publish", topic]) if !topic.is_empty() => {
            publish(demo, topic, request).await
        }
        (&Method::POST, ["echo"]) => echo(demo, request).await,
        (&Method::GET, ["poll"]) => poll(demo, &request).await,
        (&Method::GET, ["long-poll"]) => long_poll(demo, &request).await,
        (&Method::DELETE, ["streams"]) => disconnect(demo, &request),
        (&Method::GET, ["stats"]) => json(demo.stats().await),
        (&Method::GET, ["debug"]) => page(demo_shared::DEBUG_PAGE),
        (&Method::GET, ["debug", "streams"]) => json(demo.debug()),
        _ => json(Reply::no_route(&target)),
    }
}

fn events(demo: &Demo, topics: &str, request: &Request<Incoming>) -> Response<Body> {
    let last = LastEventId::from_request(request);
    let subscribe =
        path::decode(topics).and_then(|topics| demo.events(&topics, last, client(request)));
    match subscribe {
        Ok(subscribe) => fanfare::hyper::response(subscribe).map(Either::Left),
        Err(reply) => json(reply),
    }
}

async fn publish(demo: &Demo, topic: &str, request: Request<Incoming>) -> Response<Body> {
    let query = query(&request).to_owned();
    let published = async {
        let topic = path::decode(topic)?;
        let data = read(request.into_body()).await?;
        demo.publish(&topic, &query, &data).await
    };
    json(published.await.unwrap_or_else(|refusal| refusal))
}

async fn echo(demo: &Demo, request: Request<Incoming>) -> Response<Body> {
    let client = client(&request);
    let events = read(request.into_body()).await;
    match events.and_then(|events| demo.echo(&events, client)) {
        Ok(events) => fanfare::hyper::response(events).map(Either::Left),
        Err(reply) => json(reply),
    }
}

async fn read(body: Incoming) -> Result<Bytes, Reply> {
    demo_shared::check_length(Some(body.size_hint().lower()))?;
    match Limited::new(body, demo_shared::MAX_DATA).collect().await {
        Ok(data) => Ok(data.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Reply::too_large()),
        Err(_) => Err(Reply::unreadable_body()),
    }
}

async fn poll(demo: &Demo, request: &Request<Incoming>) -> Response<Body> {
    let page = demo.poll(query(request)).await;
    json(page.unwrap_or_else(|refusal| refusal))
}

async fn long_poll(demo: &Demo, request: &Request<Incoming>) -> Response<Body> {
    let page = demo.long_poll(query(request), client(request)).await;
    json(page.unwrap_or_else(|refusal| refusal))
}

fn disconnect(demo: &Demo, request: &Request<Incoming>) -> Response<Body> {
    let ended = demo.disconnect(query(request));
    json(ended.unwrap_or_else(|refusal| refusal))
}

fn page(html: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(html.into()));
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    response
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::default()));
    set(
        &mut response,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        demo_shared::ALLOWED_METHODS,
    );
    set(
        &mut response,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        demo_shared::ALLOWED_HEADERS,
    );
    response
}

fn json(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Either::Right(reply.json.to_string().into()));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, header::CONTENT_TYPE, "application/json");
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, value);
        }
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

fn query(request: &Request<Incoming>) -> &str {
    request.uri().query().unwrap_or_default()
}
