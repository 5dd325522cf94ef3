//! [`TopicSource`]: every subscriber of a topic, as an [`EventSource`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_sink::Sink;

use super::{Broadcaster, Ended};
use crate::error::SendError;
use crate::event::Event;
use crate::source::{EventSource, Send};
use crate::topic::Topic;

/// Every subscriber of a topic, as an [`EventSource`]: see [`Broadcaster::topic`].
///
/// It never makes a producer wait. Flushing and closing it do nothing: what was taken is
/// published, and the topic belongs to others too.
#[derive(Debug)]
#[must_use = "an event source does nothing until events are sent"]
pub struct TopicSource {
    hub: Broadcaster,
    topic: Topic,
    ended: Option<Box<Ended>>,
}

impl TopicSource {
    pub(crate) fn new(hub: Broadcaster, topic: Topic) -> Self {
        Self {
            hub,
            topic,
            ended: None,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// [`EventSource::send`], also where `futures::SinkExt` is in scope.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&mut self, event: Event) -> Send<'_, Self> {
        EventSource::send(self, event)
    }
}

impl Clone for TopicSource {
    fn clone(&self) -> Self {
        Self::new(self.hub.clone(), self.topic.clone())
    }
}

impl Sink<Event> for TopicSource {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.hub.is_closed() {
            Poll::Ready(Err(SendError::Closed))
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn start_send(self: Pin<&mut Self>, event: Event) -> Result<(), SendError> {
        self.hub.try_publish(&self.topic, event)?;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }
}

impl EventSource for TopicSource {
    fn is_listened_to(&self) -> bool {
        self.hub.has_subscribers(&self.topic)
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let hub = &self.hub;
        let ended = self
            .ended
            .get_or_insert_with(|| Box::new(hub.ended(Duration::ZERO)));
        Pin::new(&mut **ended).poll(cx)
    }
}
