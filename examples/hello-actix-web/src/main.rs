//! Run with `cargo run -p hello-actix-web`; follow with `curl -N localhost:3000/prices`, and
//! publish with `curl -d 1.07 localhost:3000/prices`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{get, post, App, HttpServer};
use fanfare::actix_web::{HttpServerExt, LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let (_, server) = serve("127.0.0.1:3000", fanfare::signal())?;
    server.await
}

/// The server, which runs when awaited, and where it listens.
fn serve(
    address: &str,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<(Vec<SocketAddr>, Server)> {
    let hub = Broadcaster::builder().history(1_000).build();
    let shared = Data::new(hub.clone());
    let app = move || App::new().app_data(shared.clone()).service((prices, quote));
    let server = HttpServer::new(app)
        .stream_until(&hub, end)
        .shutdown_timeout(1)
        .listen(fanfare::actix_web::bind(address)?)?;
    Ok((server.addrs(), server.run()))
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
