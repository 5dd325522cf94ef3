//! [`channel`]: an [`EventSource`] that is one client, and the stream that its response becomes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use crate::encode::encode_into;
use crate::error::SendError;
use crate::event::Event;
use crate::id::LastEventId;
use crate::source::{EventSource, Send};
use crate::sync::Mutex;

/// A private stream to one client: events go into the [`Client`], and the [`ClientStream`]
/// becomes its response.
///
/// `capacity` is how many events may wait to be read, at least 1; then the producer waits.
/// Whatever waits goes out as one piece.
///
/// ```
/// use fanfare_core::{channel, Event, EventSource};
/// use futures_lite::{future, StreamExt};
///
/// let (mut client, mut stream) = channel(16);
/// # future::block_on(async {
/// client.send(Event::data("one")).await?;
/// client.send(Event::data("two")).await?;
/// assert_eq!(stream.next().await.unwrap(), "data: one\n\ndata: two\n\n");
///
/// drop(stream);
/// client.closed().await;
/// # Ok::<(), fanfare_core::SendError>(())
/// # }).unwrap();
/// ```
pub fn channel(capacity: usize) -> (Client, ClientStream) {
    let queue = Arc::new(Mutex::new(Queue {
        capacity: capacity.max(1),
        ..Queue::default()
    }));
    let client = Client {
        queue: Arc::clone(&queue),
        last_event_id: LastEventId::none(),
    };
    (client, ClientStream { queue })
}

#[derive(Debug, Default)]
struct Queue {
    capacity: usize,
    /// Encoded events, and how many.
    bytes: Vec<u8>,
    events: usize,
    /// The producer will send no more.
    ended: bool,
    /// The client is gone.
    gone: bool,
    /// The producer, while it waits for room or for the client to go.
    producer: Option<Waker>,
    /// The response, while it waits for events.
    response: Option<Waker>,
}

/// The producer's end of [`channel`].
///
/// Dropping it, or closing the sink, ends the response once what was sent has been read. A
/// client that goes away is an error at the next send, and [`EventSource::closed`] waits for it.
#[derive(Debug)]
#[must_use = "dropping it ends the client's stream"]
pub struct Client {
    queue: Arc<Mutex<Queue>>,
    last_event_id: LastEventId,
}

/// The response's end of [`channel`]: a stream of encoded events that ends after the last.
///
/// Dropping it tells the producer that the client has gone.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ClientStream {
    queue: Arc<Mutex<Queue>>,
}

impl Client {
    /// Remembers where the client says it stopped, for the producer.
    pub fn after(mut self, last: impl Into<LastEventId>) -> Self {
        self.last_event_id = last.into();
        self
    }

    /// [`EventSource::send`], also where `futures::SinkExt` is in scope.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] once the client has gone.
    pub fn send(&mut self, event: Event) -> Send<'_, Self> {
        EventSource::send(self, event)
    }

    fn end(&self) {
        let response = {
            let mut queue = self.queue.lock();
            queue.ended = true;
            queue.response.take()
        };
        wake(response);
    }
}

