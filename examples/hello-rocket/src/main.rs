//! Run with `cargo run -p hello-rocket`; follow with `curl -N localhost:3000/prices`, and publish
//! with `curl -d 1.07 localhost:3000/prices`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use fanfare::rocket::{LastEventId, PublishError, RocketExt, Sse};
use fanfare::{Broadcaster, Event};
use rocket::{get, post, routes, Build, Config, Rocket, State};

#[rocket::main]
async fn main() -> Result<(), Box<rocket::Error>> {
    app(3000).launch_until(fanfare::signal()).await?;
    Ok(())
}

fn app(port: u16) -> Rocket<Build> {
    let hub = Broadcaster::builder().history(1_000).build();
    let config = Config::figment()
        .merge((Config::PORT, port))
        .merge(("shutdown.grace", 1));
    rocket::custom(config)
        // Manages the broadcaster, and closes it at shutdown.
        .attach(fanfare::rocket::fairing(hub))
        .mount("/", routes![prices, quote])
}

#[get("/prices")]
fn prices(hub: &State<Broadcaster>, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe("prices").after(last))
}

#[post("/prices", data = "<body>")]
async fn quote(hub: &State<Broadcaster>, body: String) -> Result<String, PublishError> {
    let event = Event::data(body).name("quote");
    let id = hub.publish("prices", event).await?;
    Ok(id.to_string())
}
