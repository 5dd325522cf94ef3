//! The demo on warp.
//!
//! Run with `cargo xtask demo warp`, or `cargo run --release -p demo-warp -- --port 3000`.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;

use demo_shared::{path, Credentials, Demo, Flags, Parser, Presented, Reply};
use fanfare::tickets::take_from_query;
use fanfare::warp::{bind_with, last_event_id, LastEventId, Peer, Sse, TcpOptions};
use futures_lite::{Stream, StreamExt};
use warp::filters::BoxedFilter;
use warp::http::{header, HeaderMap, HeaderName, HeaderValue, StatusCode};
use warp::path::FullPath;
use warp::reply::{html, with, with_header, with_status, Reply as _, Response};
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
    let demo = Demo::start(&flags)?;
    let hub = demo.hub().clone();

    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options).await?;
    demo_shared::say_listening(listener.local_addr()?)?;
    let mut server = fanfare::warp::serve(listener, warp::service(routes(demo)))
        .max_connections(flags.max_connections())
        .with_graceful_shutdown(hub.drain_when(fanfare::signal(), flags.drain()));
    if let Some(timeout) = flags.header_timeout() {
        server = server.header_read_timeout(timeout);
    }
    hub.serve(server, flags.grace()).await
}

fn routes(demo: Demo) -> BoxedFilter<(Response,)> {
    let demo = warp::any().map(move || demo.clone());
    let get = warp::get().or(warp::head()).unify();
    let allowed = credentials().and(demo.clone());
    // The demo, for who may do what needs the token.
    let allowed = allowed
        .map(|credentials: Credentials, demo: Demo| demo.check_token(&credentials).map(|()| demo));

    let page = warp::path::end().and(get).map(|| html(demo_shared::PAGE));
    let all_events = warp::path!("events").map(|| "all".to_owned());
    let events = all_events
        .or(warp::path!("events" / String))
        .unify()
        .and(get)
        .and(last_event_id())
        .and(client())
        .and(credentials())
        .and(demo.clone())
        .then(events);
    let publish = warp::path!("publish" / String)
        .and(warp::post())
        .and(data(allowed.clone()))
        .and(query())
        .then(publish);
    let echo = warp::path!("echo")
        .and(warp::post())
        .and(data(allowed.clone()))
        .and(client())
        .then(echo);
    let ticket = warp::path!("tickets")
        .and(warp::post())
        .and(allowed.clone())
        .and(query())
        .and(client())
        .then(ticket);
    let poll = warp::path!("poll")
        .and(get)
        .and(allowed.clone())
        .and(query())
        .then(poll);
    let long_poll = warp::path!("long-poll")
        .and(get)
        .and(allowed.clone())
        .and(query())
        .and(client())
        .then(long_poll);
    let disconnect = warp::path!("streams")
        .and(warp::delete())
        .and(allowed.clone())
        .and(query())
        .then(disconnect);
    let stats = warp::path!("stats").and(get).and(demo.clone()).then(stats);
    let metrics = warp::path!("metrics").and(get).and(demo).then(metrics);
    let debug_page = warp::path!("debug")
        .and(get)
        .map(|| html(demo_shared::DEBUG_PAGE));
    let debug = warp::path!("debug" / "streams")
        .and(get)
        .and(allowed)
        .then(debug);
    let preflight = warp::options()
        .map(StatusCode::default)
        .with(with::header(
            "access-control-allow-methods",
            demo_shared::ALLOWED_METHODS,
        ))
        .with(with::header(
            "access-control-allow-headers",
            demo_shared::ALLOWED_HEADERS,
        ));
    // Takes what the others have rejected, whatever for.
    let no_route = warp::path::full().map(|path: FullPath| json(Reply::no_route(path.as_str())));

    let routes = page
        .or(events)
        .or(publish)
        .or(echo)
        .or(ticket)
        .or(poll)
        .or(long_poll)
        .or(disconnect)
        .or(stats)
        .or(metrics)
        .or(debug_page)
        .or(debug);
    let answers = no_trailing_slash()
        .and(routes)
        .or(preflight)
        .or(no_route)
        .with(with::header("access-control-allow-origin", "*"));
    if demo_shared::logs_requests() {
        // Of an address, the path alone.
        let logged = answers.with(warp::log("requests"));
        logged.map(warp::Reply::into_response).boxed()
    } else {
        answers.map(warp::Reply::into_response).boxed()
    }
}

