//! The futures that a broadcaster hands out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::hub::Hub;
use super::Broadcaster;
use crate::error::PublishError;
use crate::event::Event;
use crate::history::HistoryError;
use crate::id::EventId;
use crate::sync::Ordering;
use crate::topic::Topic;
use crate::wait::Sleeper;

/// The future of [`Broadcaster::publish`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Publish {
    pub(super) hub: Broadcaster,
    pub(super) next: Option<(Topic, Event)>,
}

impl Future for Publish {
    type Output = Result<EventId, PublishError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.next.take() {
            Some((topic, event)) => Poll::Ready(self.hub.publish_now(&topic, &event)),
            // Polled again after it was ready, which no executor does.
            None => Poll::Ready(Err(PublishError::History(HistoryError::Closed))),
        }
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
    /// Whom the timer wakes at the deadline, once it knows.
    pub(super) timed: Option<Waker>,
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
        let is_over = deadline.is_some_and(|deadline| timer.now() >= deadline);
        let is_alone = this.until_alone && hub.subscribers.load(Ordering::SeqCst) == 0;
        if is_over || is_alone {
            return Poll::Ready(());
        }
        let is_timed = this
            .timed
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if let Some(deadline) = deadline.filter(|_| !is_timed) {
            this.timed = Some(cx.waker().clone());
            if timer.wake_at(deadline, cx.waker().clone()).is_err() {
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
