//! [`Authorizing`]: asks again and again who may go on listening.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use super::counters::EndReason;
use super::hub::Hub;
use crate::timer::{Alarm, Unscheduled, LONGEST};
use crate::wait::Sleeper;

/// How many keys are asked for at a time.
const AT_A_TIME: usize = 16;

/// The shortest pause between two rounds.
const SHORTEST: Duration = Duration::from_millis(10);

/// How many keys are asked for in one poll, so that others on the same thread get their turn.
const IN_ONE_POLL: usize = 256;

/// The future of [`Broadcaster::authorize_every`](super::Broadcaster::authorize_every).
#[must_use = "futures do nothing unless awaited"]
pub struct Authorizing<C, F> {
    hub: Arc<Hub>,
    interval: Duration,
    may_listen: C,
    sleeper: Sleeper,
    /// When the next round begins.
    next: Option<Instant>,
    alarm: Alarm,
    /// Who is still to be asked for in this round.
    keys: VecDeque<Arc<str>>,
    asking: Vec<(Arc<str>, Pin<Box<F>>)>,
}

impl<C, F> Authorizing<C, F>
where
    C: FnMut(Arc<str>) -> F,
    F: Future<Output = bool>,
{
    pub(super) fn new(hub: Arc<Hub>, interval: Duration, may_listen: C) -> Self {
        Self {
            hub,
            interval: interval.clamp(SHORTEST, LONGEST),
            may_listen,
            sleeper: Sleeper::default(),
            next: None,
            alarm: Alarm::default(),
            keys: VecDeque::new(),
            asking: Vec::new(),
        }
    }

    /// Ready once everyone has been asked for. Whoever has an answer makes room for the next.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = IN_ONE_POLL;
        loop {
            while self.asking.len() < AT_A_TIME && left > 0 {
                let Some(key) = self.keys.pop_front() else {
                    break;
                };
                left -= 1;
                let answer = Box::pin((self.may_listen)(Arc::clone(&key)));
                self.asking.push((key, answer));
            }
            let leases = &self.hub.leases;
            self.asking
                .retain_mut(|(key, answer)| match answer.as_mut().poll(cx) {
                    Poll::Pending => true,
                    Poll::Ready(true) => false,
                    Poll::Ready(false) => {
                        leases.end_key(key, EndReason::Unauthorized);
                        false
                    }
                });
            if self.keys.is_empty() && self.asking.is_empty() {
                return Poll::Ready(());
            }
            if self.keys.is_empty() || self.asking.len() == AT_A_TIME {
                return Poll::Pending;
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

// Nothing in it is pinned where it lies.
impl<C, F> Unpin for Authorizing<C, F> {}

impl<C, F> Future for Authorizing<C, F>
where
    C: FnMut(Arc<str>) -> F,
    F: Future<Output = bool>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Marked before the look, which so cannot find old news.
        this.hub.ending.mark(&mut this.sleeper, cx.waker());
        if this.hub.is_closed() {
            return Poll::Ready(());
        }
        ready!(this.poll_round(cx));
        let timer = this.hub.memory.timer();
        let now = timer.now();
        let next = *this.next.get_or_insert(now + this.interval);
        if next <= now {
            this.keys = this.hub.leases.keys().into();
            this.next = Some(now + this.interval);
            // Others first: a round that takes longer than the interval is followed by the next.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Err(Unscheduled(waker)) = this.alarm.set(&**timer, next, cx.waker()) {
            // Rights must not last for ever because no thread could be started: it looks at the
            // clock by itself until one can.
            waker.wake();
        }
        Poll::Pending
    }
}

impl<C, F> Drop for Authorizing<C, F> {
    fn drop(&mut self) {
        self.hub.ending.leave(&mut self.sleeper);
    }
}

impl<C, F> fmt::Debug for Authorizing<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizing")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
