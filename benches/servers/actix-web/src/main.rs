//! actix-web under test: with Fanfare, and with the usual channel per client.

#![forbid(unsafe_code)]

mod clients;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, PayloadConfig, Query, ServiceConfig};
use actix_web::{
    get, post, rt, App, CustomizeResponder, Either, HttpRequest, HttpResponse, HttpServer,
    Responder,
};
use actix_web_lab::sse;
use bench_server_shared::{
    about, broadcaster, publish, publish_lines, say_listening, topics, Flags, Kind, Parser,
    KEEP_ALIVE,
};
use clients::Clients;
use fanfare::actix_web::{bind_with, LastEventId, Sse, TcpOptions};
use fanfare::response::HEADERS;
use fanfare::Broadcaster;
use serde::Deserialize;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let Flags { kind, settings } = Flags::<Kind>::parse();
    let hub = broadcaster(settings.history);
    let clients = Data::new(Clients::new(settings.history, settings.channel()));
    if kind == Kind::Native {
        let clients = clients.clone();
        rt::spawn(async move {
            let mut beat = rt::time::interval(KEEP_ALIVE);
            loop {
                beat.tick().await;
                clients.remove_stale();
            }
        });
    }
    let routes = move |config: &mut ServiceConfig| {
        match kind {
            Kind::Fanfare => config.app_data(Data::new(hub.clone())).service((
                fanfare_events,
                fanfare_publish,
                fanfare_subscribers,
            )),
            Kind::Native => config.app_data(clients.clone()).service((
                native_events,
                native_publish,
                native_subscribers,
            )),
        };
    };
    let app = move || {
        App::new()
            // Bursts are large.
            .app_data(PayloadConfig::new(usize::MAX))
            .configure(routes.clone())
            .service(versions)
    };
    let options = match kind {
        Kind::Fanfare => TcpOptions::new(),
        // Nobody but us has the kernel drop clients that take nothing.
        Kind::Native => TcpOptions::new().user_timeout(None),
    };
    let listener = bind_with(settings.address(), options)?;
    say_listening(listener.local_addr()?)?;
    match kind {
        Kind::Fanfare => {
            fanfare::actix_web::serve(listener, app)
                .workers(settings.workers)
                .with_graceful_shutdown(fanfare::signal())
                .shutdown_timeout(0)
                .run()
                .await
        }
        Kind::Native => {
            HttpServer::new(app)
                .workers(settings.workers)
                .tcp_nodelay(true)
                // Else actix-web notices that a client has left when it next writes.
                .h1_allow_half_closed(false)
                .shutdown_signal(fanfare::signal())
                .shutdown_timeout(0)
                .listen(listener)?
                .run()
                .await
        }
    }
}

#[derive(Deserialize)]
struct EventsQuery {
    topics: String,
}

#[get("/events")]
async fn fanfare_events(
    hub: Data<Broadcaster>,
    query: Query<EventsQuery>,
    last: LastEventId,
) -> Either<Sse, HttpResponse> {
    match topics(&query.topics) {
        Ok(topics) => Either::Left(Sse::new(hub.subscribe(topics).after(last))),
        Err(words) => Either::Right(HttpResponse::BadRequest().body(words)),
    }
}

#[post("/publish/{topic}")]
async fn fanfare_publish(
    hub: Data<Broadcaster>,
    topic: Path<String>,
    body: Bytes,
) -> impl Responder {
    match publish(&hub, &topic, &body) {
        Ok(json) => (json, StatusCode::OK),
        Err(words) => (words, StatusCode::BAD_REQUEST),
    }
}

#[get("/subscribers")]
async fn fanfare_subscribers(hub: Data<Broadcaster>) -> String {
    hub.stats().subscribers.to_string()
}

#[get("/events")]
async fn native_events(
    clients: Data<Clients>,
    query: Query<EventsQuery>,
    request: HttpRequest,
) -> impl Responder {
    let last = request.headers().get("last-event-id");
    let events = clients.follow(&query.topics, last.and_then(|last| last.to_str().ok()));
    let sse = sse::Sse::from_infallible_stream(events).with_keep_alive(KEEP_ALIVE);
    let headers = HEADERS.into_iter();
    headers.fold(sse.customize(), CustomizeResponder::insert_header)
}

#[post("/publish/{topic}")]
async fn native_publish(
    clients: Data<Clients>,
    topic: Path<String>,
    body: Bytes,
) -> impl Responder {
    match publish_lines(&body, |line| clients.publish(&topic, line)) {
        Ok(json) => (json, StatusCode::OK),
        Err(error) => (error.to_string(), StatusCode::BAD_REQUEST),
    }
}

#[get("/subscribers")]
async fn native_subscribers(clients: Data<Clients>) -> String {
    clients.subscribers().to_string()
}

#[get("/about")]
async fn versions() -> String {
    let names = [
        "actix-http",
        "actix-web",
        "actix-web-lab",
        "fanfare",
        "tokio",
    ];
    about(env!("CARGO_PKG_NAME"), &names)
}
