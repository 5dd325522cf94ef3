//! [`Authorising`]: asks again and again who may go on listening.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::counters::EndReason;
use super::Broadcaster;
use crate::wait::Sleeper;

/// How many keys are asked for at a time.
const AT_A_TIME: usize = 16;

/// The shortest pause between two rounds.
const SHORTEST: Duration = Duration::from_millis(10);

/// Clocks can count to it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The future of [`Broadcaster::authorise_every`].
#[must_use = "futures do nothing unless awaited"]
pub struct Authorising<C, F> {
    hub: Broadcaster,
    interval: Duration,
    may_listen: C,
    sleeper: Sleeper,
    /// When the next round begins, and whom the timer wakes then.
    next: Option<(Instant, Waker)>,
    /// Who is still to be asked for in this round.
    keys: VecDeque<Arc<str>>,
    asking: Vec<(Arc<str>, Pin<Box<F>>)>,
}

impl<C, F> Authorising<C, F> {
    pub(super) fn new(hub: Broadcaster, interval: Duration, may_listen: C) -> Self {
        Self {
            hub,
            interval: interval.clamp(SHORTEST, LONGEST),
            may_listen,
            sleeper: Sleeper::default(),
            next: None,
            keys: VecDeque::new(),
            asking: Vec::new(),
        }
    }
}

// Nothing in it is pinned where it lies.
impl<C, F> Unpin for Authorising<C, F> {}

impl<C, F> Future for Authorising<C, F>
where
    C: FnMut(Arc<str>) -> F,
    F: Future<Output = bool>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let hub = Arc::clone(this.hub.hub());
        // Marked before the look, which so cannot find old news.
        hub.ending.mark(&mut this.sleeper, cx.waker());
        loop {
            if hub.is_closed() {
                return Poll::Ready(());
            }
            // Whoever is asked for is let go of as soon as there is an answer, and the next begins.
            let mut is_waiting = false;
            while !is_waiting {
                while this.asking.len() < AT_A_TIME {
                    let Some(key) = this.keys.pop_front() else {
                        break;
                    };
                    let answer = Box::pin((this.may_listen)(Arc::clone(&key)));
                    this.asking.push((key, answer));
                }
                let asked = this.asking.len();
                this.asking
                    .retain_mut(|(key, answer)| match answer.as_mut().poll(cx) {
                        Poll::Pending => true,
                        Poll::Ready(true) => false,
                        Poll::Ready(false) => {
                            hub.leases.end_key(key, EndReason::Unauthorised);
                            false
                        }
                    });
                is_waiting = this.keys.is_empty() || this.asking.len() == asked;
            }
            if !this.asking.is_empty() || !this.keys.is_empty() {
                return Poll::Pending;
            }
            let timer = hub.memory.timer();
            let now = timer.now();
            match &this.next {
                Some((at, _)) if *at <= now => {
                    this.next = None;
                    this.keys = hub.leases.keys().into();
                }
                Some((_, waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
                known => {
                    let at = known.as_ref().map_or(now + this.interval, |(at, _)| *at);
                    this.next = Some((at, cx.waker().clone()));
                    if timer.wake_at(at, cx.waker().clone()).is_err() {
                        // Without a timer there are no rounds. The next poll tries again.
                        this.next = None;
                        return Poll::Pending;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<C, F> Drop for Authorising<C, F> {
    fn drop(&mut self) {
        self.hub.hub().ending.leave(&mut self.sleeper);
    }
}

impl<C, F> fmt::Debug for Authorising<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorising")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
