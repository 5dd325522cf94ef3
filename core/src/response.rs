//! What every framework's response is made of: headers, status and body.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use pin_project_lite::pin_project;

use crate::broadcaster::admission::Permit;
use crate::broadcaster::{EndReason, Private, Subscribe};
use crate::channel::ClientStream;
use crate::encode::{encode_into, write_retry_line};
use crate::error::{Refused, WhenRefused};
use crate::event::Event;
use crate::keep_alive::{KeepAlive, Liveness};
use crate::subscriber::Subscriber;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::timer::{ThreadTimer, Timer};

/// The headers of every response of status 200, in lower case.
///
/// - `content-type` bare: some clients refuse any parameter.
/// - `no-cache` keeps caches from serving an old stream, `no-transform` keeps proxies from
///   compressing it, which would hold events back.
/// - `x-accel-buffering: no` keeps nginx and its like from buffering it.
///
/// Never `connection` (forbidden in HTTP/2) or `content-length` (unknown).
pub const HEADERS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
];

/// What a handler answers with: made from a [`Subscribe`], a [`Subscriber`], a [`Private`], a
/// [`Refused`], a [`ClientStream`], an [`EventStream`], or any stream of [`Event`]s.
///
/// A framework's `Sse` turns it into that framework's response. An integration reads
/// [`status`](Self::status) and [`retry_after`](Self::retry_after), adds [`HEADERS`] if the
/// status is 200, and sends the [`body`](Self::into_body).
#[derive(Debug)]
#[must_use]
pub struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: SseBody,
}

