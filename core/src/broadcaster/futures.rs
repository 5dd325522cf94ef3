//! The futures that a broadcaster hands out.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::backend::{Backend, Read, Wait};
use super::hub::Hub;
use super::Broadcaster;
use crate::error::PublishError;
use crate::event::Event;
use crate::history::{Append, BoxFuture, HistoryError, Page};
use crate::id::{EventId, LastEventId};
use crate::sync::Ordering;
use crate::timer::Alarm;
use crate::topic::{Topic, Topics};
use crate::trace;
use crate::wait::Sleeper;

/// The future of [`Broadcaster::publish`].
#[must_use = "futures do nothing unless awaited"]
pub struct Publish {
    hub: Broadcaster,
    key: Option<Box<str>>,
    state: Publishing,
    /// While the backend has not begun.
    wait: Option<Box<Wait>>,
}

enum Publishing {
    Next(Topic, Event),
    Appending(Appending),
    Done,
}

/// A backend at work on an event.
struct Appending {
    topic: Topic,
    has_key: bool,
    id: BoxFuture<'static, Result<EventId, HistoryError>>,
    began: Instant,
    /// In which life of its log.
    life: u64,
}

impl Publish {
    pub(super) fn new(hub: Broadcaster, topic: Topic, event: Event) -> Self {
        Self {
            hub,
            key: None,
            state: Publishing::Next(topic, event),
            wait: None,
        }
    }

    /// Makes a repetition harmless: what has been published with this key is not published again,
    /// and the id is that of the first time.
    ///
    /// For events whose outcome was [unknown](HistoryError::Unknown); see [`Append::key`] for how
    /// long a key is remembered.
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With a backend, what it is to do.
    fn append(
        &mut self,
        backend: &Arc<Backend>,
        topic: Topic,
        event: &Event,
    ) -> Result<Appending, PublishError> {
        if backend.is_closing() {
            return Err(PublishError::Closed);
        }
        self.hub.check_size(event)?;
        let has_key = self.key.is_some();
        let mut append = Append::new(topic.clone(), event);
        if let Some(key) = self.key.take() {
            append = append.key(key);
        }
        let memory = &self.hub.hub().memory;
        let history = Arc::clone(&backend.history);
        Ok(Appending {
            topic,
            has_key,
            began: memory.timer().now(),
            life: memory.life(),
            id: Box::pin(async move { history.append(append).await }),
        })
    }
}

impl Future for Publish {
    type Output = Result<EventId, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let backend = this.hub.hub().backend.clone();
        loop {
            match (mem::replace(&mut this.state, Publishing::Done), &backend) {
                (Publishing::Next(topic, event), None) => {
                    let key = this.key.as_deref();
                    return Poll::Ready(this.hub.publish_now(&topic, key, &event));
                }
                (Publishing::Next(topic, event), Some(backend)) => {
                    let memory = &this.hub.hub().memory;
                    let Poll::Ready(begun) = backend.poll_begun(memory, &mut this.wait, cx) else {
                        this.state = Publishing::Next(topic, event);
                        return Poll::Pending;
                    };
                    begun
                        .map_err(PublishError::from)
                        .inspect_err(trace::not_published)?;
                    let appending = this.append(backend, topic, &event);
                    let appending = appending.inspect_err(trace::not_published)?;
                    this.state = Publishing::Appending(appending);
                }
                (Publishing::Appending(mut appending), Some(backend)) => {
                    let Poll::Ready(appended) = appending.id.as_mut().poll(cx) else {
                        this.state = Publishing::Appending(appending);
                        return Poll::Pending;
                    };
                    backend.note_append(appending.began, appended.is_err());
                    let appended = appended.map_err(PublishError::from);
                    let id = appended.inspect_err(trace::not_published)?;
                    let memory = &this.hub.hub().memory;
                    backend.count_published(id, appending.has_key);
                    backend.note_published(id, || memory.life() == appending.life);
                    trace::published(&appending.topic, id);
                    return Poll::Ready(Ok(id));
                }
                // Polled again after it was ready, which no executor does.
                _ => return Poll::Ready(Err(PublishError::Closed)),
            }
        }
    }
}

