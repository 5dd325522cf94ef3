//! The demo on hyper and smol: no tokio runtime, and no framework.
//!
//! Run with `cargo xtask demo hyper`, or `cargo run --release -p demo-hyper -- --port 3000`.
//! One thread does it all: the server is one future.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use async_io::block_on;
use demo_shared::{path, Credentials, Demo, Flags, Parser, Reply};
use fanfare::hyper::smol::{bind_with, serve, Peer, TcpOptions};
use fanfare::hyper::LastEventId;
use fanfare::response::SseBody;
use fanfare::tickets::take_from_uri;
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
        if flags.header_timeout().is_some() || flags.limits_connections() {
            Flags::refuse(
                "the demo's own server for --tls accepts any number of connections, and over HTTP/2 it \
                 waits for heads forever",
            );
        }
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
            .max_connections(flags.max_connections())
            .with_graceful_shutdown(hub.drain_when(fanfare::signal(), flags.drain()));
        if let Some(timeout) = flags.header_timeout() {
            server = server.header_read_timeout(timeout);
        }
        hub.serve(server, flags.grace()).await
    })
}

async fn answer(demo: Demo, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    // First of all: what logs the address further on has no ticket in it.
    let ticket = take_from_uri(request.uri_mut());
    demo_shared::log_request(request.method(), request.uri());
    let authorization = request.headers().get(header::AUTHORIZATION);
    let credentials = Credentials::new(authorization.map(HeaderValue::as_bytes), ticket);
    let answered = route(&demo, request, credentials).await;
    let mut response = answered.unwrap_or_else(json);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    Ok(response)
}

async fn route(
    demo: &Demo,
    request: Request<Incoming>,
    credentials: Credentials,
) -> Result<Response<Body>, Reply> {
    let target = request.uri().path().to_owned();
    let segments: Vec<&str> = target.split('/').skip(1).collect();
    let method = match request.method() {
        // hyper leaves the body out by itself.
        &Method::HEAD => &Method::GET,
        method => method,
    };
    let check_token = || demo.check_token(&credentials);
    Ok(match (method, &segments[..]) {
        (&Method::OPTIONS, _) => preflight(),
        (&Method::GET, [""]) => page(demo_shared::PAGE),
        (&Method::GET, ["events"]) => events(demo, "all", &request, credentials).await?,
        (&Method::GET, ["events", topics]) if !topics.is_empty() => {
            events(demo, topics, &request, credentials).await?
        }
        (&Method::POST, ["publish", topic]) if !topic.is_empty() => {
            check_token()?;
            json(publish(demo, topic, request).await?)
        }
        (&Method::POST, ["echo"]) => {
            check_token()?;
            echo(demo, request).await?
        }
        (&Method::POST, ["tickets"]) => {
            check_token()?;
            json(demo.ticket(query(&request), client(&request))?)
        }
        (&Method::GET, ["poll"]) => {
            check_token()?;
            json(demo.poll(query(&request)).await?)
        }
        (&Method::GET, ["long-poll"]) => {
            check_token()?;
            json(demo.long_poll(query(&request), client(&request)).await?)
        }
        (&Method::DELETE, ["streams"]) => {
            check_token()?;
            json(demo.disconnect(query(&request))?)
        }
        (&Method::GET, ["stats"]) => json(demo.stats().await),
        (&Method::GET, ["metrics"]) => text(demo.metrics(), demo_shared::METRICS_TYPE),
        (&Method::GET, ["debug"]) => page(demo_shared::DEBUG_PAGE),
        (&Method::GET, ["debug", "streams"]) => {
            check_token()?;
            json(demo.debug())
        }
        _ => json(Reply::no_route(&target)),
    })
}

async fn events(
    demo: &Demo,
    topics: &str,
    request: &Request<Incoming>,
    credentials: Credentials,
) -> Result<Response<Body>, Reply> {
    let topics = path::decode(topics)?;
    let last = LastEventId::from_request(request);
    let stream = demo.events(&topics, last, client(request), credentials);
    Ok(fanfare::hyper::response(stream.await?).map(Either::Left))
}

async fn publish(demo: &Demo, topic: &str, request: Request<Incoming>) -> Result<Reply, Reply> {
    let query = query(&request).to_owned();
    let topic = path::decode(topic)?;
    let data = demo.in_time(read(request.into_body())).await?;
    demo.publish(&topic, &query, &data).await
}

async fn echo(demo: &Demo, request: Request<Incoming>) -> Result<Response<Body>, Reply> {
    let client = client(&request);
    let events = demo.in_time(read(request.into_body())).await?;
    let stream = demo.echo(&events, client)?;
    Ok(fanfare::hyper::response(stream).map(Either::Left))
}

async fn read(body: Incoming) -> Result<Bytes, Reply> {
    demo_shared::check_length(Some(body.size_hint().lower()))?;
    match Limited::new(body, demo_shared::MAX_DATA).collect().await {
        Ok(data) => Ok(data.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Reply::too_large()),
        Err(_) => Err(Reply::unreadable_body()),
    }
}

fn page(html: &'static str) -> Response<Body> {
    text(html, "text/html; charset=utf-8")
}

fn text(text: impl Into<Bytes>, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(text.into().into()));
    set(&mut response, header::CONTENT_TYPE, kind);
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

/// The client's address, under which its streams are counted. The server says it with every request.
fn client(request: &Request<Incoming>) -> IpAddr {
    let unknown = Ipv4Addr::UNSPECIFIED.into();
    let peer = request.extensions().get();
    peer.map_or(unknown, |Peer(address)| address.ip())
}

fn query(request: &Request<Incoming>) -> &str {
    request.uri().query().unwrap_or_default()
}
