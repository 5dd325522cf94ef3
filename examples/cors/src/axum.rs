//! CORS on axum: `tower-http`. Run with `cargo run -p cors --bin cors-axum`; `../README.md` says
//! what each setting is for.

#![forbid(unsafe_code)]

mod address;

use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::routing::get;
use axum::Router;
use fanfare::axum::{LastEventId, Sse};
use fanfare::Broadcaster;
use tower_http::cors::CorsLayer;

/// The page's origin, exactly: scheme, host and port.
const PAGE: HeaderValue = HeaderValue::from_static("http://localhost:8080");

#[tokio::main]
async fn main() -> io::Result<()> {
    let cors = CorsLayer::new()
        .allow_origin([PAGE])
        .allow_credentials(true)
        .allow_methods([Method::GET])
        .allow_headers([HeaderName::from_static("last-event-id")])
        .max_age(Duration::from_secs(600));
    let hub = Broadcaster::builder().history(1_000).build();
    let app = Router::new()
        .route("/prices", get(prices))
        .layer(cors)
        .with_state(hub.clone());

    let listener = fanfare::axum::bind(address::from_arguments()).await?;
    address::announce(listener.local_addr()?);
    let server = fanfare::axum::serve(listener, app.into_make_service())
        .with_graceful_shutdown(hub.close_when(fanfare::signal()));
    hub.serve(server, Duration::from_secs(1)).await
}

async fn prices(State(hub): State<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}
