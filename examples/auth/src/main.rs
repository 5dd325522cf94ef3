//! Run with `cargo run -p auth`, then follow as Ada with a bearer token, as programs do:
//!
//! ```sh
//! curl -N -H 'Authorization: Bearer ada-secret' localhost:3000/messages
//! curl -H 'Authorization: Bearer bob-secret' -d 'hello' localhost:3000/messages/ada
//! ```
//!
//! or with a cookie, since a browser's `EventSource` sends no headers of yours:
//!
//! ```sh
//! curl -c cookies -d ada-secret localhost:3000/login
//! curl -N -b cookies localhost:3000/messages
//! ```
//!
//! A session ends with its streams: `curl -b cookies -X POST localhost:3000/logout`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};

#[tokio::main]
async fn main() -> io::Result<()> {
    let hub = Broadcaster::builder().history(100).max_per_key(8).build();
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    let server = fanfare::axum::serve(listener, app(hub.clone()).into_make_service())
        .with_graceful_shutdown(hub.close_when(fanfare::signal()));
    hub.serve(server, Duration::from_secs(1)).await
}

fn app(hub: Broadcaster) -> Router {
    Router::new()
        .route("/messages", get(messages))
        .route("/messages/{user}", post(send))
        .route("/logout", post(logout))
        // Whatever stands above is behind it, what stands below is not.
        .route_layer(middleware::from_fn(require_user))
        .route("/login", post(login))
        .with_state(hub)
}

/// A user that the middleware has let through.
#[derive(Clone, Copy)]
struct User {
    name: &'static str,
    token: &'static str,
    inbox: &'static str,
}

/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

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

    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        bearer(headers)
            .or_else(|| cookie(headers))
            .and_then(Self::by_token)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    value.to_str().ok()?.strip_prefix("Bearer ")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; "))
        .find_map(|cookie| cookie.strip_prefix("session="))
}

/// Answers 401 before a stream begins. A browser's `EventSource` does not come back after that,
/// which is what a page whose user must log in wants: it listens for `error`.
async fn require_user(mut request: Request, next: Next) -> Response {
    match User::from_headers(request.headers()) {
        Some(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// No topic is in the URL: whose messages these are, the middleware knows.
async fn messages(
    State(hub): State<Broadcaster>,
    Extension(user): Extension<User>,
    last: LastEventId,
) -> Sse {
    let messages = hub.subscribe(user.inbox).after(last);
    // With a key, a user has at most as many streams as `max_per_key` says, and loses them all at
    // the logout. Nothing is delivered once the session is over, whoever is still connected.
    Sse::new(messages.key(user.name).expires_in(SESSION))
}

async fn send(
    State(hub): State<Broadcaster>,
    Extension(from): Extension<User>,
    Path(to): Path<String>,
    body: String,
) -> Result<StatusCode, PublishError> {
    let Some(to) = User::by_name(&to) else {
        return Ok(StatusCode::NOT_FOUND);
    };
    let event = Event::data(format!("{}: {body}", from.name));
    hub.publish(to.inbox, event).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The streams end, on every page and device, and so does the session: a page that comes back is
/// answered with 401.
async fn logout(State(hub): State<Broadcaster>, Extension(user): Extension<User>) -> Response {
    hub.disconnect(user.name);
    let cookie = "session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0";
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

/// A cookie that scripts cannot read, and that other sites' requests do not carry. Where the app
/// is served over TLS, add `Secure`.
async fn login(token: String) -> Response {
    if User::by_token(&token).is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let seconds = SESSION.as_secs();
    let cookie = format!("session={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}
