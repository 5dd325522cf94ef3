//! What warp makes of a reply and of a request, without a socket.

use std::cell::Cell;

use async_stream::stream;
use fanfare_core::{Broadcaster, Event, WhenRefused};
use fanfare_warp::{last_event_id, LastEventId, PublishError, Sse};
use warp::http::StatusCode;
use warp::test::request;
use warp::{Filter, Reply};

/// warp asks that bodies be `Sync`. What an application writes rarely is: a generator that holds
/// a `Cell` across an await is not.
#[tokio::test]
async fn a_stream_need_not_be_sync() {
    let countdown = warp::any().map(|| {
        let left = Cell::new(2_u32);
        let events = stream! {
            while left.get() > 0 {
                left.set(left.get() - 1);
                yield Event::data(left.get().to_string()).name("tick");
                tokio::task::yield_now().await;
            }
        };
        Sse::new(events)
    });

    let response = request().reply(&countdown).await;

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(
        response.headers()["cache-control"],
        "no-cache, no-transform"
    );
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(
        response.body(),
        ":\nevent: tick\ndata: 1\n\nevent: tick\ndata: 0\n\n"
    );
}

#[tokio::test]
async fn nothing_that_a_client_writes_is_rejected() {
    let read = |header: &'static [u8], path: &'static str| async move {
        let request = request().path(path).header("last-event-id", header);
        let last: LastEventId = request.filter(&last_event_id()).await?;
        Ok::<_, std::convert::Infallible>(last.as_str().map(str::to_owned))
    };
    for (header, path, expect) in [
        (&b"7-42"[..], "/?lastEventId=1-1", Some("7-42")),
        ("café".as_bytes(), "/", Some("café")),
        (b"\xff", "/", Some("\u{fffd}")),
        (b"", "/?lastEventId=1%2D1", Some("1-1")),
        (b"", "/?a=b", None),
        (b"", "/", None),
    ] {
        let last = read(header, path).await;
        assert_eq!(last.as_ref().map(Option::as_deref), Ok(expect), "{path}");
    }
    let last: Result<LastEventId, _> = request().filter(&last_event_id()).await;
    assert_eq!(last, Ok(LastEventId::default()));
}

#[tokio::test]
async fn a_refusal_is_answered_as_configured() {
    let hub = Broadcaster::builder()
        .max_subscribers(0)
        .when_refused(WhenRefused::Status)
        .build();

    let response = Sse::new(hub.subscribe("prices")).into_response();

    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn an_error_is_a_reply() {
    let hub = Broadcaster::new();
    hub.close();
    let quote = warp::any().then(move || {
        let hub = hub.clone();
        async move {
            let id = hub.publish("prices", Event::data("1.07")).await?;
            Ok::<_, PublishError>(id.to_string())
        }
    });

    let response = request().reply(&quote).await;

    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.body(), "the broadcaster is closed");
}
