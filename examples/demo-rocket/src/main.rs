//! The demo on Rocket.
//!
//! Run with `cargo xtask demo rocket`, or `cargo run --release -p demo-rocket -- --port 3000`.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use demo_shared::{path, Credentials, Demo, Flags, Parser, Presented, Reply};
use fanfare::rocket::{LastEventId, RocketExt, Sse};
use fanfare::tickets::take_from_target;
#[cfg(feature = "tls")]
use rocket::config::TlsConfig;
use rocket::data::{self, Data, FromData, ToByteUnit};
use rocket::fairing::{AdHoc, Fairing, Info, Kind};
use rocket::figment::Figment;
use rocket::form::Form;
use rocket::http::uri::Origin;
use rocket::http::{ContentType, Header, Method, Status};
use rocket::request::{FromRequest, Outcome};
use rocket::response::content::RawHtml;
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{
    async_trait, catch, catchers, delete, get, options, post, routes, uri, Build, Config, Request,
    Rocket, State,
};

#[rocket::main]
async fn main() -> io::Result<()> {
    let flags = Flags::parse();
    if flags.header_timeout().is_some() {
        Flags::refuse(
            "Rocket cannot bound half requests: leave --header-timeout out, and put a proxy that \
             does in front of it",
        );
    }
    if flags.limits_connections() {
        Flags::refuse(
            "Rocket cannot bound connections: leave --max-connections out, and put a proxy that does \
             in front of it",
        );
    }
    demo_shared::log();
    let demo = Demo::start(&flags)?;
    let hub = demo.hub().clone();

    let config = config(&flags)?;
    let app = app(demo, config).attach(fanfare::rocket::fairing(hub.clone()));
    let end = hub.drain_when(fanfare::signal(), flags.drain());
    let server = async {
        let ended = app.launch_until(end).await;
        ended.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(())
    };
    hub.serve(server, flags.grace()).await
}