impl Answer {
    /// The status: 200, or that of a refusal.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What to write into `Retry-After`, in whole seconds, if anything.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
            .map(|wait| wait.as_millis().div_ceil(1_000).max(1) as u64)
    }

    /// The body.
    pub fn into_body(self) -> SseBody {
        self.body
    }

    /// The response of frameworks that are built on `http`: status, headers and body.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    #[must_use]
    pub fn into_http(self) -> http::Response<SseBody> {
        use http::header::{HeaderName, HeaderValue, CONTENT_TYPE, RETRY_AFTER};
        use http::StatusCode;

        // Always a valid status; were it not, it would be the server that is at fault.
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after();
        let mut response = http::Response::new(self.body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::OK {
            for (name, value) in HEADERS {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
        } else if status != StatusCode::NO_CONTENT {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
        }
        response
    }

    fn ok(body: Body) -> Self {
        Self {
            status: 200,
            retry_after: None,
            body: SseBody(body),
        }
    }
}

impl From<Subscribe> for Answer {
    fn from(subscribe: Subscribe) -> Self {
        match subscribe.open() {
            Ok(subscriber) => subscriber.into(),
            Err(refused) => refused.into(),
        }
    }
}

impl From<Private> for Answer {
    fn from(private: Private) -> Self {
        match private.open() {
            Ok(stream) => stream.into(),
            Err(refused) => refused.into(),
        }
    }
}

impl From<Subscriber> for Answer {
    fn from(subscriber: Subscriber) -> Self {
        Self::ok(Body::Subscriber(subscriber))
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        match refused.answer() {
            WhenRefused::Soft => {
                let mut bytes = Vec::new();
                write_retry_line(refused.retry_after, &mut bytes);
                bytes.push(b'\n');
                Self::ok(Body::Whole(Some(bytes.into())))
            }
            WhenRefused::Away => Self {
                status: 204,
                retry_after: None,
                body: SseBody(Body::Whole(None)),
            },
            WhenRefused::Status => Self {
                status: refused.status(),
                retry_after: Some(refused.retry_after),
                body: SseBody(Body::Whole(Some(refused.to_string().into()))),
            },
        }
    }
}

impl From<EventStream> for Answer {
    fn from(stream: EventStream) -> Self {
        Self::ok(Body::Private(stream))
    }
}

impl From<ClientStream> for Answer {
    fn from(stream: ClientStream) -> Self {
        EventStream::from(stream).into()
    }
}

impl<S> From<S> for Answer
where
    S: Stream<Item = Event> + Send + 'static,
{
    fn from(stream: S) -> Self {
        EventStream::new(stream).into()
    }
}

/// The body of a response: whole events and signs of life, never an empty piece, never an error,
/// and in the end a clean end.
///
/// A [`Stream`] of [`Bytes`] and, with the feature `http`, an `http_body::Body`. It is
/// `Send`, `Sync` and `Unpin`, since one framework or another asks for each.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct SseBody(Body);

#[derive(Debug)]
enum Body {
    Subscriber(Subscriber),
    Private(EventStream),
    Whole(Option<Bytes>),
}

impl Stream for SseBody {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.0 {
            Body::Subscriber(subscriber) => Pin::new(subscriber).poll_next(cx),
            Body::Private(stream) => Pin::new(stream).poll_next(cx),
            Body::Whole(bytes) => Poll::Ready(bytes.take()),
        }
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl http_body::Body for SseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.poll_next(cx)
            .map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

const _: fn() = || {
    fn asks<T: Send + Sync + Unpin + 'static>() {}
    asks::<SseBody>();
    asks::<Answer>();
};

/// A stream of events to one client, kept alive while it has nothing to say.
///
/// Whatever is ready at once goes out as one piece. The stream's end is the response's end.
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::{Event, EventStream, KeepAlive};
/// use futures_lite::{future, stream, StreamExt};
///
/// let answer = stream::iter([Event::data("one"), Event::data("two")]);
/// let mut body = EventStream::new(answer)
///     .retry(Duration::from_secs(1))
///     .keep_alive(KeepAlive::every(Duration::from_secs(5)));
/// # future::block_on(async {
/// assert_eq!(body.next().await.unwrap(), "retry: 1000\n");
/// assert_eq!(body.next().await.unwrap(), "data: one\n\ndata: two\n\n");
/// assert_eq!(body.next().await, None);
/// # });
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct EventStream {
    /// In a mutex only to be `Sync` whatever the application's stream is; never locked.
    stream: Mutex<Pin<Box<dyn Stream<Item = Bytes> + Send>>>,
    opening: Option<Bytes>,
    /// If the application has chosen it, or the broadcaster that has admitted the stream.
    keep_alive: Option<KeepAlive>,
    /// As the keep-alive.
    timer: Option<Arc<dyn Timer>>,
    pulse: Option<Arc<Pulse>>,
    liveness: Liveness,
    /// If a broadcaster has admitted it, which then may end it.
    permit: Option<Permit>,
}

impl EventStream {
    /// The events of any stream; of one written with `async_stream::stream!`, say.
    pub fn new(stream: impl Stream<Item = Event> + Send + 'static) -> Self {
        Self::of_bytes(Box::pin(Encode {
            stream,
            ended: false,
        }))
    }

    /// Its signs of life. By default those of the broadcaster that [admits](crate::Broadcaster::private)
    /// it, and without one those of [`KeepAlive::default`].
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = Some(keep_alive);
        self
    }

    /// How long the client waits before it reconnects. By default nothing is said.
    pub fn retry(mut self, retry: Duration) -> Self {
        let mut bytes = Vec::new();
        write_retry_line(retry, &mut bytes);
        self.opening = Some(bytes.into());
        self
    }

    /// Its clock. By default that of the broadcaster that [admits](crate::Broadcaster::private) it, and
    /// without one [`ThreadTimer`].
    pub fn timer(mut self, timer: impl Timer) -> Self {
        self.timer = Some(Arc::new(timer));
        self
    }

    fn of_bytes(stream: Pin<Box<dyn Stream<Item = Bytes> + Send>>) -> Self {
        Self {
            stream: Mutex::new(stream),
            opening: Some(Bytes::from_static(b":\n")),
            keep_alive: None,
            timer: None,
            pulse: None,
            liveness: Liveness::new(0),
            permit: None,
        }
    }

    pub(crate) fn admitted(mut self, permit: Permit) -> Self {
        let hub = &permit.hub;
        self.keep_alive
            .get_or_insert_with(|| hub.settings.keep_alive.clone());
        self.timer
            .get_or_insert_with(|| Arc::clone(hub.memory.timer()));
        self.permit = Some(permit);
        self
    }

    /// The end, if the broadcaster that has admitted it says so: the last bytes, then none.
    fn poll_must_end(&mut self) -> Poll<Option<Bytes>> {
        let Some(permit) = &mut self.permit else {
            return Poll::Pending;
        };
        if permit.reason != EndReason::Left {
            return Poll::Ready(None);
        }
        let Some(reason) = permit.must_end() else {
            return Poll::Pending;
        };
        permit.reason = reason;
        Poll::Ready(permit.hub.farewell(reason))
    }

    /// The sign of life that is due, if one is.
    fn poll_idle(&mut self, cx: &Context<'_>) -> Option<Bytes> {
        let keep_alive = self.keep_alive.get_or_insert_with(KeepAlive::default);
        let interval = keep_alive.interval()?;
        let timer = self.timer.get_or_insert_with(|| Arc::new(ThreadTimer));
        let pulse = self
            .pulse
            .get_or_insert_with(|| Pulse::start(interval / 2, timer));
        pulse.notify(cx.waker());
        if !self.liveness.is_due(pulse.beat.load(Ordering::Acquire)) {
            return None;
        }
        if let Some(permit) = &self.permit {
            let keep_alives = &permit.hub.counters.keep_alives;
            keep_alives.fetch_add(1, Ordering::Relaxed);
        }
        Some(keep_alive.bytes())
    }
}

impl<S> From<S> for EventStream
where
    S: Stream<Item = Event> + Send + 'static,
{
    fn from(stream: S) -> Self {
        Self::new(stream)
    }
}

impl From<ClientStream> for EventStream {
    fn from(stream: ClientStream) -> Self {
        Self::of_bytes(Box::pin(stream))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

impl Stream for EventStream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if let Some(opening) = this.opening.take() {
            this.liveness.sent();
            return Poll::Ready(Some(opening));
        }
        if let Some(lease) = this.permit.as_ref().and_then(|p| p.lease.as_ref()) {
            // Before the look, which so cannot find old news.
            lease.is_read_by(cx.waker());
        }
        if let Poll::Ready(end) = this.poll_must_end() {
            return Poll::Ready(end);
        }
        let stream = this
            .stream
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        match stream.as_mut().poll_next(cx) {
            Poll::Ready(bytes) => {
                // Again: what was found may have come after its right to it had ended.
                if let Poll::Ready(end) = this.poll_must_end() {
                    return Poll::Ready(end);
                }
                this.liveness.sent();
                if let (None, Some(permit)) = (&bytes, &mut this.permit) {
                    permit.reason = EndReason::Finished;
                }
                Poll::Ready(bytes)
            }
            Poll::Pending => match this.poll_idle(cx) {
                Some(bytes) => Poll::Ready(Some(bytes)),
                None => Poll::Pending,
            },
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(pulse) = &self.pulse {
            pulse.stop();
        }
    }
}

/// The beat of one private stream, counted by the timer.
#[derive(Debug)]
struct Pulse {
    every: Duration,
    timer: Arc<dyn Timer>,
    beat: AtomicU64,
    stopped: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Pulse {
    fn start(every: Duration, timer: &Arc<dyn Timer>) -> Arc<Self> {
        let pulse = Arc::new(Self {
            every,
            timer: Arc::clone(timer),
            beat: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            task: Mutex::new(None),
        });
        pulse.schedule();
        pulse
    }

    /// A refused call ends the pulse; the stream goes on without signs of life.
    fn schedule(self: &Arc<Self>) {
        let next = self.timer.now() + self.every;
        let _ = self.timer.wake_at(next, Waker::from(Arc::clone(self)));
    }

    fn notify(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            let old = task.replace(waker.clone());
            // A waker's drop is foreign code: after the unlock.
            drop(task);
            drop(old);
        }
    }

    /// The call that is outstanding finds nothing to do, and holds no task alive until then.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(task);
    }
}

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        self.beat.fetch_add(1, Ordering::AcqRel);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(task) = task {
            task.wake();
        }
        self.schedule();
    }
}

/// The largest piece that several events are joined to, in bytes.
const MAX_PIECE: usize = 32 * 1024;

/// The most events that are joined, also of those that write nothing.
const MAX_EVENTS: usize = 1_024;

pin_project! {
    /// Encodes whatever is ready as one piece.
    struct Encode<S> {
        #[pin]
        stream: S,
        ended: bool,
    }
}

impl<S: Stream<Item = Event>> Stream for Encode<S> {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut this = self.project();
        let mut piece = Vec::new();
        let mut budget = MAX_EVENTS;
        while !*this.ended && piece.len() < MAX_PIECE {
            if budget == 0 {
                break;
            }
            budget -= 1;
            match this.stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(event)) => encode_into(&event, &mut piece),
                Poll::Ready(None) => *this.ended = true,
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !piece.is_empty() {
            Poll::Ready(Some(piece.into()))
        } else if *this.ended {
            Poll::Ready(None)
        } else {
            // Ready all the time with nothing on the wire: others first.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}