impl Drop for Publish {
    fn drop(&mut self) {
        if let (Some(wait), Some(backend)) = (&mut self.wait, &self.hub.hub().backend) {
            backend.leave_beginning(wait);
        }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// The future of [`Broadcaster::replay`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Replay {
    hub: Broadcaster,
    topics: Topics,
    after: LastEventId,
    limit: usize,
    /// The page that is read from the backend.
    read: Option<(Arc<Read>, Sleeper)>,
    /// Whether that was under way before this was asked for.
    was_under_way: Option<bool>,
}

impl Replay {
    pub(super) fn new(hub: Broadcaster, topics: Topics, after: LastEventId, limit: usize) -> Self {
        Self {
            hub,
            topics,
            after,
            limit,
            read: None,
            was_under_way: None,
        }
    }

    fn leave(&mut self) {
        if let Some((read, mut sleeper)) = self.read.take() {
            if let Some(backend) = &self.hub.hub().backend {
                backend.leave(&read, &mut sleeper);
            }
        }
    }
}

impl Future for Replay {
    type Output = Result<Page, HistoryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let hub = Arc::clone(this.hub.hub());
        let memory = &hub.memory;
        let Some(backend) = &hub.backend else {
            let page = memory.page(&this.topics, &this.after, this.limit);
            return Poll::Ready(Ok(page));
        };
        // What was published here a moment ago may not have come back yet; the backend has it.
        if this.read.is_none() && backend.has_caught_up(memory) {
            let here = memory.page_if_here(&this.topics, &this.after, this.limit);
            if let Some(page) = here {
                return Poll::Ready(Ok(page));
            }
        }
        loop {
            let (read, sleeper) = this.read.get_or_insert_with(|| {
                let life = memory.life();
                let (read, is_new) = backend.read_anew(life, &this.topics, &this.after);
                this.was_under_way.get_or_insert(!is_new);
                (read, Sleeper::default())
            });
            let found = ready!(backend.poll_or_fail(read, sleeper, cx));
            this.leave();
            let found = found?;
            // It may miss what was published since it began. The next has begun after it.
            if this.was_under_way == Some(true) && !found.is_full {
                this.was_under_way = Some(false);
                continue;
            }
            return Poll::Ready(Ok(found.page.cut(this.limit)));
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.leave();
    }
}

pin_project! {
    /// The future of [`Broadcaster::close_when`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct CloseWhen<F> {
        #[pin]
        pub(super) signal: F,
        pub(super) hub: Broadcaster,
    }
}

impl<F: Future> Future for CloseWhen<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        ready!(this.signal.poll(cx));
        this.hub.close();
        Poll::Ready(())
    }
}

/// The future of [`Broadcaster::ended`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Ended {
    pub(super) hub: Arc<Hub>,
    pub(super) sleeper: Sleeper,
    pub(super) grace: Duration,
    /// Whether the last subscriber's leave ends it too.
    pub(super) until_alone: bool,
    /// For the end of the grace.
    pub(super) alarm: Alarm,
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let hub = &this.hub;
        // Marked before the look, which so cannot find old news.
        hub.ending.mark(&mut this.sleeper, cx.waker());
        let closed_at = hub.is_closed().then(|| *hub.closed_at.lock()).flatten();
        let Some(closed_at) = closed_at else {
            return Poll::Pending;
        };
        let timer = hub.memory.timer();
        // A grace that no clock can count to is one without end.
        let deadline = closed_at.checked_add(this.grace);
        let is_over = deadline.is_some_and(|deadline| timer.now() >= deadline)
            || hub.has_given_up.load(Ordering::SeqCst);
        let is_alone = this.until_alone && hub.subscribers.load(Ordering::SeqCst) == 0;
        if is_over || is_alone {
            return Poll::Ready(());
        }
        if let Some(deadline) = deadline {
            if this.alarm.set(&**timer, deadline, cx.waker()).is_err() {
                // Without a timer there is no bound to keep but an early one.
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.hub.ending.leave(&mut self.sleeper);
    }
}

pin_project! {
    /// The future of [`Broadcaster::serve`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Serve<S> {
        #[pin]
        pub(super) server: S,
        pub(super) bound: Ended,
    }
}

impl<S: Future<Output = Result<(), E>>, E> Future for Serve<S> {
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.server.poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Pin::new(this.bound).poll(cx).map(Ok),
        }
    }
}