/// Rocket is told one address: of those that a name has, the first that can be bound.
fn address(flags: &Flags) -> io::Result<SocketAddr> {
    let mut last_error = io::ErrorKind::AddrNotAvailable.into();
    for address in flags.address().to_socket_addrs()? {
        match TcpListener::bind(address) {
            Ok(_closed_again) => return Ok(address),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn config(flags: &Flags) -> io::Result<Figment> {
    let address = address(flags)?;
    let config = Config::figment()
        .merge((Config::ADDRESS, address.ip()))
        .merge((Config::PORT, address.port()))
        .merge(("shutdown.grace", flags.grace().as_secs()))
        // Else half a request holds up the end for three seconds more.
        .merge(("shutdown.mercy", 0))
        // Rocket's own log is that of its requests.
        .merge((
            Config::LOG_LEVEL,
            if demo_shared::logs_requests() {
                "normal"
            } else {
                "off"
            },
        ));
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
        // The first, and before Rocket logs the request: no log has a ticket in it.
        .attach(AdHoc::on_request("Tickets", |request, _| {
            take_ticket(request);
            Box::pin(async {})
        }))
        .attach(Methods)
        .attach(AdHoc::on_request("Slashes", |request, _| {
            // To Rocket `/stats/` and `//stats` are `/stats`; here they are no routes.
            let path = request.uri().path();
            if path.contains("//") || (path != "/" && path.ends_with('/')) {
                request.set_uri(uri!("/no-route"));
            }
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
            routes![
                page, preflight, all_events, events, publish, echo, ticket, poll, long_poll,
                disconnect, stats, metrics, debug_page, debug
            ],
        )
        .register("/", catchers![no_route, refused])
}

fn take_ticket(request: &mut Request<'_>) {
    let target = request.uri().to_string();
    let taken = take_from_target(&target);
    if taken.rest != target {
        // A part of an address is one. If it were not: rather `/` than the ticket.
        let uri = Origin::parse_owned(taken.rest.into_owned());
        request.set_uri(uri.unwrap_or_else(|_| uri!("/")));
    }
    request.local_cache::<Presented, _>(|| taken.ticket);
}

/// Rocket takes the first field of a form for the method if it is called `_method`. Here a body is data,
/// and the method is what the client says.
struct Methods;

#[async_trait]
impl Fairing for Methods {
    fn info(&self) -> Info {
        Info {
            name: "Methods",
            kind: Kind::Request,
        }
    }

    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        if !request.content_type().is_some_and(|kind| kind.is_form()) {
            return;
        }
        let beginning = std::str::from_utf8(data.peek(PEEKED).await);
        let field = beginning.ok().and_then(|text| Form::values(text).next());
        let named = field
            .filter(|field| field.name == "_method")
            .and_then(|field| field.value.parse().ok());
        // Rocket does not say what the method was, but of `POST` alone it makes another. (So a client that
        // says `PUT` itself, and sends such a form, is taken for one that says `POST`.)
        if named == Some(request.method()) {
            request.set_method(Method::Post);
        }
    }
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
        methods: Header::new("Access-Control-Allow-Methods", demo_shared::ALLOWED_METHODS),
        headers: Header::new("Access-Control-Allow-Headers", demo_shared::ALLOWED_HEADERS),
    }
}

#[derive(Responder)]
struct Preflight {
    body: (),
    methods: Header<'static>,
    headers: Header<'static>,
}

#[get("/events")]
async fn all_events(
    demo: &State<Demo>,
    client: SocketAddr,
    shown: Shown,
    last: LastEventId,
) -> Result<Sse, Answer> {
    let stream = demo.events("all", last, client.ip(), shown.0);
    Ok(Sse::new(stream.await?))
}

#[get("/events/<_>")]
async fn events(
    topics: Result<Segment, Reply>,
    demo: &State<Demo>,
    client: SocketAddr,
    shown: Shown,
    last: LastEventId,
) -> Result<Sse, Answer> {
    let Segment(topics) = topics?;
    let stream = demo.events(&topics, last, client.ip(), shown.0);
    Ok(Sse::new(stream.await?))
}

#[post("/publish/<_>", data = "<body>")]
async fn publish(
    allowed: Result<Allowed, Reply>,
    topic: Result<Segment, Reply>,
    query: Query<'_>,
    body: Result<Body, Reply>,
    demo: &State<Demo>,
) -> Result<Answer, Answer> {
    allowed?;
    let (Segment(topic), Body(data)) = (topic?, body?);
    Ok(Answer(demo.publish(&topic, query.0, &data).await?))
}

#[post("/echo", data = "<body>")]
fn echo(
    allowed: Result<Allowed, Reply>,
    body: Result<Body, Reply>,
    client: SocketAddr,
    demo: &State<Demo>,
) -> Result<Sse, Answer> {
    allowed?;
    let Body(events) = body?;
    Ok(Sse::new(demo.echo(&events, client.ip())?))
}

#[post("/tickets")]
fn ticket(
    allowed: Result<Allowed, Reply>,
    query: Query<'_>,
    client: SocketAddr,
    demo: &State<Demo>,
) -> Result<Answer, Answer> {
    allowed?;
    Ok(Answer(demo.ticket(query.0, client.ip())?))
}

#[get("/poll")]
async fn poll(
    allowed: Result<Allowed, Reply>,
    query: Query<'_>,
    demo: &State<Demo>,
) -> Result<Answer, Answer> {
    allowed?;
    Ok(Answer(demo.poll(query.0).await?))
}

#[get("/long-poll")]
async fn long_poll(
    allowed: Result<Allowed, Reply>,
    query: Query<'_>,
    client: SocketAddr,
    demo: &State<Demo>,
) -> Result<Answer, Answer> {
    allowed?;
    Ok(Answer(demo.long_poll(query.0, client.ip()).await?))
}

#[delete("/streams")]
fn disconnect(
    allowed: Result<Allowed, Reply>,
    query: Query<'_>,
    demo: &State<Demo>,
) -> Result<Answer, Answer> {
    allowed?;
    Ok(Answer(demo.disconnect(query.0)?))
}

#[get("/stats")]
async fn stats(demo: &State<Demo>) -> Answer {
    Answer(demo.stats().await)
}

#[get("/metrics")]
fn metrics(demo: &State<Demo>) -> (ContentType, String) {
    let kind = ContentType::parse_flexible(demo_shared::METRICS_TYPE);
    (kind.unwrap_or(ContentType::Plain), demo.metrics())
}

#[get("/debug")]
fn debug_page() -> RawHtml<&'static str> {
    RawHtml(demo_shared::DEBUG_PAGE)
}

#[get("/debug/streams")]
fn debug(allowed: Result<Allowed, Reply>, demo: &State<Demo>) -> Result<Answer, Answer> {
    allowed?;
    Ok(Answer(demo.debug()))
}

#[catch(404)]
fn no_route(request: &Request<'_>) -> Answer {
    Answer(Reply::no_route(request.uri().path().as_str()))
}

#[catch(default)]
fn refused(status: Status, _request: &Request<'_>) -> Answer {
    Answer(Reply::error(status.code, status.reason_lossy()))
}

/// The path's last segment; Rocket's own parameters replace what is not UTF-8.
struct Segment(String);

#[async_trait]
impl<'r> FromRequest<'r> for Segment {
    type Error = Reply;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Reply> {
        match path::last_segment(request.uri().path().as_str()) {
            Ok(segment) => Outcome::Success(Self(segment)),
            Err(reply) => Outcome::Error((Status::new(reply.status), reply)),
        }
    }
}

/// What a request shows of who sends it.
struct Shown(Credentials);

#[async_trait]
impl<'r> FromRequest<'r> for Shown {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        Outcome::Success(Self(credentials(request)))
    }
}

/// A request from who may do what needs the token.
struct Allowed;

#[async_trait]
impl<'r> FromRequest<'r> for Allowed {
    type Error = Reply;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Reply> {
        let Some(demo) = request.rocket().state::<Demo>() else {
            return Outcome::Forward(Status::InternalServerError);
        };
        match demo.check_token(&credentials(request)) {
            Ok(()) => Outcome::Success(Self),
            Err(reply) => Outcome::Error((Status::new(reply.status), reply)),
        }
    }
}

fn credentials(request: &Request<'_>) -> Credentials {
    let authorization = request.headers().get_one("Authorization");
    let ticket = request.local_cache(|| Presented::Ok(None)).clone();
    Credentials::new(authorization.map(str::as_bytes), ticket)
}

/// The query as it came.
#[derive(Clone, Copy)]
struct Query<'r>(&'r str);

