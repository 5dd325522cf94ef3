//! Run with `cargo run -p smol-without-tokio`, then watch the clock with
//! `curl -N localhost:3000/clock`.
//!
//! hyper takes tokio's synchronisation along, which is futures like any other. There is no tokio
//! runtime: `cargo tree -p smol-without-tokio -e normal -i tokio -f '{p} {f}'` shows no `rt`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::{ready, Future, IntoFuture};
use std::io;
use std::time::Duration;

use fanfare::hyper::smol::{bind, serve, Listener};
use fanfare::hyper::LastEventId;
use fanfare::{Broadcaster, Event, EventSource, SendError};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::Request;
use smol::future;

fn main() -> io::Result<()> {
    smol::block_on(async {
        let listener = bind("127.0.0.1:3000").await?;
        run(listener, Duration::from_secs(1), fanfare::signal()).await
    })
}

/// Serves the clock until `end`: two futures in one task, and one task for each connection.
async fn run(
    listener: Listener,
    every: Duration,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let hub = Broadcaster::builder().history(60).build();
    let clock = tick(hub.topic("clock"), every);
    let closing = hub.close_when(end);
    let service = service_fn(move |request: Request<Incoming>| {
        let last = LastEventId::from_request(&request);
        let response = fanfare::hyper::response(hub.subscribe("clock").after(last));
        ready(Ok::<_, Infallible>(response))
    });
    let server = serve(listener, service)
        .with_graceful_shutdown(closing)
        .grace(Duration::from_secs(1));
    let (served, ()) = future::zip(server.into_future(), clock).await;
    served
}

/// Ticks until nobody can hear it any more. It does not know that a topic stands behind `out`,
/// nor on which runtime that is; only the timer is smol's.
async fn tick(mut out: impl EventSource, every: Duration) {
    for tick in 1_u64.. {
        let pause = async {
            smol::Timer::after(every).await;
        };
        // The clock does not hold up the end for a pause.
        future::or(out.closed(), pause).await;
        let event = Event::data(tick.to_string()).name("tick");
        if let Err(SendError::Closed) = out.send(event).await {
            return;
        }
    }
}
