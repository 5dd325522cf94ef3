//! Run with `cargo run -p hello-warp`; follow with `curl -N localhost:3000/prices`, and publish
//! with `curl -d 1.07 localhost:3000/prices`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::time::Duration;

use fanfare::warp::{last_event_id, PublishError, Sse};
use fanfare::{Broadcaster, Event};
use tokio::net::TcpListener;
use warp::hyper::body::Bytes;
use warp::Filter;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = fanfare::warp::bind("127.0.0.1:3000").await?;
    serve(listener, fanfare::signal()).await
}

async fn serve(
    listener: TcpListener,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let shared = hub.clone();
    let app = warp::any().map(move || shared.clone());
    let prices = warp::path!("prices")
        .and(warp::get())
        .and(app.clone())
        .and(last_event_id())
        .map(|hub: Broadcaster, last| Sse::new(hub.subscribe("prices").after(last)));
    let quotes = warp::path!("prices")
        .and(warp::post())
        .and(app)
        .and(warp::body::content_length_limit(1 << 16))
        .and(warp::body::bytes())
        .then(quote);
    let server = fanfare::warp::serve(listener, warp::service(prices.or(quotes)))
        .with_graceful_shutdown(hub.close_when(end));
    hub.serve(server, Duration::from_secs(1)).await
}

async fn quote(hub: Broadcaster, body: Bytes) -> Result<String, PublishError> {
    let event = Event::data(String::from_utf8_lossy(&body)).name("quote");
    let id = hub.publish("prices", event).await?;
    Ok(id.to_string())
}