#[async_trait]
impl<'r> FromRequest<'r> for Query<'r> {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        let query = request.uri().query();
        Outcome::Success(Self(query.map_or("", |query| query.as_str())))
    }
}

/// How much of a body Rocket looks at before anybody else does, for a form that names its method.
const PEEKED: usize = "_method=delete".len();

/// A body from who may do what needs the token, refused in the demo's words.
struct Body(Vec<u8>);

#[async_trait]
impl<'r> FromData<'r> for Body {
    type Error = Reply;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        let refuse = |reply: Reply| data::Outcome::Error((Status::new(reply.status), reply));
        let Some(demo) = request.rocket().state::<Demo>() else {
            return refuse(Reply::unreadable_body());
        };
        // First: of who may not, nothing is read.
        if let Err(reply) = demo.check_token(&credentials(request)) {
            return refuse(reply);
        }
        let length = request.headers().get_one("Content-Length");
        if let Err(reply) = demo_shared::check_length(length.and_then(|n| n.parse().ok())) {
            return refuse(reply);
        }
        // So short a body is whole only if its end has been seen.
        let was_read = data.peek_complete();
        let read = async {
            match data.open(demo_shared::MAX_DATA.bytes()).into_bytes().await {
                Ok(data) if data.len() < PEEKED && !was_read => Err(Reply::unreadable_body()),
                Ok(data) if data.is_complete() => Ok(Self(data.into_inner())),
                Ok(_) => Err(Reply::too_large()),
                Err(_) => Err(Reply::unreadable_body()),
            }
        };
        match demo.in_time(read).await {
            Ok(body) => data::Outcome::Success(body),
            Err(reply) => refuse(reply),
        }
    }
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
        for (name, value) in self.0.headers {
            response.raw_header(name, value);
        }
        response.ok()
    }
}
