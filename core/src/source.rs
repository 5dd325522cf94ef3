//! [`EventSource`], the trait of things that take events.

use std::future::Future;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project_lite::pin_project;

use crate::error::SendError;
use crate::event::Event;
use crate::id::LastEventId;

/// The server's end of what a browser opens as `EventSource`: something that takes events.
///
/// A producer is written once, against `impl EventSource`, and the application decides what
/// stands behind it:
///
/// - one client: [`channel`](crate::channel) gives a sink and a stream, and the stream becomes
///   a response;
/// - every subscriber of a topic: [`Broadcaster::topic`](crate::Broadcaster::topic).
///
/// ```
/// use fanfare_core::{channel, Broadcaster, Event, EventSource, SendError};
///
/// async fn countdown(mut out: impl EventSource) -> Result<(), SendError> {
///     for n in (0..10).rev() {
///         out.send(Event::data(n.to_string()).name("tick")).await?;
///     }
///     Ok(())
/// }
///
/// # futures_lite::future::block_on(async {
/// let hub = Broadcaster::new();
/// countdown(hub.topic("launch")).await?; // every subscriber of the topic
///
/// let (client, stream) = channel(16);
/// countdown(client).await?; // one client, whose response `stream` becomes
/// # drop(stream);
/// # Ok::<(), SendError>(())
/// # }).unwrap();
/// ```
///
/// # What a producer owes
///
/// It makes sure of room with `poll_ready` before each `start_send` and flushes what it has
/// sent, as every [`Sink`] asks ([`send`](Self::send) and [`forward`] do both), and it stops at
/// [`SendError::Closed`]: that will not change. It does not assume that anybody has received what
/// it sent. It may drop the source at any time; nothing that was flushed is lost by that.
///
/// # What an implementation owes
///
/// **Room is back-pressure.** `poll_ready` is pending while whoever receives is too far behind,
/// if the implementation waits for anybody at all: one client makes its producer wait, the
/// subscribers of a topic never do.
///
/// **Flushed is on its way.** When `poll_flush` returns `Ok`, all that was taken goes out without
/// another call. It never waits for whoever receives: for one client it is ready at once, for a
/// topic with a backend once the backend has taken the event. An event whose `start_send` fails
/// does not go out.
///
/// **Order.** Events go out in the order in which they were taken, each whole.
///
/// **The end.** Once nothing that is sent can be received any more, `poll_ready` fails with
/// [`SendError::Closed`], `poll_closed` is ready, and both stay so. Whoever waits in either is
/// woken. `poll_close` ends what the source alone feeds: the response of one client, but not
/// the streams of a topic, to which others publish too.
///
/// **Panics.** None, whatever the event.
///
/// # Object safety
///
/// `Box<dyn EventSource + Send>` is an `EventSource`. It is `Unpin`, so that a producer is
/// written without pinning; a source that is not can be kept in a `Pin<Box<_>>` of its own.
pub trait EventSource: Sink<Event, Error = SendError> + Unpin {
    /// Whether anybody would receive an event that is sent now. A hint, to spare the work of
    /// making one: with `true` the receiver may be gone at the next moment, and with `false`
    /// one may come, or return and be sent the event from the history.
    fn is_listened_to(&self) -> bool;

    /// Ready once nothing that is sent can be received any more.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Where the client says it stopped, if there is one client and it said so.
    fn last_event_id(&self) -> Option<&LastEventId> {
        None
    }

    /// Waits for room, sends, and flushes.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// While it waits for room, dropping it sends nothing. While it flushes, which only a topic
    /// with a backend makes it wait for, the event may be published or not.
    fn send(&mut self, event: Event) -> Send<'_, Self>
    where
        Self: Sized,
    {
        Send {
            source: self,
            event: Some(event),
        }
    }

    /// Waits until nothing that is sent can be received any more: the client has gone, or the
    /// broadcaster is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    fn closed(&mut self) -> Closed<'_, Self>
    where
        Self: Sized,
    {
        Closed { source: self }
    }
}

