//! A chat with one room.

use std::convert::Infallible;
use std::io;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

type Room = broadcast::Sender<String>;

pub(crate) async fn run() -> io::Result<()> {
    let (room, _) = broadcast::channel(100);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(room)).await
}

pub(crate) fn app(room: Room) -> Router {
    Router::new()
        .route("/chat", get(listen).post(speak))
        .with_state(room)
}

async fn listen(State(room): State<Room>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let words = BroadcastStream::new(room.subscribe())
        .filter_map(Result::ok)
        .map(|words| Ok(Event::default().data(words)));
    Sse::new(words).keep_alive(KeepAlive::default())
}

async fn speak(State(room): State<Room>, words: String) {
    // It fails if nobody listens.
    let _ = room.send(words);
}
