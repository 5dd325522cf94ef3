//! The demo on actix-web.
//!
//! Run with `cargo xtask demo actix-web`, or
//! `cargo run --release -p demo-actix-web -- --port 3000`.

#![forbid(unsafe_code)]

use actix_web::dev::PeerAddr;
use actix_web::http::{header, StatusCode};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Bytes, Data, Html, Path, PayloadConfig, Query};
use actix_web::{get, guard, post, route, App, Either, HttpResponse, HttpServer};
use demo_shared::{Demo, Flags, Parser, Reply};
use fanfare::actix_web::{bind_with, HttpServerExt, LastEventId, Sse, TcpOptions};
use serde::Deserialize;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let hub = demo_shared::broadcaster(&flags);
    let demo = Data::new(Demo::new(hub.clone()));
    if let Some(every) = flags.metrics_every() {
        demo_shared::publish_metrics(&demo, every)?;
    }

    let server = HttpServer::new(move || {
        App::new()
            .app_data(demo.clone())
            .app_data(PayloadConfig::new(demo_shared::MAX_DATA))
            .wrap(DefaultHeaders::new().add((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")))
            .service(
                web::resource("/{path:.*}")
                    .guard(guard::Options())
                    .to(preflight),
            )
            .service((
                page, all_events, events, publish, echo, poll, long_poll, stats,
            ))
    })
    .stream_until(&hub, fanfare::signal())
    .shutdown_timeout(flags.grace().as_secs());
    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options)?;
    if flags.tls() {
        #[cfg(feature = "tls")]
        {
            let certificate = demo_shared::tls::Certificate::self_signed(&flags)?;
            let server = server.listen_rustls_0_23(listener, certificate.server_config()?)?;
            for address in server.addrs() {
                demo_shared::say_listening_with_tls(address)?;
            }
            return server.run().await;
        }
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    let server = server.listen(listener)?;
    for address in server.addrs() {
        demo_shared::say_listening(address)?;
    }
    server.run().await
}

#[get("/")]
async fn page() -> Html {
    Html::new(demo_shared::PAGE)
}

async fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "cache-control, content-type, last-event-id",
        ))
        .finish()
}

#[route("/events", method = "GET", method = "HEAD")]
async fn all_events(demo: Data<Demo>, client: PeerAddr, last: LastEventId) -> Stream {
    stream(&demo, "all", client, last)
}

#[route("/events/{topics}", method = "GET", method = "HEAD")]
async fn events(
    demo: Data<Demo>,
    client: PeerAddr,
    topics: Path<String>,
    last: LastEventId,
) -> Stream {
    stream(&demo, &topics, client, last)
}

type Stream = Either<Sse, HttpResponse>;

fn stream(demo: &Demo, topics: &str, PeerAddr(client): PeerAddr, last: LastEventId) -> Stream {
    match demo.events(topics, last, client.ip()) {
        Ok(subscribe) => Either::Left(Sse::new(subscribe)),
        Err(reply) => Either::Right(json(reply)),
    }
}

#[derive(Deserialize)]
struct PublishQuery {
    event: Option<String>,
}

#[post("/publish/{topic}")]
async fn publish(
    demo: Data<Demo>,
    topic: Path<String>,
    query: Query<PublishQuery>,
    data: actix_web::Result<Bytes>,
) -> HttpResponse {
    json(match data {
        Ok(data) => demo.publish(&topic, query.event.as_deref(), &data),
        Err(error) => {
            let status = error.as_response_error().status_code();
            Reply::error(status.as_u16(), error)
        }
    })
}

#[post("/echo")]
async fn echo(data: Bytes) -> Stream {
    match demo_shared::echo(&data) {
        Ok(answer) => Either::Left(Sse::new(answer)),
        Err(reply) => Either::Right(json(reply)),
    }
}

#[derive(Deserialize)]
struct PollQuery {
    after: Option<String>,
    topics: Option<String>,
    wait: Option<f64>,
}

#[get("/poll")]
async fn poll(demo: Data<Demo>, query: Query<PollQuery>) -> HttpResponse {
    json(demo.poll(query.topics.as_deref(), query.after.as_deref()))
}

#[get("/long-poll")]
async fn long_poll(
    demo: Data<Demo>,
    PeerAddr(client): PeerAddr,
    query: Query<PollQuery>,
) -> HttpResponse {
    let (topics, after) = (query.topics.as_deref(), query.after.as_deref());
    json(demo.long_poll(topics, after, query.wait, client.ip()).await)
}

#[get("/stats")]
async fn stats(demo: Data<Demo>) -> HttpResponse {
    json(demo.stats())
}

fn json(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = reply.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.json(reply.json)
}
