//! CORS on Rocket: `rocket_cors`, a fairing. Run with `cargo run -p cors --bin cors-rocket`;
//! `../README.md` says what each setting is for.

#![forbid(unsafe_code)]

mod address;

use std::error::Error;

use fanfare::rocket::{LastEventId, RocketExt, Sse};
use fanfare::Broadcaster;
use rocket::fairing::AdHoc;
use rocket::http::Method;
use rocket::{get, routes, Config, State};
use rocket_cors::{AllowedHeaders, AllowedOrigins, CorsOptions};

/// The page's origin, exactly: scheme, host and port.
const PAGE: &str = "http://localhost:8080";

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cors = CorsOptions::default()
        .allowed_origins(AllowedOrigins::some_exact(&[PAGE]))
        .allow_credentials(true)
        .allowed_methods([Method::Get.into()].into())
        .allowed_headers(AllowedHeaders::some(&["Last-Event-ID"]))
        .max_age(Some(600))
        .to_cors()?;
    let hub = Broadcaster::builder().history(1_000).build();
    let address = address::from_arguments();
    let config = Config::figment()
        .merge((Config::ADDRESS, address.ip()))
        .merge((Config::PORT, address.port()))
        .merge((Config::LOG_LEVEL, "off"))
        .merge(("shutdown.grace", 1));

    rocket::custom(config)
        .attach(fanfare::rocket::fairing(hub))
        .attach(cors)
        .attach(AdHoc::on_liftoff("Announce", |rocket| {
            let config = rocket.config();
            address::announce((config.address, config.port).into());
            Box::pin(async {})
        }))
        .mount("/", routes![prices])
        .launch_until(fanfare::signal())
        .await?;
    Ok(())
}

#[get("/prices")]
fn prices(hub: &State<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}
