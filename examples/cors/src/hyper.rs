//! CORS on hyper: `tower-http`, as on axum. Run with `cargo run -p cors --bin cors-hyper`;
//! `../README.md` says what each setting is for.

#![forbid(unsafe_code)]

mod address;

use std::convert::Infallible;
use std::future::{ready, IntoFuture};
use std::io;
use std::time::Duration;

use fanfare::hyper::smol::{bind, serve};
use fanfare::hyper::LastEventId;
use fanfare::Broadcaster;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::service::TowerToHyperService;
use tower::{service_fn, Layer};
use tower_http::cors::CorsLayer;

/// The page's origin, exactly: scheme, host and port.
const PAGE: HeaderValue = HeaderValue::from_static("http://localhost:8080");

fn main() -> io::Result<()> {
    let cors = CorsLayer::new()
        .allow_origin([PAGE])
        .allow_credentials(true)
        .allow_methods([Method::GET])
        .allow_headers([HeaderName::from_static("last-event-id")])
        .max_age(Duration::from_secs(600));
    let hub = Broadcaster::builder().history(1_000).build();
    let closing = hub.close_when(fanfare::signal());
    let prices = service_fn(move |request: Request<Incoming>| {
        let last = LastEventId::from_request(&request);
        let response = fanfare::hyper::response(hub.subscribe("prices").after(last));
        // The layer answers preflights itself, with a body of the same type.
        ready(Ok::<_, Infallible>(response.map(BodyExt::boxed_unsync)))
    });

    smol::block_on(async {
        let listener = bind(address::from_arguments()).await?;
        address::announce(listener.local_addr()?);
        serve(listener, TowerToHyperService::new(cors.layer(prices)))
            .with_graceful_shutdown(closing)
            .grace(Duration::from_secs(1))
            .into_future()
            .await
    })
}
