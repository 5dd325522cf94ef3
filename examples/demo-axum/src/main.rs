//! The demo on axum.
//!
//! Run with `cargo xtask demo`, or `cargo run --release -p demo-axum -- --port 3000`.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{
    ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, OriginalUri, Path, RawQuery,
    Request, State,
};
use axum::http::request::Parts;
use axum::http::{header, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::map_request;
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use demo_shared::{Credentials, Demo, Flags, Parser, Presented, Reply};
use fanfare::axum::{bind_with, LastEventId, Sse, TcpOptions};
use fanfare::tickets::take_from_uri;
use tower_http::classify::{ServerErrorsAsFailures, SharedClassifier};
use tower_http::cors::{Any, CorsLayer};
use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tracing::Level;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    demo_shared::log();
    let demo = Demo::start(&flags)?;
    let hub = demo.hub().clone();

    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    let listener = bind_with(flags.address(), options).await?;
    let address = listener.local_addr()?;
    let app = app(demo).into_make_service_with_connect_info::<SocketAddr>();
    let end = hub.drain_when(fanfare::signal(), flags.drain());
    if flags.tls() {
        #[cfg(feature = "tls")]
        {
            use axum::serve::ListenerExt as _;
            if flags.header_timeout().is_some() || flags.limits_connections() {
                Flags::refuse(
                    "axum's own server, which --tls takes, waits for heads forever, and accepts any \
                     number of connections",
                );
            }
            let certificate = demo_shared::tls::Certificate::self_signed(&flags)?;
            let listener = tls::TlsListener::new(listener, certificate.server_config()?);
            // Tapped, since axum then knows the clients' addresses.
            let listener = listener.tap_io(|_| {});
            demo_shared::say_listening_with_tls(address)?;
            let server = axum::serve(listener, app).with_graceful_shutdown(end);
            return hub.serve(server, flags.grace()).await;
        }
        #[cfg(not(feature = "tls"))]
        Flags::refuse(demo_shared::BUILT_WITHOUT_TLS);
    }
    demo_shared::say_listening(address)?;
    let mut server = fanfare::axum::serve(listener, app)
        .max_connections(flags.max_connections())
        .with_graceful_shutdown(end);
    if let Some(timeout) = flags.header_timeout() {
        server = server.header_read_timeout(timeout);
    }
    hub.serve(server, flags.grace()).await
}

fn app(demo: Demo) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ])
        // The same for every origin.
        .vary([]);
    let routes = Router::new()
        .route("/", get(Html(demo_shared::PAGE)))
        .route("/events", get(all_events))
        .route("/events/{topics}", get(events))
        .route("/publish/{topic}", post(publish))
        .route("/echo", post(echo))
        .route("/tickets", post(ticket))
        .route("/poll", get(poll))
        .route("/long-poll", get(long_poll))
        .route("/streams", delete(disconnect))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/debug", get(Html(demo_shared::DEBUG_PAGE)))
        .route("/debug/streams", get(debug))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(DefaultBodyLimit::max(demo_shared::MAX_DATA))
        .layer(cors);
    let routes = if demo_shared::logs_requests() {
        routes.layer(log_requests())
    } else {
        routes
    };
    routes
        // The outermost: what another layer logs has no ticket in it.
        .layer(map_request(take_ticket))
        .with_state(demo)
}

fn log_requests() -> TraceLayer<SharedClassifier<ServerErrorsAsFailures>> {
    TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_request(DefaultOnRequest::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO))
}

async fn take_ticket(mut request: Request) -> Request {
    let presented: Presented = take_from_uri(request.uri_mut());
    // The router has kept the address as it came.
    let uri = OriginalUri(request.uri().clone());
    request.extensions_mut().insert(uri);
    request.extensions_mut().insert(presented);
    request
}

async fn all_events(
    demo: State<Demo>,
    client: ConnectInfo<SocketAddr>,
    shown: Shown,
    last: LastEventId,
) -> Result<Sse, Answer> {
    events(demo, client, shown, Segment("all".to_owned()), last).await
}

async fn events(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Shown(credentials): Shown,
    Segment(topics): Segment,
    last: LastEventId,
) -> Result<Sse, Answer> {
    let stream = demo.events(&topics, last, client.ip(), credentials);
    Ok(Sse::new(stream.await?))
}

