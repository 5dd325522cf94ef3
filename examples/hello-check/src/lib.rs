//! What each `hello-*` is tested with: a server of the topic `prices`, over real sockets.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use fanfare_contract::{End, Events, Request};

/// Follows `/prices`, publishes there, comes back to it, and is there when the server ends.
///
/// It blocks: the server runs in other threads.
///
/// # Panics
///
/// If the server does anything else than it should.
#[track_caller]
pub fn check(server: SocketAddr, stop: impl FnOnce()) {
    let publish = |price: &str| Request::post("/prices", price).send(server).text();

    let mut follower = Events::open(server, &Request::get("/prices"));
    let first = publish("1.07");
    let event = follower.event();
    assert_eq!((&*event.name, &*event.data), ("quote", "1.07"));
    assert_eq!(*event.last_event_id, *first);

    let second = publish("1.08");
    let request = Request::get("/prices").header("Last-Event-ID", &first);
    let mut returned = Events::open(server, &request);
    let event = returned.event();
    assert_eq!(event.data, "1.08");
    assert_eq!(*event.last_event_id, *second);

    stop();
    for mut stream in [follower, returned] {
        assert_eq!(stream.rest().1, End::Clean);
    }
}
