//! The example, served and read over sockets.

use super::*;

use std::future::IntoFuture;
use std::net::SocketAddr;

use fanfare_contract::{End, Events, Request};

async fn serve() -> io::Result<SocketAddr> {
    let hub = Broadcaster::builder().history(100).max_per_key(1).build();
    let listener = fanfare::axum::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app(hub)).into_future());
    Ok(address)
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn bearer_and_cookie_each_open_their_users_own_stream() -> io::Result<()> {
    let server = serve().await?;
    let login = Request::post("/login", "bob-secret").send(server);
    let cookie = login.head.get("set-cookie").expect("a session");
    let (session, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(
        attributes,
        "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"
    );

    let mut ada = Events::open(server, &bearer(Request::get("/messages"), "ada-secret"));
    let request = Request::get("/messages").header("Cookie", format!("theme=dark; {session}"));
    let mut bob = Events::open(server, &request);
    let send = |to: &str, text: &str| {
        let request = Request::post(&format!("/messages/{to}"), text);
        bearer(request, "ada-secret").send(server).head.status
    };
    assert_eq!(send("bob", "for bob"), 202);
    assert_eq!(send("ada", "for ada"), 202);
    assert_eq!(send("eve", "for nobody"), 404);
    // The first that each sees is the first that is theirs.
    assert_eq!(ada.event().data, "ada: for ada");
    assert_eq!(bob.event().data, "ada: for bob");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_user_there_is_no_stream() -> io::Result<()> {
    let server = serve().await?;
    let status = |request: Request| request.send(server).head.status;
    assert_eq!(status(Request::get("/messages")), 401);
    assert_eq!(status(Request::post("/messages/ada", "spam")), 401);
    assert_eq!(status(Request::post("/login", "guess")), 401);
    assert_eq!(status(bearer(Request::get("/messages"), "guess")), 401);
    let cookie = Request::get("/messages").header("Cookie", "session=guess");
    assert_eq!(status(cookie), 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_streams_are_counted_however_they_come() -> io::Result<()> {
    let server = serve().await?;
    let _first = Events::open(server, &bearer(Request::get("/messages"), "ada-secret"));
    let second = Request::get("/messages").header("Cookie", "session=ada-secret");
    assert_eq!(second.send(server).head.status, 429);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_users_streams_and_nobody_elses() -> io::Result<()> {
    let server = serve().await?;
    let mut ada = Events::open(server, &bearer(Request::get("/messages"), "ada-secret"));
    let mut bob = Events::open(server, &bearer(Request::get("/messages"), "bob-secret"));
    let logout = bearer(Request::post("/logout", ""), "ada-secret").send(server);
    assert_eq!(logout.head.status, 204);
    let cookie = logout.head.get("set-cookie").expect("taken back");
    assert!(cookie.starts_with("session=;"), "{cookie}");
    let (_, end) = ada.rest();
    assert_eq!(end, End::Clean);
    let send = bearer(Request::post("/messages/bob", "still there"), "ada-secret");
    assert_eq!(send.send(server).head.status, 202);
    assert_eq!(bob.event().data, "ada: still there");
    Ok(())
}