async fn publish(
    State(demo): State<Demo>,
    _: Allowed,
    Segment(topic): Segment,
    RawQuery(query): RawQuery,
    Data(data): Data,
) -> Result<Answer, Answer> {
    let query = query.unwrap_or_default();
    let published = demo.publish(&topic, &query, &data).await?;
    Ok(Answer(published))
}

async fn echo(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    _: Allowed,
    Data(events): Data,
) -> Result<Sse, Answer> {
    Ok(Sse::new(demo.echo(&events, client.ip())?))
}

async fn ticket(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    _: Allowed,
    RawQuery(query): RawQuery,
) -> Result<Answer, Answer> {
    Ok(Answer(
        demo.ticket(&query.unwrap_or_default(), client.ip())?,
    ))
}

async fn poll(
    State(demo): State<Demo>,
    _: Allowed,
    RawQuery(query): RawQuery,
) -> Result<Answer, Answer> {
    Ok(Answer(demo.poll(&query.unwrap_or_default()).await?))
}

async fn long_poll(
    State(demo): State<Demo>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    _: Allowed,
    RawQuery(query): RawQuery,
) -> Result<Answer, Answer> {
    let query = query.unwrap_or_default();
    Ok(Answer(demo.long_poll(&query, client.ip()).await?))
}

async fn disconnect(
    State(demo): State<Demo>,
    _: Allowed,
    RawQuery(query): RawQuery,
) -> Result<Answer, Answer> {
    Ok(Answer(demo.disconnect(&query.unwrap_or_default())?))
}

async fn debug(State(demo): State<Demo>, _: Allowed) -> Answer {
    Answer(demo.debug())
}

async fn stats(State(demo): State<Demo>) -> Answer {
    Answer(demo.stats().await)
}

async fn metrics(State(demo): State<Demo>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, demo_shared::METRICS_TYPE)],
        demo.metrics(),
    )
}

async fn no_route(uri: Uri) -> Answer {
    Answer(Reply::no_route(uri.path()))
}

/// The path's only parameter, refused in the demo's words.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Answer> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(Answer(Reply::path_not_utf8())),
        }
    }
}

/// What a request shows of who sends it.
struct Shown(Credentials);

impl<S: Sync> FromRequestParts<S> for Shown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(credentials(parts)))
    }
}

/// A request from who may do what needs the token.
struct Allowed;

impl FromRequestParts<Demo> for Allowed {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, demo: &Demo) -> Result<Self, Answer> {
        demo.check_token(&credentials(parts))?;
        Ok(Self)
    }
}

fn credentials(parts: &Parts) -> Credentials {
    let authorization = parts.headers.get(header::AUTHORIZATION);
    let ticket: Option<&Presented> = parts.extensions.get();
    Credentials::new(
        authorization.map(HeaderValue::as_bytes),
        ticket.cloned().unwrap_or(Ok(None)),
    )
}

/// A body, refused in the demo's words.
struct Data(Bytes);

impl FromRequest<Demo> for Data {
    type Rejection = Answer;

    async fn from_request(request: Request<Body>, demo: &Demo) -> Result<Self, Answer> {
        demo_shared::check_length(Some(request.body().size_hint().lower()))?;
        let read = async {
            match Bytes::from_request(request, demo).await {
                Ok(data) => Ok(Self(data)),
                Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                    Err(Reply::too_large())
                }
                Err(_) => Err(Reply::unreadable_body()),
            }
        };
        Ok(demo.in_time(read).await?)
    }
}

/// A [`Reply`], which axum answers with.
struct Answer(Reply);

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self(reply)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Reply {
            status,
            headers,
            json,
        } = self.0;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, AppendHeaders(headers), Json(json)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_is_left_nowhere() {
        let uri = Uri::from_static("/events/a?ticket=s3cret&lastEventId=7-1");
        let mut request = Request::new(Body::empty());
        // As the router has it by the time that the layer is reached.
        request.extensions_mut().insert(OriginalUri(uri.clone()));
        *request.uri_mut() = uri;

        let request = take_ticket(request).await;

        let original: Option<&OriginalUri> = request.extensions().get();
        let shown = format!("{request:?} {original:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("lastEventId=7-1"), "{shown}");
        let presented: Option<&Presented> = request.extensions().get();
        assert!(matches!(presented, Some(Ok(Some(_)))));
    }
}