/// To warp `/stats/` is `/stats`; here it is not.
fn no_trailing_slash() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::path::full()
        .and_then(|path: FullPath| async move {
            match path.as_str() {
                "/" => Ok(()),
                path if path.ends_with('/') => Err(warp::reject()),
                _ => Ok(()),
            }
        })
        .untuple_one()
}

/// The query as it came; empty if there is none, which warp's own rejects.
fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// The client's address, under which its streams are counted. The server says it with every request.
fn client() -> impl Filter<Extract = (IpAddr,), Error = Infallible> + Copy {
    warp::ext::optional().map(|peer: Option<Peer>| {
        let unknown = Ipv4Addr::UNSPECIFIED.into();
        peer.map_or(unknown, |Peer(address)| address.ip())
    })
}

/// What a request shows of who sends it.
fn credentials() -> impl Filter<Extract = (Credentials,), Error = Infallible> + Copy {
    warp::header::headers_cloned()
        .and(take_ticket())
        .map(|headers: HeaderMap, ticket| {
            let authorization = headers.get(header::AUTHORIZATION);
            Credentials::new(authorization.map(HeaderValue::as_bytes), ticket)
        })
}

/// It stays in the address, which nobody logs: to warp's own logs an address has no query.
fn take_ticket() -> impl Filter<Extract = (Presented,), Error = Infallible> + Copy {
    query().map(|query: String| take_from_query(&query).ticket)
}

/// A body and the demo, for who may do what needs the token; or why it was not read. warp's own limit is
/// for bodies that state their length, which not all do.
fn data(
    allowed: impl Filter<Extract = (Result<Demo, Reply>,), Error = Infallible> + Clone + Send,
) -> impl Filter<Extract = (Result<(Demo, Vec<u8>), Reply>,), Error = Rejection> + Clone {
    warp::header::optional("content-length")
        .and(warp::body::stream())
        .and(allowed)
        .then(|length, body, allowed: Result<Demo, Reply>| async move {
            // First: of who may not, nothing is read.
            let demo = allowed?;
            let data = demo.in_time(read(length, body)).await?;
            Ok((demo, data))
        })
}

async fn read(
    length: Option<u64>,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Vec<u8>, Reply> {
    demo_shared::check_length(length)?;
    let mut body = pin!(body);
    let mut data = Vec::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Reply::unreadable_body())?;
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

async fn events(
    topics: String,
    last: LastEventId,
    client: IpAddr,
    credentials: Credentials,
    demo: Demo,
) -> Response {
    let stream = async {
        let topics = path::decode(&topics)?;
        demo.events(&topics, last, client, credentials).await
    };
    match stream.await {
        Ok(stream) => Sse::new(stream).into_response(),
        Err(reply) => json(reply),
    }
}

async fn publish(topic: String, data: Result<(Demo, Vec<u8>), Reply>, query: String) -> Response {
    let published = async {
        let (demo, data) = data?;
        demo.publish(&path::decode(&topic)?, &query, &data).await
    };
    either(published.await)
}

async fn echo(events: Result<(Demo, Vec<u8>), Reply>, client: IpAddr) -> Response {
    match events.and_then(|(demo, events)| demo.echo(&events, client)) {
        Ok(events) => Sse::new(events).into_response(),
        Err(reply) => json(reply),
    }
}

async fn ticket(demo: Result<Demo, Reply>, query: String, client: IpAddr) -> Response {
    either(demo.and_then(|demo| demo.ticket(&query, client)))
}

async fn poll(demo: Result<Demo, Reply>, query: String) -> Response {
    let page = async { demo?.poll(&query).await };
    either(page.await)
}

async fn long_poll(demo: Result<Demo, Reply>, query: String, client: IpAddr) -> Response {
    let page = async { demo?.long_poll(&query, client).await };
    either(page.await)
}

async fn disconnect(demo: Result<Demo, Reply>, query: String) -> Response {
    either(demo.and_then(|demo| demo.disconnect(&query)))
}

async fn debug(demo: Result<Demo, Reply>) -> Response {
    either(demo.map(|demo| demo.debug()))
}

async fn stats(demo: Demo) -> Response {
    json(demo.stats().await)
}

async fn metrics(demo: Demo) -> impl warp::Reply {
    with_header(demo.metrics(), "content-type", demo_shared::METRICS_TYPE)
}

fn either(answer: Result<Reply, Reply>) -> Response {
    json(answer.unwrap_or_else(|refusal| refusal))
}

fn json(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_status(warp::reply::json(&reply.json), status).into_response();
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, value);
        }
    }
    response
}
