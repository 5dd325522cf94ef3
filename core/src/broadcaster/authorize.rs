//! [`Authorizing`]: asks again and again who may go on listening.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::counters::EndReason;
use super::hub::Hub;
use crate::timer::{Alarm, Unscheduled, LONGEST};
use crate::wait::Sleeper;

/// How many keys are asked for at a time, not counting those whose answer is [late](Asked::late_at).
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
    /// Who has been asked for, the earliest first; each key once.
    asked: Vec<Asked<F>>,
}

/// A key that has been asked for, and has no answer yet.
struct Asked<F> {
    key: Arc<str>,
    answer: Pin<Box<F>>,
    /// From then on it is not among those who are asked for at a time: an answer that never comes
    /// would take a place there forever.
    late_at: Instant,
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
            asked: Vec::new(),
        }
    }

    /// Lists every key that has a stream now, except those whose answer is still to come.
    fn begin_round(&mut self, now: Instant) {
        self.next = Some(now + self.interval);
        let mut open: HashSet<_> = self.hub.leases.keys().into_iter().collect();
        // A key whose streams are all over needs no answer.
        self.asked.retain(|asked| open.remove(&asked.key));
        self.keys = open.into_iter().collect();
    }

    /// Asks for as many keys as there is room for. Each answer makes room for the next.
    fn poll_round(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut left = IN_ONE_POLL;
        loop {
            let count = self.room(now).min(left).min(self.keys.len());
            left -= count;
            for key in self.keys.drain(..count) {
                let answer = Box::pin((self.may_listen)(Arc::clone(&key)));
                let late_at = now + self.interval;
                self.asked.push(Asked {
                    key,
                    answer,
                    late_at,
                });
            }
            self.take_answers(cx);
            if self.keys.is_empty() || self.room(now) == 0 {
                return;
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    fn take_answers(&mut self, cx: &mut Context<'_>) {
        let leases = &self.hub.leases;
        self.asked
            .retain_mut(|asked| match asked.answer.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(true) => false,
                Poll::Ready(false) => {
                    leases.end_key(&asked.key, EndReason::Unauthorized);
                    false
                }
            });
    }

    /// How many more may be asked for now.
    fn room(&self, now: Instant) -> usize {
        AT_A_TIME.saturating_sub(self.asked.len() - self.late(now))
    }

    /// How many answers are late. They are the first ones.
    fn late(&self, now: Instant) -> usize {
        self.asked.partition_point(|asked| asked.late_at <= now)
    }

    /// When to look again if no answer comes before: at the next round, or, while a round takes longer
    /// than the interval, when the next answer is late.
    fn next_turn(&self, now: Instant, next_round: Instant) -> Instant {
        if now < next_round {
            return next_round;
        }
        let first = self.asked.get(self.late(now));
        first.map_or(next_round, |asked| asked.late_at)
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
        let timer = Arc::clone(this.hub.memory.timer());
        let now = timer.now();
        this.poll_round(now, cx);
        let next = *this.next.get_or_insert(now + this.interval);
        if this.keys.is_empty() && next <= now {
            this.begin_round(now);
            // Others first: a round that takes longer than the interval is followed by the next.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = this.next_turn(now, next);
        if let Err(Unscheduled(waker)) = this.alarm.set(&*timer, next, cx.waker()) {
            // Rights must not last forever because no thread could be started: it looks at the
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
