//! [`TopicSource`]: every subscriber of a topic, as an [`EventSource`].

use std::future::Future;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use futures_sink::Sink;

use super::{Broadcaster, Ended, Publish};
use crate::error::SendError;
use crate::event::Event;
use crate::source::{EventSource, Send};
use crate::topic::Topic;

/// Every subscriber of a topic, as an [`EventSource`]: see [`Broadcaster::topic`].
///
/// It never makes a producer wait for subscribers. In memory what was taken is published; with a
/// [backend](super::Builder::backend) flushing waits until it is. Closing it closes nothing: the
/// topic belongs to others too.
#[derive(Debug)]
#[must_use = "an event source does nothing until events are sent"]
pub struct TopicSource {
    hub: Broadcaster,
    topic: Topic,
    /// What the backend works on.
    publishing: Option<Box<Publish>>,
    ended: Option<Box<Ended>>,
}

impl TopicSource {
    pub(crate) fn new(hub: Broadcaster, topic: Topic) -> Self {
        Self {
            hub,
            topic,
            publishing: None,
            ended: None,
        }
    }

    fn poll_published(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(publishing) = &mut self.publishing else {
            return Poll::Ready(Ok(()));
        };
        let published = ready!(Pin::new(&mut **publishing).poll(cx));
        self.publishing = None;
        published?;
        Poll::Ready(Ok(()))
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

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_published(cx))?;
        if self.hub.is_closed() {
            Poll::Ready(Err(SendError::Closed))
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn start_send(mut self: Pin<&mut Self>, event: Event) -> Result<(), SendError> {
        if self.hub.hub().backend.is_none() {
            self.hub.try_publish(&self.topic, event)?;
        } else {
            let publish = self.hub.publish(&self.topic, event);
            self.publishing = Some(Box::new(publish));
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_published(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_published(cx)
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
