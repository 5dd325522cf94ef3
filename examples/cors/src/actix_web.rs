//! CORS on actix-web: `actix-cors`. Run with `cargo run -p cors --bin cors-actix-web`;
//! `../README.md` says what each setting is for.

#![forbid(unsafe_code)]

mod address;

use std::io;

use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{get, App, HttpServer};
use fanfare::actix_web::{HttpServerExt, LastEventId, Sse};
use fanfare::Broadcaster;

/// The page's origin, exactly: scheme, host and port.
const PAGE: &str = "http://localhost:8080";

#[actix_web::main]
async fn main() -> io::Result<()> {
    let hub = Broadcaster::builder().history(1_000).build();
    let shared = Data::new(hub.clone());
    let app = move || {
        let cors = Cors::default()
            .allowed_origin(PAGE)
            .supports_credentials()
            .allowed_methods([Method::GET])
            .allowed_header("Last-Event-ID")
            .max_age(600);
        App::new()
            .app_data(shared.clone())
            .wrap(cors)
            .service(prices)
    };

    let server = HttpServer::new(app)
        .stream_until(&hub, fanfare::signal())
        .shutdown_timeout(1)
        .listen(fanfare::actix_web::bind(address::from_arguments())?)?;
    server.addrs().into_iter().for_each(address::announce);
    server.run().await
}

#[get("/prices")]
async fn prices(hub: Data<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}
