//! The example, served and read over sockets.

use super::*;

use std::future::IntoFuture;
use std::net::SocketAddr;

use fanfare_contract::{Events, Request};

async fn serve() -> io::Result<SocketAddr> {
    let listener = fanfare::axum::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app(Broadcaster::new())).into_future());
    Ok(address)
}

fn with_token(request: Request, token: &str) -> Request {
    request.header("Authorization", format!("Bearer {token}"))
}

fn get_as(token: &str, target: &str) -> Request {
    with_token(Request::get(target), token)
}

fn post_as(token: &str, topic: &str) -> Request {
    // The data is the topic: so the streams show what they carry.
    with_token(Request::post(&format!("/topics/{topic}"), topic), token)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_sees_what_the_app_allows_and_the_url_asks_for() -> io::Result<()> {
    let server = serve().await?;
    let first = post_as("machine", "first").send(server).text();
    let requests = [
        get_as("ada", "/events"),
        get_as("bob", "/events"),
        get_as("support", "/events"),
        get_as("ada", "/events?topics=sensors.7.temp,orders.ada.1"),
    ];
    let open = |request: &Request| Events::open(server, request);
    let live = requests.each_ref().map(open);
    let published = [
        "prices",
        "sensors.7.temp",
        "sensors.7.humidity",
        "sensors.8.temp",
        "orders.ada.1",
        "orders.bob.2.paid",
        // For each stream there is one of these, behind all that could be too much.
        "orders.ada.1",
        "orders.bob.2.paid",
    ];
    for topic in published {
        let answer = post_as("machine", topic).send(server);
        assert_eq!(answer.head.status, 200, "{topic}");
    }
    let seen = [
        &[
            "prices",
            "sensors.7.temp",
            "sensors.8.temp",
            "orders.ada.1",
            "orders.ada.1",
        ][..],
        &["prices", "orders.bob.2.paid", "orders.bob.2.paid"],
        &[
            "orders.ada.1",
            "orders.bob.2.paid",
            "orders.ada.1",
            "orders.bob.2.paid",
        ],
        &["sensors.7.temp", "orders.ada.1", "orders.ada.1"],
    ];
    // Replay passes through the same rights.
    let resume = |request: Request| open(&request.header("Last-Event-ID", &first));
    for streams in [live, requests.map(resume)] {
        for (mut stream, topics) in streams.into_iter().zip(seen) {
            let received: Vec<String> = topics.iter().map(|_| stream.event().data).collect();
            assert_eq!(received, topics);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_never_gives_more_than_the_app() -> io::Result<()> {
    let server = serve().await?;
    let status = |request: Request| request.send(server).head.status;
    assert_eq!(status(Request::get("/events")), 401);
    assert_eq!(status(get_as("eve", "/events")), 401);
    assert_eq!(status(get_as("bob", "/events?topics=sensors.7.temp")), 403);
    assert_eq!(
        status(get_as("bob", "/events?topics=prices,orders.ada.1")),
        403
    );
    // Patterns and `all` name no topic, and so cannot widen anything.
    for wide in ["all", "orders.*.1", "%3E", "", "prices,"] {
        let target = format!("/events?topics={wide}");
        assert_eq!(status(get_as("bob", &target)), 400, "{wide}");
    }
    assert_eq!(status(post_as("ada", "prices")), 403);
    assert_eq!(status(post_as("machine", "orders.*")), 400);
    Ok(())
}
