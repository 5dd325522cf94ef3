//! `GET /events`, both ways.

use std::convert::Infallible;

use bench_server_shared::native::Native;
use bench_server_shared::{parameter, topics, KEEP_ALIVE};
use fanfare::hyper::{LastEventId, Sse};
use fanfare::response::HEADERS;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use crate::{words, App, Body};

pub(crate) fn events<B>(app: &App, request: &Request<B>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let selected = parameter(query, "topics").unwrap_or_default();
    match app {
        App::Fanfare(hub) => match topics(&selected) {
            Ok(topics) => {
                let last = LastEventId::from_request(request);
                let sse = Sse::new(hub.subscribe(topics).after(last));
                sse.into_response().map(Either::Left)
            }
            Err(error) => words(StatusCode::BAD_REQUEST, error),
        },
        App::Native(native) => {
            let last = request.headers().get("last-event-id");
            let last = last.and_then(|last| last.to_str().ok());
            by_hand(native, &selected, last)
        }
    }
}

/// A `StreamBody` over the channel, as in `http-body-util`'s documentation. Who is this close to
/// the wire encodes an event once; each client's silence is timed by tokio.
fn by_hand(native: &Native<Bytes>, topics: &str, last: Option<&str>) -> Response<Body> {
    let silence = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    let frames = native
        .follow(topics, last)
        .timeout_repeating(silence)
        .map(|event| event.unwrap_or(Bytes::from_static(b":\n\n")))
        .map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let body = StreamBody::new(frames).boxed_unsync();
    let mut response = Response::new(Either::Right(body));
    for (name, value) in HEADERS {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}
