//! The demo on Rocket.
//!
//! Run with `cargo xtask demo rocket`, or `cargo run --release -p demo-rocket -- --port 3000`.

#![forbid(unsafe_code)]

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use demo_shared::{Demo, Flags, Parser, Reply};
use fanfare::rocket::{LastEventId, RocketExt, Sse};
#[cfg(feature = "tls")]
use rocket::config::TlsConfig;
use rocket::data::{Capped, Limits, ToByteUnit};
use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::http::{Header, Status};
use rocket::response::content::RawHtml;
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{get, options, post, routes, Build, Config, Request, Rocket, State};

#[rocket::main]
async fn main() -> io::Result<()> {
    let flags = Flags::parse();
    if flags.header_timeout().is_some() {
        Flags::refuse(
            "Rocket cannot bound half requests: leave --header-timeout out, and put a proxy that \
             does in front of it",
        );
    }
    demo_shared::log();
    let hub = demo_shared::broadcaster(&flags);
    let demo = Demo::new(hub.clone());
    if let Some(every) = flags.metrics_every() {
        demo_shared::publish_metrics(&demo, every)?;
    }

    let config = config(&flags)?;
    let app = app(demo, config).attach(fanfare::rocket::fairing(hub));
    match app.launch_until(fanfare::signal()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn address(flags: &Flags) -> io::Result<SocketAddr> {
    let mut addresses = flags.address().to_socket_addrs()?;
    addresses
        .next()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn config(flags: &Flags) -> io::Result<Figment> {
    let address = address(flags)?;
    let config = Config::figment()
        .merge((Config::ADDRESS, address.ip()))
        .merge((Config::PORT, address.port()))
        .merge((
            Config::LIMITS,
            Limits::new().limit("bytes", demo_shared::MAX_DATA.bytes()),
        ))
        .merge(("shutdown.grace", flags.grace().as_secs()))
        // Else half a request holds up the end for three seconds more.
        .merge(("shutdown.mercy", 0))
        // Rocket logs to standard output, which says where the demo listens.
        .merge((Config::LOG_LEVEL, "off"));
    if flags.tls() {
        #[cfg(feature = "tls")]
        {
            let certificate = demo_shared::tls::Certificate::self_signed(flags)?;
            let (chain, key) = (certificate.pem(), certificate.key_pem());
            let tls = TlsConfig::from_bytes(chain.as_bytes(), key.as_bytes());
            return Ok(config.merge((Config::TLS, tls)));
        }
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    Ok(config)
}

fn app(demo: Demo, config: Figment) -> Rocket<Build> {
    rocket::custom(config)
        .manage(demo)
        .attach(AdHoc::on_response("CORS", |_, response| {
            response.set_raw_header("Access-Control-Allow-Origin", "*");
            Box::pin(async {})
        }))
        .attach(AdHoc::on_liftoff("Listening", |rocket| {
            if say_listening(rocket.config()).is_err() {
                // Whoever started it is gone.
                rocket.shutdown().notify();
            }
            Box::pin(async {})
        }))
        .mount(
            "/",
            routes![page, preflight, all_events, events, publish, echo, poll, long_poll, stats],
        )
}

fn say_listening(config: &Config) -> io::Result<()> {
    let address = (config.address, config.port).into();
    #[cfg(feature = "tls")]
    if config.tls_enabled() {
        return demo_shared::say_listening_with_tls(address);
    }
    demo_shared::say_listening(address)
}

#[get("/")]
fn page() -> RawHtml<&'static str> {
    RawHtml(demo_shared::PAGE)
}

#[options("/<_..>")]
fn preflight() -> Preflight {
    Preflight {
        body: (),
        methods: Header::new("Access-Control-Allow-Methods", "GET, POST"),
        headers: Header::new(
            "Access-Control-Allow-Headers",
            "cache-control, content-type, last-event-id",
        ),
    }
}

#[derive(Responder)]
#[response(status = 204)]
struct Preflight {
    body: (),
    methods: Header<'static>,
    headers: Header<'static>,
}

#[get("/events")]
fn all_events(demo: &State<Demo>, client: SocketAddr, last: LastEventId) -> Result<Sse, Answer> {
    events("all", demo, client, last)
}

#[get("/events/<topics>")]
fn events(
    topics: &str,
    demo: &State<Demo>,
    client: SocketAddr,
    last: LastEventId,
) -> Result<Sse, Answer> {
    Ok(Sse::new(demo.events(topics, last, client.ip())?))
}

#[post("/publish/<topic>?<event>", data = "<data>")]
fn publish(topic: &str, event: Option<&str>, data: Capped<Vec<u8>>, demo: &State<Demo>) -> Answer {
    Answer(if data.is_complete() {
        demo.publish(topic, event, &data.into_inner())
    } else {
        Reply::too_large()
    })
}

#[post("/echo", data = "<events>")]
fn echo(events: Capped<Vec<u8>>) -> Result<Sse, Answer> {
    if events.is_complete() {
        Ok(Sse::new(demo_shared::echo(&events.into_inner())?))
    } else {
        Err(Reply::too_large().into())
    }
}

#[get("/poll?<after>&<topics>")]
fn poll(after: Option<&str>, topics: Option<&str>, demo: &State<Demo>) -> Answer {
    Answer(demo.poll(topics, after))
}

#[get("/long-poll?<after>&<topics>&<wait>")]
async fn long_poll(
    after: Option<&str>,
    topics: Option<&str>,
    wait: Option<f64>,
    client: SocketAddr,
    demo: &State<Demo>,
) -> Answer {
    Answer(demo.long_poll(topics, after, wait, client.ip()).await)
}

#[get("/stats")]
fn stats(demo: &State<Demo>) -> Answer {
    Answer(demo.stats())
}

/// A [`Reply`], which Rocket answers with.
struct Answer(Reply);

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self(reply)
    }
}

impl<'r> Responder<'r, 'static> for Answer {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build_from(Json(self.0.json).respond_to(request)?);
        response.status(Status::new(self.0.status));
        if let Some(seconds) = self.0.retry_after {
            response.raw_header("Retry-After", seconds.to_string());
        }
        response.ok()
    }
}
