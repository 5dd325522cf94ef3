//! Run with `cargo run -p private-stream`, then watch either countdown with
//! `curl -N localhost:3000/generator` or `curl -N localhost:3000/channel`, leave, and see with
//! `curl localhost:3000/running` that it has ended.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::Router;
use fanfare::axum::Sse;
use fanfare::{channel, forward, stream, Event};
use futures_core::Stream;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = fanfare::axum::bind("127.0.0.1:3000").await?;
    let app = app(Duration::from_secs(1));
    fanfare::axum::serve(listener, app.into_make_service()).await
}

fn app(every: Duration) -> Router {
    let countdowns = Countdowns {
        every,
        running: Arc::default(),
    };
    Router::new()
        .route("/generator", get(generator))
        .route("/channel", get(through_channel))
        .route("/running", get(running))
        .with_state(countdowns)
}

/// The response is the generator. When the client leaves, it is dropped where it waits.
async fn generator(State(countdowns): State<Countdowns>) -> Sse {
    Sse::new(countdowns.start())
}

/// The same producer in a task of its own, which can do more than to answer this request. At most
/// 16 events wait for the client; then the producer does.
async fn through_channel(State(countdowns): State<Countdowns>) -> Sse {
    let (client, stream) = channel(16);
    tokio::spawn(async move {
        match forward(countdowns.start(), client).await {
            Ok(()) => println!("the client has the whole countdown"),
            // Also while the producer waits for its next event.
            Err(error) => println!("the countdown ends early: {error}"),
        }
    });
    Sse::new(stream)
}

async fn running(State(countdowns): State<Countdowns>) -> String {
    countdowns.running.load(Ordering::Relaxed).to_string()
}

#[derive(Clone)]
struct Countdowns {
    every: Duration,
    running: Arc<AtomicUsize>,
}

impl Countdowns {
    fn start(self) -> impl Stream<Item = Event> + Send {
        let running = Running::new(self.running);
        stream! {
            // Inside the generator, so that it is dropped with it.
            let _running = running;
            for n in (0..10).rev() {
                yield Event::data(n.to_string()).name("tick");
                tokio::time::sleep(self.every).await;
            }
        }
    }
}

/// Counts as long as it lives.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
