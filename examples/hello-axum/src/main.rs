//! Run with `cargo run -p hello-axum`; follow with `curl -N localhost:3000/prices`, and publish
//! with `curl -d 1.07 localhost:3000/prices`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::Router;
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    serve(listener, fanfare::signal()).await
}

async fn serve(
    listener: TcpListener,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let app = Router::new()
        .route("/prices", get(prices).post(quote))
        .with_state(hub.clone());
    let server = fanfare::axum::serve(listener, app.into_make_service())
        .with_graceful_shutdown(hub.close_when(end));
    hub.serve(server, Duration::from_secs(1)).await
}

async fn prices(State(hub): State<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}

async fn quote(State(hub): State<Broadcaster>, body: String) -> Result<String, PublishError> {
    let event = Event::data(body).name("quote");
    let id = hub.publish("prices", event).await?;
    Ok(id.to_string())
}
