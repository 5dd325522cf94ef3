//! The example, served and read over sockets.

use super::*;

use std::net::SocketAddr;
use std::sync::mpsc;

use fanfare_contract::{Events, Request};
use rocket::fairing::AdHoc;

fn serve() -> SocketAddr {
    let (ready, address) = mpsc::channel();
    let app = app(0).attach(AdHoc::on_liftoff("Ready", move |rocket| {
        let config = rocket.config();
        let sent = ready.send((config.address, config.port).into());
        sent.expect("the test waits");
        Box::pin(async {})
    }));
    rocket::tokio::spawn(app.launch_until(std::future::pending()));
    address.recv().expect("it lifts off")
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

#[rocket::async_test]
async fn bearer_and_cookie_each_open_their_users_own_stream() {
    let server = serve();
    let login = Request::post("/login", "bob-secret").send(server);
    let cookie = login.head.get("set-cookie").expect("a session");
    let (session, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/");

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
}

#[rocket::async_test]
async fn without_a_user_there_is_no_stream() {
    let server = serve();
    let status = |request: Request| request.send(server).head.status;
    assert_eq!(status(Request::get("/messages")), 401);
    assert_eq!(status(Request::post("/messages/ada", "spam")), 401);
    assert_eq!(status(Request::post("/login", "guess")), 401);
    assert_eq!(status(bearer(Request::get("/messages"), "guess")), 401);
    let cookie = Request::get("/messages").header("Cookie", "session=guess");
    assert_eq!(status(cookie), 401);
}
