//! The two apps with the same clients, over sockets; and the README, which shows their difference.

use super::*;

use std::future::IntoFuture;
use std::net::SocketAddr;

use axum::Router;
use fanfare::Broadcaster;
use fanfare_contract::{Events, Request};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;

const CAPACITY: usize = 100;

async fn serve(app: Router) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(address)
}

/// What a listener hears until "end" of a burst that is longer than the room is large.
///
/// The runtime of these tests has one thread, so the server does not run in the middle of the
/// burst: as if it were busy, or the client slow.
async fn heard_of_a_burst(app: Router, speak: impl Fn(String)) -> io::Result<Vec<String>> {
    let server = serve(app).await?;
    let open = move || Events::open(server, &Request::get("/chat"));
    let mut stream = spawn_blocking(open).await?;
    for n in 0..2 * CAPACITY {
        speak(n.to_string());
    }
    speak("end".to_owned());
    let read = move || {
        let events = std::iter::from_fn(|| Some(stream.event()));
        let said = events.map(|event| match &*event.name {
            "message" => event.data,
            name => name.to_owned(),
        });
        said.take_while(|words| words != "end").collect()
    };
    Ok(spawn_blocking(read).await?)
}

#[tokio::test]
async fn before_a_listener_that_lags_is_not_told() -> io::Result<()> {
    let (room, _) = broadcast::channel(CAPACITY);
    let speak = |words| drop(room.send(words));
    let heard = heard_of_a_burst(before::app(room.clone()), speak).await?;
    // The channel keeps a power of two: the first that is heard is somewhere in the middle.
    assert!(heard.len() < 2 * CAPACITY);
    let first: usize = heard[0]
        .parse()
        .expect("just the next words, as if all were well");
    assert!(first > 0);
    Ok(())
}

#[tokio::test]
async fn after_a_listener_that_lags_is_told() -> io::Result<()> {
    let room = Broadcaster::builder().history(CAPACITY).build();
    let speak = |words| {
        let published = room.try_publish("chat", fanfare::Event::data(words));
        assert!(published.is_ok(), "{published:?}");
    };
    let heard = heard_of_a_burst(after::app(room.clone()), speak).await?;
    assert_eq!(heard[0], "gap");
    assert_eq!(
        heard.len(),
        CAPACITY,
        "the gap, and all of the history but the end"
    );
    Ok(())
}

/// What a listener hears that was away while somebody spoke: the first words after its return.
fn heard_after_absence(server: SocketAddr) -> String {
    let speak = |words: &str| {
        let answer = Request::post("/chat", words).send(server);
        assert_eq!(answer.head.status, 200);
    };
    let mut stream = Events::open(server, &Request::get("/chat"));
    speak("one");
    let one = stream.event();
    assert_eq!(one.data, "one");
    drop(stream);
    speak("two");
    let request = Request::get("/chat").header("Last-Event-ID", &*one.last_event_id);
    let mut returned = Events::open(server, &request);
    speak("three");
    returned.event().data
}

#[tokio::test]
async fn before_a_listener_that_returns_has_missed_what_was_said() -> io::Result<()> {
    let (room, _) = broadcast::channel(CAPACITY);
    let server = serve(before::app(room)).await?;
    let heard = spawn_blocking(move || heard_after_absence(server)).await?;
    assert_eq!(heard, "three");
    Ok(())
}

#[tokio::test]
async fn after_a_listener_that_returns_hears_what_was_said() -> io::Result<()> {
    let room = Broadcaster::builder().history(CAPACITY).build();
    let server = serve(after::app(room)).await?;
    let heard = spawn_blocking(move || heard_after_absence(server)).await?;
    assert_eq!(heard, "two");
    Ok(())
}

#[test]
fn the_readme_shows_the_difference() {
    let readme = include_str!("../README.md");
    let (_, diff) = readme.split_once("```diff\n").expect("a diff");
    let (diff, _) = diff.split_once("```").expect("its end");
    let side = |other: char| -> String {
        let lines = diff.lines().filter(|line| !line.starts_with(other));
        // The first column says on which side a line is; an empty line may be without.
        lines
            .flat_map(|line| [line.get(1..).unwrap_or_default(), "\n"])
            .collect()
    };
    assert_eq!(side('+'), include_str!("before.rs"));
    assert_eq!(side('-'), include_str!("after.rs"));
}
