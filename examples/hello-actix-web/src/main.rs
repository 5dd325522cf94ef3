//! Run with `cargo run -p hello-actix-web`; follow with `curl -N localhost:3000/prices`, and
//! publish with `curl -d 1.07 localhost:3000/prices`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{get, post, App};
use fanfare::actix_web::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let listener = fanfare::actix_web::bind("127.0.0.1:3000")?;
    serve(listener, fanfare::signal()).await
}

async fn serve(
    listener: TcpListener,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    // Once, outside the closure that each worker calls.
    let shared = Data::new(hub.clone());
    let app = move || App::new().app_data(shared.clone()).service((prices, quote));
    let server =
        fanfare::actix_web::serve(listener, app).with_graceful_shutdown(hub.close_when(end));
    hub.serve(server.run(), Duration::from_secs(1)).await
}

#[get("/prices")]
async fn prices(hub: Data<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}

#[post("/prices")]
async fn quote(hub: Data<Broadcaster>, body: String) -> Result<String, PublishError> {
    let event = Event::data(body).name("quote");
    let id = hub.publish("prices", event).await?;
    Ok(id.to_string())
}
