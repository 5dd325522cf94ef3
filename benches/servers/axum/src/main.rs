//! axum under test: with Fanfare, natively, and by the transports that compete with server-sent
//! events.

#![forbid(unsafe_code)]

mod events;
mod transports;

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{header, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::Router;
use bench_server_shared::native::{Message, Native};
use bench_server_shared::{
    about, broadcaster, broadcaster_waking_inline, publish, publish_lines, run, say_listening,
    tokio_runtime, Flags, Parser,
};
use clap::ValueEnum;
use fanfare::axum::{bind_with, TcpOptions};
use fanfare::Broadcaster;

/// What serves the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Fanfare's integration
    #[value(alias = "sse")]
    Fanfare,
    /// The same, but each publish wakes everybody itself: what `publish-10000` compares with
    #[value(hide = true)]
    FanfareInline,
    /// axum's own `Sse` over a `tokio::sync::broadcast`
    Native,
    /// axum's `WebSocket` over a `tokio::sync::broadcast`
    Websocket,
    /// Requests that wait for an event, answered from Fanfare's history
    LongPoll,
    /// Requests again and again, answered from Fanfare's history
    Poll,
}

/// Where events are published to and read from. There is one for each kind, so that nobody pays for
/// the others.
#[derive(Clone)]
enum App {
    Fanfare(Broadcaster),
    Native(Arc<Native<Arc<Message>>>),
    Websocket(Arc<Native<Utf8Bytes>>),
}

fn main() -> io::Result<()> {
    let Flags { kind, settings } = Flags::<Kind>::parse();
    let history = settings.history;
    let app = match kind {
        Kind::Fanfare | Kind::LongPoll | Kind::Poll => App::Fanfare(broadcaster(history)),
        Kind::FanfareInline => App::Fanfare(broadcaster_waking_inline(history)),
        Kind::Native => App::Native(Arc::new(Native::new(history, settings.channel()))),
        Kind::Websocket => App::Websocket(Arc::new(Native::new(history, settings.channel()))),
    };
    run(tokio_runtime(settings.workers), async {
        let options = match &app {
            App::Fanfare(_) => TcpOptions::new(),
            // Nobody but us has the kernel drop clients that take nothing.
            App::Native(_) | App::Websocket(_) => TcpOptions::new().user_timeout(None),
        };
        let listener = bind_with(settings.address(), options).await?;
        say_listening(listener.local_addr()?)?;
        match &app {
            App::Fanfare(_) => {
                fanfare::axum::serve(listener, router(app)?.into_make_service()).await
            }
            App::Native(_) | App::Websocket(_) => axum::serve(listener, router(app)?).await,
        }
    })
}

fn router(app: App) -> std::io::Result<Router> {
    let router = Router::new()
        .route("/publish/{topic}", post(publish_to))
        .route("/subscribers", get(subscribers))
        .route("/about", get(versions))
        // Bursts are large.
        .layer(DefaultBodyLimit::disable());
    let router = match &app {
        App::Fanfare(hub) => router
            .route("/events", get(events::fanfare))
            .merge(transports::polling(hub.clone())?),
        App::Native(_) => router.route("/events", get(events::native)),
        App::Websocket(_) => router.route("/ws", get(transports::websocket)),
    };
    Ok(router.with_state(app))
}

async fn publish_to(State(app): State<App>, Path(topic): Path<String>, body: Bytes) -> Response {
    let published = match app {
        App::Fanfare(hub) => publish(&hub, &topic, &body),
        App::Native(native) => publish_lines(&body, |line| {
            native.publish(&topic, |id| {
                let data = line.to_owned();
                Arc::new(Message { id, data })
            });
        })
        .map_err(|error| error.to_string()),
        App::Websocket(native) => publish_lines(&body, |line| {
            native.publish(&topic, |id| format!("{id}\n{line}").into());
        })
        .map_err(|error| error.to_string()),
    };
    match published {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(words) => (StatusCode::BAD_REQUEST, words).into_response(),
    }
}

async fn subscribers(State(app): State<App>) -> String {
    match app {
        App::Fanfare(hub) => hub.stats().subscribers,
        App::Native(native) => native.subscribers(),
        App::Websocket(native) => native.subscribers(),
    }
    .to_string()
}

async fn versions() -> impl IntoResponse {
    let about = about(
        env!("CARGO_PKG_NAME"),
        &["axum", "fanfare", "hyper", "tokio"],
    );
    ([(header::CONTENT_TYPE, "application/json")], about)
}