impl Sink<Event> for Client {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let mut queue = self.queue.lock();
        if queue.gone || queue.ended {
            Poll::Ready(Err(SendError::Closed))
        } else if queue.events < queue.capacity {
            Poll::Ready(Ok(()))
        } else {
            let old = remember(&mut queue.producer, cx);
            drop(queue);
            drop(old);
            Poll::Pending
        }
    }

    fn start_send(self: Pin<&mut Self>, event: Event) -> Result<(), SendError> {
        let response = {
            let mut queue = self.queue.lock();
            if queue.gone || queue.ended {
                return Err(SendError::Closed);
            }
            let before = queue.bytes.len();
            encode_into(&event, &mut queue.bytes);
            if queue.bytes.len() == before {
                // An event without any field is nothing on the wire, and takes no room.
                return Ok(());
            }
            queue.events += 1;
            queue.response.take()
        };
        wake(response);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl EventSource for Client {
    fn is_listened_to(&self) -> bool {
        let queue = self.queue.lock();
        !queue.gone && !queue.ended
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.queue.lock();
        if queue.gone || queue.ended {
            Poll::Ready(())
        } else {
            let old = remember(&mut queue.producer, cx);
            drop(queue);
            drop(old);
            Poll::Pending
        }
    }

    fn last_event_id(&self) -> Option<&LastEventId> {
        Some(&self.last_event_id).filter(|last| !last.is_none())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for ClientStream {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let (bytes, producer) = {
            let mut queue = self.queue.lock();
            if queue.bytes.is_empty() {
                if queue.ended {
                    return Poll::Ready(None);
                }
                let old = remember(&mut queue.response, cx);
                drop(queue);
                drop(old);
                return Poll::Pending;
            }
            queue.events = 0;
            (std::mem::take(&mut queue.bytes), queue.producer.take())
        };
        wake(producer);
        Poll::Ready(Some(bytes.into()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let producer = {
            let mut queue = self.queue.lock();
            queue.gone = true;
            queue.bytes = Vec::new();
            queue.producer.take()
        };
        wake(producer);
    }
}

/// Leaves the task's waker, and returns the one that was there: a waker's drop is foreign code,
/// and has to wait for the unlock.
fn remember(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    if place
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        None
    } else {
        place.replace(cx.waker().clone())
    }
}

/// Outside the lock: a waker is foreign code.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use futures_lite::{future, StreamExt};

    #[test]
    fn a_full_channel_makes_the_producer_wait_until_the_client_reads() {
        let (mut client, mut stream) = channel(2);
        future::block_on(async {
            client.send(Event::data("1")).await.expect("room");
            client.send(Event::data("2")).await.expect("room");
            let mut third = client.send(Event::data("3"));
            assert!(future::poll_once(&mut third).await.is_none(), "full");
            assert_eq!(stream.next().await.expect("open"), "data: 1\n\ndata: 2\n\n");
            third.await.expect("room again");
            drop(client);
            assert_eq!(stream.next().await.expect("the last"), "data: 3\n\n");
            assert_eq!(stream.next().await, None);
        });
    }

    #[test]
    fn a_client_that_goes_away_is_noticed_in_every_way() {
        let (mut client, stream) = channel(1);
        future::block_on(async {
            client.send(Event::data("1")).await.expect("room");
            assert!(client.is_listened_to());
            assert!(future::poll_once(client.closed()).await.is_none());
            let (sent, ()) = future::zip(client.send(Event::data("2")), async {
                drop(stream);
            })
            .await;
            assert!(matches!(sent, Err(SendError::Closed)));
            client.closed().await;
            assert!(!client.is_listened_to());
        });
    }

    #[test]
    fn nobody_listens_to_a_sink_that_was_closed() {
        let (mut client, _stream) = channel(1);
        future::block_on(async {
            future::poll_fn(|cx| Pin::new(&mut client).poll_close(cx))
                .await
                .expect("closed");
            assert!(!client.is_listened_to());
            client.closed().await;
            let sent = client.send(Event::data("late")).await;
            assert!(matches!(sent, Err(SendError::Closed)));
        });
    }

    #[test]
    fn a_producer_is_written_once_against_a_trait_object() {
        let (client, mut stream) = channel(4);
        let mut source: Box<dyn EventSource<Error = SendError> + std::marker::Send> =
            Box::new(client.after(crate::EventId::new(7, 42)));
        future::block_on(async {
            source.send(Event::data("x")).await.expect("room");
            assert_eq!(
                source.last_event_id().and_then(LastEventId::id),
                Some(crate::EventId::new(7, 42))
            );
            drop(source);
            assert_eq!(stream.next().await.expect("sent"), "data: x\n\n");
            assert_eq!(stream.next().await, None);
        });
    }
}
