//! The demo on actix-web.
//!
//! Run with `cargo xtask demo actix-web`, or
//! `cargo run --release -p demo-actix-web -- --port 3000`.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;
use std::future::{ready, Future, Ready};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::thread;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, PeerAddr, Service as _, ServiceRequest};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use actix_web::middleware::{Condition, DefaultHeaders, Logger};
use actix_web::web::{self, Bytes, Data, Html, PayloadConfig};
#[cfg(feature = "tls")]
use actix_web::HttpServer;
use actix_web::{
    delete, guard, post, route, App, FromRequest, HttpMessage as _, HttpRequest, HttpResponse,
    Responder, ResponseError,
};
use demo_shared::{path, Credentials, Demo, Flags, Parser, Presented, Reply};
#[cfg(feature = "tls")]
use fanfare::actix_web::HttpServerExt as _;
use fanfare::actix_web::{bind_with, serve, LastEventId, Sse, TcpOptions};
use fanfare::tickets::take_from_target;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let demo = Data::new(Demo::start(&flags)?);
    let hub = demo.hub().clone();

    let app = move || {
        App::new()
            .app_data(demo.clone())
            .app_data(PayloadConfig::new(demo_shared::MAX_DATA))
            .wrap(DefaultHeaders::new().add((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")))
            .wrap(Condition::new(
                demo_shared::logs_requests(),
                Logger::default(),
            ))
            // The outermost: what another logs has no ticket in it.
            .wrap_fn(|mut request, next| {
                take_ticket(&mut request);
                next.call(request)
            })
            .service(
                web::resource("/{path:.*}")
                    .guard(guard::Options())
                    .to(preflight),
            )
            .service((page, all_events, events, publish, echo))
            .service((ticket, poll, long_poll, disconnect))
            .service((stats, metrics, debug_page, debug))
            .default_service(web::to(no_route))
    };
    let signal = hub.drain_when(fanfare::signal(), flags.drain());
    // actix-web's limit of connections is each worker's.
    let workers = thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let max_connections = flags.max_connections().div_ceil(workers);
    let grace = flags.grace();
    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options)?;
    let address = listener.local_addr()?;
    if flags.tls() {
        #[cfg(feature = "tls")]
        {
            let certificate = demo_shared::tls::Certificate::self_signed(&flags)?;
            let mut server = HttpServer::new(app)
                .workers(workers)
                .max_connections(max_connections)
                .stream_until(&hub, signal)
                .shutdown_timeout(grace.as_secs());
            if let Some(timeout) = flags.header_timeout() {
                server = server.client_request_timeout(timeout);
            }
            let server = server.listen_rustls_0_23(listener, certificate.server_config()?)?;
            demo_shared::say_listening_with_tls(address)?;
            return hub.serve(server.run(), grace).await;
        }
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    let mut server = serve(listener, app)
        .workers(workers)
        .max_connections(max_connections)
        .with_graceful_shutdown(signal)
        .shutdown_timeout(grace.as_secs());
    if let Some(timeout) = flags.header_timeout() {
        server = server.client_request_timeout(timeout);
    }
    demo_shared::say_listening(address)?;
    hub.serve(server.run(), grace).await
}

fn take_ticket(request: &mut ServiceRequest) {
    let target = request.uri().to_string();
    let taken = take_from_target(&target);
    // A part of an address is one. If it were not: rather `/` than the ticket.
    let uri: Uri = taken.rest.parse().unwrap_or_default();
    // actix-web keeps the address twice.
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
    request.extensions_mut().insert::<Presented>(taken.ticket);
}

#[route("/", method = "GET", method = "HEAD")]
async fn page() -> Html {
    Html::new(demo_shared::PAGE)
}

async fn preflight() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_METHODS,
            demo_shared::ALLOWED_METHODS,
        ))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            demo_shared::ALLOWED_HEADERS,
        ))
        .finish()
}

#[route("/events", method = "GET", method = "HEAD")]
async fn all_events(
    demo: Data<Demo>,
    client: PeerAddr,
    shown: Shown,
    last: LastEventId,
) -> Result<Sse, Answer> {
    stream(&demo, "all", client, shown, last).await
}

#[route("/events/{topics}", method = "GET", method = "HEAD")]
async fn events(
    demo: Data<Demo>,
    client: PeerAddr,
    shown: Shown,
    Segment(topics): Segment,
    last: LastEventId,
) -> Result<Sse, Answer> {
    stream(&demo, &topics, client, shown, last).await
}

async fn stream(
    demo: &Demo,
    topics: &str,
    PeerAddr(client): PeerAddr,
    Shown(credentials): Shown,
    last: LastEventId,
) -> Result<Sse, Answer> {
    let stream = demo.events(topics, last, client.ip(), credentials);
    Ok(Sse::new(stream.await?))
}

#[post("/publish/{topic}")]
async fn publish(
    demo: Data<Demo>,
    _: Allowed,
    Segment(topic): Segment,
    request: HttpRequest,
    Body(data): Body,
) -> Result<Answer, Answer> {
    let published = demo.publish(&topic, request.query_string(), &data).await?;
    Ok(Answer(published))
}

