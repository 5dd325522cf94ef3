//! The example, served and read over sockets.

use super::*;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::thread;

use fanfare_contract::{Events, Request};
use serde_json::Value;

async fn serve(history: usize) -> io::Result<SocketAddr> {
    let hub = Broadcaster::builder().history(history).build();
    let listener = fanfare::axum::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app(Poll::new(hub))).into_future());
    Ok(address)
}

fn vote(server: SocketAddr, candidate: &str) {
    let answer = Request::post(&format!("/votes/{candidate}"), "").send(server);
    assert_eq!(answer.head.status, 200);
}

fn snapshot(server: SocketAddr) -> (Value, String) {
    let mut snapshot = Request::get("/votes").send(server).json();
    let after = snapshot["after"].as_str().expect("a place").to_owned();
    (snapshot["votes"].take(), after)
}

fn events_after(server: SocketAddr, place: &str) -> Events {
    Events::open(
        server,
        &Request::get(&format!("/events?lastEventId={place}")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_its_stream_make_the_state_whenever_they_are_taken() -> io::Result<()> {
    const VOTES: u64 = 200;
    let server = serve(1_000).await?;
    let mut snapshots = vec![snapshot(server)];
    let voter = thread::spawn(move || (0..VOTES).for_each(|_| vote(server, "tea")));
    while !voter.is_finished() {
        snapshots.push(snapshot(server));
    }
    voter.join().expect("every vote is taken");
    let (_, last) = snapshot(server);
    for (votes, after) in snapshots {
        let counted = votes["tea"].as_u64().unwrap_or_default();
        let rest = if after == last {
            0
        } else {
            events_after(server, &after).up_to(&last).len() as u64
        };
        assert_eq!(counted + rest, VOTES, "after {after}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_a_browser_that_returns_comes_before_the_pages_query() -> io::Result<()> {
    let server = serve(1_000).await?;
    let (_, after) = snapshot(server);
    for candidate in ["tea", "coffee", "water"] {
        vote(server, candidate);
    }
    let tea = events_after(server, &after).event();
    assert_eq!(tea.data, "tea");

    let target = format!("/events?lastEventId={after}");
    let request = Request::get(&target).header("Last-Event-ID", &*tea.last_event_id);
    let mut returned = Events::open(server, &request);
    assert_eq!(returned.event().data, "coffee");
    assert_eq!(returned.event().data, "water");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_answered_by_fetching_the_state_anew() -> io::Result<()> {
    let server = serve(2).await?;
    let (_, after) = snapshot(server);
    for _ in 0..5 {
        vote(server, "tea");
    }
    let gap = events_after(server, &after).gap();
    assert_eq!(gap["reason"], "expired");
    assert_eq!(gap["from"], *after);

    let (votes, after) = snapshot(server);
    assert_eq!(votes["tea"], 5);
    let mut stream = events_after(server, &after);
    vote(server, "coffee");
    assert_eq!(stream.event().data, "coffee");
    Ok(())
}
