//! Rocket under test: with Fanfare, and its own `EventStream` over a `tokio::sync::broadcast`.

#![forbid(unsafe_code)]

mod bare;

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bare::{Bare, Follower};
use bench_server_shared::native::{Message, Native};
use bench_server_shared::{
    about, broadcaster, publish, publish_lines, run, say_listening, tokio_workers, topics, Flags,
    Parser, Settings, KEEP_ALIVE,
};
use clap::ValueEnum;
use fanfare::response::HEADERS;
use fanfare::rocket::{LastEventId, Sse};
use fanfare::Broadcaster;
use futures_util::StreamExt as _;
use rocket::data::{Limits, ToByteUnit as _};
use rocket::fairing::AdHoc;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::response::stream::{Event, EventStream};
use rocket::response::{self, Responder};
use rocket::shield::Shield;
use rocket::tokio::select;
use rocket::{get, post, routes, Build, Config, Request, Rocket, Shutdown, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Fanfare
    Fanfare,
    /// What Rocket ships
    Native,
    /// What Rocket costs, whatever its body is
    Bare,
}

type Messages = Arc<Native<Arc<Message>>>;
type Refused = (Status, String);

fn main() -> io::Result<()> {
    let Flags { kind, settings } = Flags::<Kind>::parse();
    let app = app(&settings);
    let app = match kind {
        Kind::Fanfare => {
            let hub = broadcaster(settings.history);
            app.attach(fanfare::rocket::fairing(hub)).mount(
                "/",
                routes![
                    fanfare_events,
                    fanfare_publish,
                    fanfare_subscribers,
                    versions
                ],
            )
        }
        Kind::Native => {
            let messages: Messages = Arc::new(Native::new(settings.history, settings.channel()));
            app.manage(messages).mount(
                "/",
                routes![native_events, native_publish, native_subscribers, versions],
            )
        }
        Kind::Bare => app.manage(Arc::new(Bare::default())).mount(
            "/",
            routes![bare_events, bare_publish, bare_subscribers, versions],
        ),
    };
    // Rocket's own `main` makes this runtime, even for one worker.
    run(tokio_workers(settings.workers), async {
        let ended = app.launch().await;
        ended
            .map(drop)
            .map_err(|error| io::Error::other(error.to_string()))
    })
}

fn app(settings: &Settings) -> Rocket<Build> {
    let (host, port) = settings.address();
    let config = Config::figment()
        .merge((Config::ADDRESS, host))
        .merge((Config::PORT, port))
        .merge((Config::WORKERS, settings.workers))
        // Bursts are large.
        .merge((Config::LIMITS, Limits::new().limit("bytes", 64.mebibytes())))
        // Headers that the others do not send either.
        .merge((Config::IDENT, false))
        // Rocket logs to standard output, which says where it listens.
        .merge((Config::LOG_LEVEL, "off"))
        // They are ours.
        .merge(("shutdown.ctrlc", false))
        .merge(("shutdown.signals", Vec::<&str>::new()));
    rocket::custom(config)
        .attach(Shield::new())
        .attach(AdHoc::on_liftoff("Listening", |rocket| {
            let config = rocket.config();
            if say_listening((config.address, config.port).into()).is_err() {
                // Whoever started it is gone.
                rocket.shutdown().notify();
            }
            Box::pin(async {})
        }))
}

#[get("/events?<topics>")]
fn fanfare_events(
    topics: &str,
    hub: &State<Broadcaster>,
    last: LastEventId,
) -> Result<Sse, Refused> {
    let topics = self::topics(topics).map_err(bad_request)?;
    Ok(Sse::new(hub.subscribe(topics).after(last)))
}

#[post("/publish/<topic>", data = "<body>")]
fn fanfare_publish(topic: &str, body: &[u8], hub: &State<Broadcaster>) -> Result<String, Refused> {
    publish(hub, topic, body).map_err(bad_request)
}

#[get("/subscribers")]
fn fanfare_subscribers(hub: &State<Broadcaster>) -> String {
    hub.stats().subscribers.to_string()
}

/// As in Rocket's chat example, which ends its streams at shutdown.
#[get("/events?<topics>")]
fn native_events(
    topics: &str,
    native: &State<Messages>,
    last: Last,
    mut end: Shutdown,
) -> WithHeaders<EventStream![]> {
    let Last(last) = last;
    let events = native.follow(topics, last.as_deref());
    let stream = EventStream! {
        let mut events = pin!(events);
        loop {
            let message = select! {
                message = events.next() => message,
                () = &mut end => None,
            };
            let Some(message) = message else { break };
            yield Event::data(message.data.clone()).id(message.id.clone());
        }
    };
    WithHeaders(stream.heartbeat(KEEP_ALIVE))
}

#[post("/publish/<topic>", data = "<body>")]
fn native_publish(topic: &str, body: &[u8], native: &State<Messages>) -> Result<String, Refused> {
    let published = publish_lines(body, |line| {
        native.publish(topic, |id| {
            let data = line.to_owned();
            Arc::new(Message { id, data })
        });
    });
    published.map_err(|error| bad_request(error.to_string()))
}

#[get("/subscribers")]
fn native_subscribers(native: &State<Messages>) -> String {
    native.subscribers().to_string()
}

#[get("/events")]
fn bare_events(bare: &State<Arc<Bare>>) -> Follower {
    bare.follow()
}

#[post("/publish/<_>", data = "<body>")]
fn bare_publish(body: &[u8], bare: &State<Arc<Bare>>) -> Result<String, Refused> {
    let published = bare.publish(body);
    published.map_err(|error| bad_request(error.to_string()))
}

#[get("/subscribers")]
fn bare_subscribers(bare: &State<Arc<Bare>>) -> String {
    bare.followers().to_string()
}

#[get("/about")]
fn versions() -> String {
    about(
        env!("CARGO_PKG_NAME"),
        &["fanfare", "hyper", "rocket", "tokio"],
    )
}

fn bad_request(words: String) -> Refused {
    (Status::BadRequest, words)
}

/// `Last-Event-ID`, for who has no extractor for it.
struct Last(Option<String>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Last {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        let last = request.headers().get_one("Last-Event-ID");
        Outcome::Success(Self(last.map(str::to_owned)))
    }
}

/// The headers that the others send.
struct WithHeaders<R>(R);

impl<'r, R: Responder<'r, 'r>> Responder<'r, 'r> for WithHeaders<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'r> {
        let mut response = self.0.respond_to(request)?;
        for (name, value) in HEADERS {
            response.set_raw_header(name, value);
        }
        // Rocket's own, which nobody else sends.
        response.remove_header("expires");
        Ok(response)
    }
}
