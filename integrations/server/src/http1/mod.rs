//! HTTP/1.1 on one connection, whatever the runtime: hyper reads the requests and writes the answers, but
//! for the events of a stream that waits for them, which go to the socket directly.

mod connection;
mod direct;
mod relay;

use std::error::Error;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Timer, Write};
use hyper::server::conn::http1;
use hyper::service::Service;

use self::connection::Connection;
use self::direct::Direct;
use self::relay::{Lent, Relaying};
use crate::chunks::Broken;
use crate::MAX_BUFFER;

/// What a connection is to do.
///
/// It only moves on: a later phase is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Take requests.
    Serve,
    /// End after the response that is on its way, if one is.
    Finish,
    /// End at once.
    End,
}

/// Serves one connection to its end. An error is the client's leaving, or what it sent: nobody here can
/// mend it, and so none is returned.
///
/// `phase` says what to do, is asked whenever the connection is polled, that is for every event, and sees to
/// it that its task is woken when the answer changes. A head that is not there in time, larger than
/// [`MAX_BUFFER`] or of more than 100 headers ends the connection.
///
/// Once a response is a stream of events, and has none at the moment, hyper has no part in it any more,
/// until its end: one look at the body for an event, and one write, and no buffers. That is so for a
/// response 200 of `text/event-stream` that says nothing else of its framing, to a request of HTTP/1.1
/// without a body, whose `connection`, if it has one, is `keep-alive`; any other is hyper's. As long as a client does
/// not take what it was sent, its body is not asked for more. A connection that is upgraded, to a WebSocket say,
/// is the application's, and this ends.
///
/// # Cancel safety
///
/// Dropped, the connection is closed where it is.
pub async fn serve_connection<I, T, S, B>(
    io: I,
    timer: T,
    header_read_timeout: Duration,
    service: S,
    mut phase: impl FnMut(&mut Context<'_>) -> Phase,
) where
    I: Read + Write + Unpin + Send + 'static,
    T: Timer + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(timer)
        .header_read_timeout(header_read_timeout)
        .max_buf_size(MAX_BUFFER);
    let mut connection = Connection::new(io, Vec::new());
    while let Some(mut direct) = answer(connection, &builder, service.clone(), &mut phase).await {
        let end = poll_fn(|cx| match phase(cx) {
            Phase::End => Poll::Ready(Err(Broken)),
            Phase::Serve | Phase::Finish => direct.poll_end(cx),
        });
        if end.await.is_err() {
            return;
        }
        // hyper notices in which phase it is, and closes the connection if it is to finish.
        connection = direct.into_connection();
    }
}

/// Answers requests, until the connection is over, or the answer is a stream that waits for its events.
async fn answer<I, S, B>(
    connection: Connection<I>,
    builder: &http1::Builder,
    service: S,
    phase: &mut impl FnMut(&mut Context<'_>) -> Phase,
) -> Option<Direct<I, B>>
where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let lent = Arc::new(Lent::new(connection.flushed()));
    let service = Relaying::new(service, Arc::clone(&lent));
    let mut http = builder
        .serve_connection(connection, service)
        .with_upgrades();
    let mut is_finishing = false;
    let is_over = poll_fn(|cx| {
        match phase(cx) {
            Phase::Serve => {}
            Phase::Finish if is_finishing => {}
            Phase::Finish => {
                is_finishing = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            Phase::End => return Poll::Ready(true),
        }
        match Pin::new(&mut http).poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            // The head is sent, and all that there was of the body.
            Poll::Pending if lent.is_idle() => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if is_over {
        return None;
    }
    let body = lent.take_back()?;
    let parts = http.into_parts()?;
    Some(Direct::new(parts.io.with_early(parts.read_buf), body))
}
