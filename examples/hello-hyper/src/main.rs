//! Run with `cargo run -p hello-hyper`; follow with `curl -N localhost:3000/prices`, and publish
//! with `curl -d 1.07 localhost:3000/prices`.
//!
//! hyper leaves the accept loop to the app; Fanfare brings one, here on tokio. `smol-without-tokio` is
//! the same on smol.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::time::Duration;

use fanfare::hyper::{LastEventId, PublishError};
use fanfare::response::SseBody;
use fanfare::{Broadcaster, Event};
use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = fanfare::hyper::tokio::bind("127.0.0.1:3000").await?;
    serve(listener, fanfare::signal()).await
}

async fn serve(
    listener: TcpListener,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let prices = hub.clone();
    let service = service_fn(move |request| answer(prices.clone(), request));
    let server =
        fanfare::hyper::tokio::serve(listener, service).with_graceful_shutdown(hub.close_when(end));
    hub.serve(server, Duration::from_secs(1)).await
}

/// A stream of events, or words.
type Body = Either<SseBody, String>;

async fn answer(hub: Broadcaster, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/prices") => prices(&hub, &request).map(Either::Left),
        (&Method::POST, "/prices") => quote(&hub, request).await.map(Either::Right),
        _ => words(StatusCode::NOT_FOUND, "there is nothing here").map(Either::Right),
    })
}

fn prices(hub: &Broadcaster, request: &Request<Incoming>) -> Response<SseBody> {
    let last = LastEventId::from_request(request);
    fanfare::hyper::response(hub.subscribe("prices").after(last))
}

async fn quote(hub: &Broadcaster, request: Request<Incoming>) -> Response<String> {
    let Ok(body) = Limited::new(request.into_body(), 1 << 16).collect().await else {
        return words(StatusCode::BAD_REQUEST, "a quote is at most 64 KiB of text");
    };
    let body = body.to_bytes();
    let event = Event::data(String::from_utf8_lossy(&body)).name("quote");
    match hub.publish("prices", event).await {
        Ok(id) => Response::new(id.to_string()),
        Err(error) => PublishError(error).into_response(),
    }
}

fn words(status: StatusCode, words: &str) -> Response<String> {
    let mut response = Response::new(words.to_owned());
    *response.status_mut() = status;
    response
}
