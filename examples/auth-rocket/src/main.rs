//! Run with `cargo run -p auth-rocket`, then as in the example `auth`: with a bearer token, as
//! programs do, or with a cookie, since a browser's `EventSource` sends no headers of yours:
//!
//! ```sh
//! curl -N -H 'Authorization: Bearer ada-secret' localhost:3000/messages
//! curl -H 'Authorization: Bearer bob-secret' -d 'hello' localhost:3000/messages/ada
//!
//! curl -c cookies -d ada-secret localhost:3000/login
//! curl -N -b cookies localhost:3000/messages
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use fanfare::rocket::{LastEventId, PublishError, RocketExt, Sse};
use fanfare::{Broadcaster, Event};
use rocket::http::{Cookie, CookieJar, SameSite, Status};
use rocket::request::{FromRequest, Outcome};
use rocket::{async_trait, get, post, routes, Build, Config, Request, Rocket, State};

#[rocket::main]
async fn main() -> Result<(), Box<rocket::Error>> {
    app(3000).launch_until(fanfare::signal()).await?;
    Ok(())
}

fn app(port: u16) -> Rocket<Build> {
    let hub = Broadcaster::builder().history(100).build();
    let config = Config::figment()
        .merge((Config::PORT, port))
        .merge(("shutdown.grace", 1));
    rocket::custom(config)
        .attach(fanfare::rocket::fairing(hub))
        .mount("/", routes![messages, send, login])
}

/// A user, as a request guard: a handler that takes one is not run without.
#[derive(Clone, Copy)]
struct User {
    name: &'static str,
    token: &'static str,
    inbox: &'static str,
}

/// Where an app has its database, with hashes of the tokens instead of the tokens.
const USERS: [User; 2] = [
    User {
        name: "ada",
        token: "ada-secret",
        inbox: "inbox.ada",
    },
    User {
        name: "bob",
        token: "bob-secret",
        inbox: "inbox.bob",
    },
];

impl User {
    fn by_token(token: &str) -> Option<Self> {
        USERS.into_iter().find(|user| user.token == token)
    }

    fn by_name(name: &str) -> Option<Self> {
        USERS.into_iter().find(|user| user.name == name)
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for User {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let header = request.headers().get_one("Authorization");
        let bearer = header.and_then(|value| value.strip_prefix("Bearer "));
        let cookie = || request.cookies().get("session").map(Cookie::value);
        match bearer.or_else(cookie).and_then(Self::by_token) {
            Some(user) => Outcome::Success(user),
            None => Outcome::Error((Status::Unauthorized, ())),
        }
    }
}

/// No topic is in the URL: whose messages these are, the guard knows.
#[get("/messages")]
fn messages(hub: &State<Broadcaster>, user: User, last: LastEventId) -> Sse {
    Sse::new(hub.subscribe(user.inbox).key(user.name).after(last))
}

#[post("/messages/<to>", data = "<body>")]
async fn send(
    hub: &State<Broadcaster>,
    from: User,
    to: &str,
    body: String,
) -> Result<Status, PublishError> {
    let Some(to) = User::by_name(to) else {
        return Ok(Status::NotFound);
    };
    let event = Event::data(format!("{}: {body}", from.name));
    hub.publish(to.inbox, event).await?;
    Ok(Status::Accepted)
}

/// A cookie that scripts cannot read, and that other sites' requests do not carry. Where the app
/// is served over TLS, add `secure(true)`. With Rocket's feature `secrets` it can be a private
/// cookie, which is encrypted.
#[post("/login", data = "<token>")]
fn login(token: String, cookies: &CookieJar<'_>) -> Status {
    if User::by_token(&token).is_none() {
        return Status::Unauthorized;
    }
    let cookie = Cookie::build(("session", token))
        .http_only(true)
        .same_site(SameSite::Strict)
        .path("/");
    cookies.add(cookie);
    Status::NoContent
}
