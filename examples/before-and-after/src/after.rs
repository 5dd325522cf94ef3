//! A chat with one room.

use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::Router;
use fanfare::axum::{LastEventId, PublishError, Sse};
use fanfare::{Broadcaster, Event};

type Room = Broadcaster;

pub(crate) async fn run() -> io::Result<()> {
    let room = Broadcaster::builder().history(100).build();
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    let server = fanfare::axum::serve(listener, app(room.clone()).into_make_service())
        .with_graceful_shutdown(room.close_when(fanfare::signal()));
    room.serve(server, Duration::from_secs(1)).await
}

pub(crate) fn app(room: Room) -> Router {
    Router::new()
        .route("/chat", get(listen).post(speak))
        .with_state(room)
}

async fn listen(State(room): State<Room>, last: LastEventId) -> Sse {
    Sse::new(room.subscribe("chat").after(last))
}

async fn speak(State(room): State<Room>, words: String) -> Result<(), PublishError> {
    room.publish("chat", Event::data(words)).await?;
    Ok(())
}
