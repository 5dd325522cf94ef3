//! warp under test: with Fanfare, and its own `warp::sse` over a `tokio::sync::broadcast`.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bench_server_shared::native::{Message, Native};
use bench_server_shared::{
    about, broadcaster, publish, publish_lines, run, say_listening, tokio_runtime, topics, Flags,
    Kind, Parser, KEEP_ALIVE,
};
use fanfare::response::HEADERS;
use fanfare::warp::{bind_with, last_event_id, LastEventId, Sse, TcpOptions};
use fanfare::Broadcaster;
use futures_util::StreamExt as _;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::http::{HeaderName, HeaderValue, StatusCode};
use warp::hyper::body::Bytes;
use warp::reply::{with_status, Reply as _, Response};
use warp::Filter;

fn main() -> io::Result<()> {
    let Flags { kind, settings } = Flags::<Kind>::parse();
    run(tokio_runtime(settings.workers), async {
        let options = match kind {
            Kind::Fanfare => TcpOptions::new(),
            // Nobody but us has the kernel drop clients that take nothing.
            Kind::Native => TcpOptions::new().user_timeout(None),
        };
        let listener = bind_with(settings.address(), options).await?;
        say_listening(listener.local_addr()?)?;
        match kind {
            Kind::Fanfare => {
                let routes = fanfare(broadcaster(settings.history));
                fanfare::warp::serve(listener, warp::service(routes)).await
            }
            Kind::Native => {
                let routes = native(Arc::new(Native::new(settings.history, settings.channel())));
                warp::serve(routes).incoming(listener).run().await;
                Ok(())
            }
        }
    })
}

#[derive(Deserialize)]
struct EventsQuery {
    topics: String,
}

fn fanfare(hub: Broadcaster) -> BoxedFilter<(Response,)> {
    let with_hub = warp::any().map({
        let hub = hub.clone();
        move || hub.clone()
    });
    let events = warp::path!("events")
        .and(warp::get())
        .and(warp::query())
        .and(last_event_id())
        .and(with_hub)
        .map(|query: EventsQuery, last: LastEventId, hub: Broadcaster| {
            match topics(&query.topics) {
                Ok(topics) => Sse::new(hub.subscribe(topics).after(last)).into_response(),
                Err(words) => with_status(words, StatusCode::BAD_REQUEST).into_response(),
            }
        });
    let count = {
        let hub = hub.clone();
        move || hub.stats().subscribers
    };
    let others = others(move |topic, body| publish(&hub, topic, body), count);
    events.or(others).unify().boxed()
}

type Messages = Arc<Native<Arc<Message>>>;

/// As in warp's own examples: an `Event` made for each client, and warp's keep-alive.
fn native(native: Messages) -> BoxedFilter<(Response,)> {
    let with_native = warp::any().map({
        let native = Arc::clone(&native);
        move || Arc::clone(&native)
    });
    let events = warp::path!("events")
        .and(warp::get())
        .and(warp::query())
        .and(warp::sse::last_event_id::<String>())
        .and(with_native)
        .map(
            |query: EventsQuery, last: Option<String>, native: Messages| {
                let events = native
                    .follow(&query.topics, last.as_deref())
                    .map(|message| {
                        let event = warp::sse::Event::default();
                        Ok::<_, Infallible>(event.id(&message.id).data(&message.data))
                    });
                let alive = warp::sse::keep_alive().interval(KEEP_ALIVE).stream(events);
                let mut response = warp::sse::reply(alive).into_response();
                for (name, value) in HEADERS {
                    let (name, value) = (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    );
                    response.headers_mut().insert(name, value);
                }
                response
            },
        );
    let count = {
        let native = Arc::clone(&native);
        move || native.subscribers()
    };
    let publish = move |topic: &str, body: &[u8]| {
        let published = publish_lines(body, |line| {
            native.publish(topic, |id| {
                let data = line.to_owned();
                Arc::new(Message { id, data })
            });
        });
        published.map_err(|error| error.to_string())
    };
    events.or(others(publish, count)).unify().boxed()
}

/// The routes that are no stream.
fn others(
    publish: impl Fn(&str, &[u8]) -> Result<String, String> + Clone + Send + Sync + 'static,
    subscribers: impl Fn() -> usize + Clone + Send + Sync + 'static,
) -> BoxedFilter<(Response,)> {
    let publish = warp::path!("publish" / String)
        .and(warp::post())
        .and(warp::body::bytes())
        .map(
            move |topic: String, body: Bytes| match publish(&topic, &body) {
                Ok(json) => json.into_response(),
                Err(words) => with_status(words, StatusCode::BAD_REQUEST).into_response(),
            },
        );
    let subscribers = warp::path!("subscribers")
        .and(warp::get())
        .map(move || subscribers().to_string().into_response());
    let about = warp::path!("about").and(warp::get()).map(|| {
        about(
            env!("CARGO_PKG_NAME"),
            &["fanfare", "hyper", "tokio", "warp"],
        )
        .into_response()
    });
    publish.or(subscribers).unify().or(about).unify().boxed()
}
