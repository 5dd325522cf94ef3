//! hyper under test: with Fanfare, on tokio and on smol, and by hand.
//!
//! On tokio each is served as its users serve it: Fanfare's by its own loop, the other by one that is
//! written by hand.

#![forbid(unsafe_code)]

mod events;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bench_server_shared::native::Native;
use bench_server_shared::{
    about, broadcaster, publish, publish_lines, run, say_listening, tokio_runtime, Flags, Parser,
    Settings,
};
use clap::ValueEnum;
use fanfare::hyper::tokio::{bind_with, TcpOptions};
use fanfare::response::SseBody;
use fanfare::Broadcaster;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// What serves the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Fanfare's integration, on tokio
    Fanfare,
    /// Fanfare's integration, on smol
    FanfareSmol,
    /// A `StreamBody` over a `tokio::sync::broadcast`
    Native,
}

/// Where events are published to and read from.
#[derive(Clone)]
enum App {
    Fanfare(Broadcaster),
    Native(Arc<Native<Bytes>>),
}

/// Fanfare's body, or that of whoever writes it by hand, who boxes it.
type Body = Either<SseBody, UnsyncBoxBody<Bytes, Infallible>>;

fn main() -> io::Result<()> {
    let Flags { kind, settings } = Flags::<Kind>::parse();
    let history = settings.history;
    match kind {
        Kind::Fanfare => on_tokio(&settings, &App::Fanfare(broadcaster(history))),
        Kind::FanfareSmol => on_smol(&settings, &App::Fanfare(broadcaster(history))),
        Kind::Native => {
            let native = Native::new(history, settings.channel());
            on_tokio(&settings, &App::Native(Arc::new(native)))
        }
    }
}

fn on_tokio(settings: &Settings, app: &App) -> io::Result<()> {
    run(tokio_runtime(settings.workers), async {
        let options = match app {
            App::Fanfare(_) => TcpOptions::new(),
            // Nobody but us has the kernel drop clients that take nothing.
            App::Native(_) => TcpOptions::new().user_timeout(None),
        };
        let listener = bind_with(settings.address(), options).await?;
        say_listening(listener.local_addr()?)?;
        match app {
            App::Fanfare(_) => {
                let app = app.clone();
                let service = service_fn(move |request| answer(app.clone(), request));
                fanfare::hyper::tokio::serve(listener, service).await
            }
            App::Native(_) => serve_by_hand(listener, app).await,
        }
    })
}

/// As in hyper's examples.
async fn serve_by_hand(listener: TcpListener, app: &App) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let app = app.clone();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(app.clone(), request)),
            );
        tokio::spawn(connection);
    }
}

fn on_smol(settings: &Settings, app: &App) -> io::Result<()> {
    // How smol's executor is told how many threads to have; there is no other way.
    std::env::set_var("SMOL_THREADS", settings.workers.to_string());
    smol::block_on(async {
        let listener = fanfare::hyper::smol::bind(settings.address()).await?;
        say_listening(listener.local_addr()?)?;
        let app = app.clone();
        let service = service_fn(move |request| answer(app.clone(), request));
        let server = async { fanfare::hyper::smol::serve(listener, service).await };
        let end = async {
            fanfare::signal().await;
            Ok(())
        };
        smol::future::or(server, end).await
    })
}

async fn answer(app: App, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    let (method, path) = (request.method(), request.uri().path());
    Ok(match (method, path) {
        (&Method::GET, "/events") => events::events(&app, &request),
        (&Method::GET, "/subscribers") => words(StatusCode::OK, subscribers(&app)),
        (&Method::GET, "/about") => words(StatusCode::OK, versions()),
        (&Method::POST, path) => match path.strip_prefix("/publish/") {
            Some(topic) => {
                let topic = topic.to_owned();
                let lines = request.into_body().collect().await?.to_bytes();
                publish_to(&app, &topic, &lines)
            }
            None => words(StatusCode::NOT_FOUND, String::new()),
        },
        _ => words(StatusCode::NOT_FOUND, String::new()),
    })
}

fn publish_to(app: &App, topic: &str, lines: &[u8]) -> Response<Body> {
    let published = match app {
        App::Fanfare(hub) => publish(hub, topic, lines),
        App::Native(native) => publish_lines(lines, |line| {
            native.publish(topic, |id| format!("id: {id}\ndata: {line}\n\n").into());
        })
        .map_err(|error| error.to_string()),
    };
    match published {
        Ok(json) => words(StatusCode::OK, json),
        Err(error) => words(StatusCode::BAD_REQUEST, error),
    }
}

fn subscribers(app: &App) -> String {
    match app {
        App::Fanfare(hub) => hub.stats().subscribers,
        App::Native(native) => native.subscribers(),
    }
    .to_string()
}

fn versions() -> String {
    about(
        env!("CARGO_PKG_NAME"),
        &["fanfare", "hyper", "smol", "tokio"],
    )
}

fn words(status: StatusCode, words: String) -> Response<Body> {
    let body = Full::new(words.into()).boxed_unsync();
    let mut response = Response::new(Either::Right(body));
    *response.status_mut() = status;
    response
}
