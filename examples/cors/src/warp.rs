//! CORS on warp: a filter of its own. Run with `cargo run -p cors --bin cors-warp`; `../README.md`
//! says what each setting is for.

#![forbid(unsafe_code)]

mod address;

use std::io;
use std::time::Duration;

use fanfare::warp::{last_event_id, Sse};
use fanfare::Broadcaster;
use warp::Filter;

/// The page's origin, exactly: scheme, host and port.
const PAGE: &str = "http://localhost:8080";

#[tokio::main]
async fn main() -> io::Result<()> {
    let cors = warp::cors()
        .allow_origin(PAGE)
        .allow_credentials(true)
        .allow_method("GET")
        .allow_header("last-event-id")
        .max_age(Duration::from_secs(600));
    let hub = Broadcaster::builder().history(1_000).build();
    let subscribed = hub.clone();
    let prices = warp::path!("prices")
        .and(warp::get())
        .and(last_event_id())
        .map(move |last| Sse::new(subscribed.subscribe("prices").after(last)))
        .with(cors);

    let listener = fanfare::warp::bind(address::from_arguments()).await?;
    address::announce(listener.local_addr()?);
    let server = fanfare::warp::serve(listener, warp::service(prices))
        .with_graceful_shutdown(hub.close_when(fanfare::signal()));
    hub.serve(server, Duration::from_secs(1)).await
}