#[post("/echo")]
async fn echo(
    demo: Data<Demo>,
    _: Allowed,
    PeerAddr(client): PeerAddr,
    Body(data): Body,
) -> Result<Sse, Answer> {
    Ok(Sse::new(demo.echo(&data, client.ip())?))
}

#[post("/tickets")]
async fn ticket(
    demo: Data<Demo>,
    _: Allowed,
    PeerAddr(client): PeerAddr,
    request: HttpRequest,
) -> Result<Answer, Answer> {
    Ok(Answer(demo.ticket(request.query_string(), client.ip())?))
}

#[route("/poll", method = "GET", method = "HEAD")]
async fn poll(demo: Data<Demo>, _: Allowed, request: HttpRequest) -> Result<Answer, Answer> {
    Ok(Answer(demo.poll(request.query_string()).await?))
}

#[route("/long-poll", method = "GET", method = "HEAD")]
async fn long_poll(
    demo: Data<Demo>,
    _: Allowed,
    PeerAddr(client): PeerAddr,
    request: HttpRequest,
) -> Result<Answer, Answer> {
    let news = demo.long_poll(request.query_string(), client.ip()).await?;
    Ok(Answer(news))
}

#[delete("/streams")]
async fn disconnect(demo: Data<Demo>, _: Allowed, request: HttpRequest) -> Result<Answer, Answer> {
    Ok(Answer(demo.disconnect(request.query_string())?))
}

#[route("/stats", method = "GET", method = "HEAD")]
async fn stats(demo: Data<Demo>) -> Answer {
    Answer(demo.stats().await)
}

#[route("/metrics", method = "GET", method = "HEAD")]
async fn metrics(demo: Data<Demo>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(demo_shared::METRICS_TYPE)
        .body(demo.metrics())
}

#[route("/debug", method = "GET", method = "HEAD")]
async fn debug_page() -> Html {
    Html::new(demo_shared::DEBUG_PAGE)
}

#[route("/debug/streams", method = "GET", method = "HEAD")]
async fn debug(demo: Data<Demo>, _: Allowed) -> Answer {
    Answer(demo.debug())
}

async fn no_route(request: HttpRequest) -> Answer {
    Answer(Reply::no_route(request.uri().path()))
}

/// The path's last segment; actix-web's own `Path` replaces what is not UTF-8.
struct Segment(String);

impl FromRequest for Segment {
    type Error = Answer;
    type Future = Ready<Result<Self, Answer>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let segment = path::last_segment(request.uri().path());
        ready(segment.map(Self).map_err(Answer))
    }
}

/// What a request shows of who sends it.
struct Shown(Credentials);

impl FromRequest for Shown {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(credentials(request))))
    }
}

/// A request from who may do what needs the token.
struct Allowed;

impl FromRequest for Allowed {
    type Error = actix_web::Error;
    type Future = Ready<actix_web::Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let demo = Data::<Demo>::from_request(request, payload).into_inner();
        let check = |demo: Data<Demo>| {
            let allowed = demo.check_token(&credentials(request));
            allowed.map(|()| Self).map_err(|reply| Answer(reply).into())
        };
        ready(demo.and_then(check))
    }
}

fn credentials(request: &HttpRequest) -> Credentials {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let presented = request.extensions().get::<Presented>().cloned();
    Credentials::new(
        authorization.map(HeaderValue::as_bytes),
        presented.unwrap_or(Ok(None)),
    )
}

/// A body, refused in the demo's words.
struct Body(Bytes);

impl FromRequest for Body {
    type Error = Answer;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Answer>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let demo = Data::<Demo>::extract(request);
        let data = Bytes::from_request(request, payload);
        Box::pin(async move {
            let read = async {
                match data.await {
                    Ok(data) => Ok(Self(data)),
                    Err(error) => Err(match error.as_response_error().status_code() {
                        StatusCode::PAYLOAD_TOO_LARGE => Reply::too_large(),
                        _ => Reply::unreadable_body(),
                    }),
                }
            };
            let demo = demo.await.map_err(|_| Reply::unreadable_body())?;
            Ok(demo.in_time(read).await?)
        })
    }
}

/// A [`Reply`], which actix-web answers with.
#[derive(Debug)]
struct Answer(Reply);

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self(reply)
    }
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

impl ResponseError for Answer {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        for (name, value) in &self.0.headers {
            response.insert_header((*name, value.as_str()));
        }
        response.json(&self.0.json)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.json.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_ticket_is_left_nowhere() {
        let mut request = TestRequest::with_uri("/events/a?ticket=s3cret&lastEventId=7-1")
            .param("topics", "a")
            .to_srv_request();

        take_ticket(&mut request);

        let shown = format!("{request:?} {:?}", request.request());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("lastEventId=7-1"), "{shown}");
        let presented = request.extensions().get::<Presented>().cloned();
        assert!(matches!(presented, Some(Ok(Some(_)))));
    }
}
