//! The example, served and read over sockets.

use super::*;

use std::future::IntoFuture;
use std::net::SocketAddr;

use fanfare::Decoded;
use fanfare_contract::{wait_for, End, Events, Request};

async fn serve(every: Duration) -> io::Result<SocketAddr> {
    let listener = fanfare::axum::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app(every)).into_future());
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_gets_a_countdown_of_its_own_and_its_end() -> io::Result<()> {
    let server = serve(Duration::from_millis(1)).await?;
    for path in ["/generator", "/channel"] {
        let (items, end) = Events::open(server, &Request::get(path)).rest();
        let ticks: String = items
            .iter()
            .filter_map(|item| match item {
                Decoded::Event(event) if event.name == "tick" => Some(&*event.data),
                _ => None,
            })
            .collect();
        assert_eq!((&*ticks, end), ("9876543210", End::Clean), "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_producer_where_it_waits() -> io::Result<()> {
    // Nobody lives to see the second tick.
    let server = serve(Duration::from_secs(60 * 60)).await?;
    let running = || Request::get("/running").send(server).text();
    for path in ["/generator", "/channel"] {
        let mut stream = Events::open(server, &Request::get(path));
        assert_eq!(stream.event().data, "9", "{path}");
        assert_eq!(running(), "1", "{path}");
        drop(stream);
        wait_for("the producer to end", || (running() == "0").then_some(()));
    }
    Ok(())
}