const _: Option<&dyn EventSource<Error = SendError>> = None;

impl<S: EventSource + ?Sized> EventSource for &mut S {
    fn is_listened_to(&self) -> bool {
        (**self).is_listened_to()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_closed(cx)
    }

    fn last_event_id(&self) -> Option<&LastEventId> {
        (**self).last_event_id()
    }
}

impl<S: EventSource + ?Sized> EventSource for Box<S> {
    fn is_listened_to(&self) -> bool {
        (**self).is_listened_to()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_closed(cx)
    }

    fn last_event_id(&self) -> Option<&LastEventId> {
        (**self).last_event_id()
    }
}

/// The future of [`EventSource::send`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a, S: ?Sized> {
    source: &'a mut S,
    event: Option<Event>,
}

impl<S: EventSource> Future for Send<'_, S> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut source = Pin::new(&mut *this.source);
        if this.event.is_some() {
            ready!(source.as_mut().poll_ready(cx))?;
        }
        if let Some(event) = this.event.take() {
            source.as_mut().start_send(event)?;
        }
        source.poll_flush(cx)
    }
}

/// The future of [`EventSource::closed`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Closed<'a, S: ?Sized> {
    source: &'a mut S,
}

impl<S: EventSource> Future for Closed<'_, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_closed(cx)
    }
}

/// Sends every event of a stream, until the stream ends or nobody can receive any more.
///
/// Where [`StreamExt::forward`](https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.forward)
/// works too, this one stops as soon as the source is closed, even while the stream is waiting
/// for its next event, and needs no `map(Ok)`.
///
/// # Errors
///
/// [`SendError::Closed`] if the source closed before the stream ended; otherwise that of the first
/// event that could not be sent.
///
/// # Cancel safety
///
/// Dropping it drops the stream and the source, and with them at most two events that the stream
/// has given and the source has not flushed.
///
/// ```
/// use async_stream::stream;
/// use fanfare_core::{forward, Broadcaster, Event};
///
/// # futures_lite::future::block_on(async {
/// let hub = Broadcaster::new();
/// let countdown = stream! {
///     for n in (0..3).rev() {
///         yield Event::data(n.to_string()).name("tick");
///     }
/// };
/// forward(countdown, hub.topic("launch")).await?;
/// assert_eq!(hub.stats().published, 3);
/// # Ok::<(), fanfare_core::SendError>(())
/// # }).unwrap();
/// ```
pub fn forward<St, S>(stream: St, source: S) -> Forward<St, S>
where
    St: Stream<Item = Event>,
    S: EventSource,
{
    Forward {
        stream,
        source,
        next: None,
        ended: false,
    }
}

pin_project! {
    /// The future of [`forward`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Forward<St, S> {
        #[pin]
        stream: St,
        source: S,
        next: Option<Event>,
        ended: bool,
    }
}

impl<St, S> Future for Forward<St, S>
where
    St: Stream<Item = Event>,
    S: EventSource,
{
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        for _ in 0..MAX_STREAK {
            let mut source = Pin::new(&mut *this.source);
            if *this.ended {
                return source.poll_flush(cx);
            }
            if this.next.is_some() {
                ready!(source.as_mut().poll_ready(cx))?;
                if let Some(event) = this.next.take() {
                    source.as_mut().start_send(event)?;
                }
            }
            if source.as_mut().poll_closed(cx).is_ready() {
                return Poll::Ready(Err(SendError::Closed));
            }
            // The stream may have nothing more for long: what was taken does not wait for that.
            if let Poll::Ready(flushed) = source.poll_flush(cx) {
                flushed?;
            }
            match ready!(this.stream.as_mut().poll_next(cx)) {
                Some(event) => *this.next = Some(event),
                None => *this.ended = true,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How many events are sent before others get their turn.
const MAX_STREAK: usize = 128;
