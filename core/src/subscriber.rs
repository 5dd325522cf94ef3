//! [`Subscriber`]: one client's cursor in the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::broadcaster::admission::Permit;
use crate::broadcaster::backend::Piece;
use crate::broadcaster::EndReason;
use crate::catch_up::{CatchUp, Step};
use crate::gap::{Gap, GapReason, LagPolicy};
use crate::history::{Batch, Fill, Joined, Start, View};
use crate::id::EventId;
use crate::keep_alive::Liveness;
use crate::sync::Ordering;
use crate::trace;
use crate::wait::{Marked, Sleeper};

/// One client's cursor in the log: a stream of encoded bytes that are shared with every other
/// subscriber at the same place.
///
/// - `Ready(Some(bytes))`: one or more whole events, or a sign of life; never empty.
/// - `Pending`: nothing to send now.
/// - `Ready(None)`: the stream is over, cleanly; every later poll says so too.
///
/// A poll that finds nothing takes no lock and allocates nothing. A long replay returns
/// `Pending` now and then, having woken its task, so that others on the same thread get their
/// turn.
///
/// # Cancel safety
///
/// Dropping it at any time gives its place to others, and costs nobody an event. What it has
/// returned is the caller's to send: the cursor does not go back.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Subscriber {
    permit: Permit,
    view: Arc<View>,
    sleeper: Sleeper,
    /// It has everything up to here, ...
    place: u64,
    /// ... but for holes that it has been told of, up to here.
    told: u64,
    /// The id of its place, or of one before it that misses nothing.
    at: EventId,
    /// Where it is, if not in the window.
    outside: Option<Box<Outside>>,
    /// The hole to tell of next.
    gap: Option<Box<Gap>>,
    liveness: Liveness,
    phase: Phase,
    /// Whether it has not yet reached the tail for the first time.
    catching_up: bool,
    /// Polls in a row that were ready.
    streak: u8,
}

/// Where a cursor of a broadcaster with a backend can be besides in the window.
#[derive(Debug)]
enum Outside {
    /// In front of it.
    Behind(CatchUp),
    /// Beyond it: it has everything up to this id of this life of the log, which the window does not
    /// have yet.
    Ahead { id: EventId, life: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Following,
    /// Told of the gap that its stream ends for.
    Ending,
    Ended,
}

/// Why a cursor that finds nothing may end. Looked at before the news: whoever ended the stream had
/// published all that it is to have by then.
#[derive(Clone, Copy)]
struct Endings {
    /// The log is closed.
    closed: bool,
    /// A drain has ends to hand out.
    drained: bool,
}

/// What a cursor finds at its place.
enum Next {
    Bytes(Bytes),
    Nothing,
    /// Nothing yet, and more to look at: others first.
    More,
    End,
}

/// How many polls in a row may be ready. Where the runtime has no budget of its own, a client
/// that reads as fast as it replays would keep its thread to itself.
const MAX_STREAK: u8 = 64;

impl Subscriber {
    pub(crate) fn new(permit: Permit, start: Start) -> Self {
        let outside = permit.hub.backend.as_ref().and_then(|backend| {
            if let Some(after) = start.behind {
                let catch_up = CatchUp::new(Arc::clone(backend), after, false);
                return Some(Outside::Behind(catch_up));
            }
            // What was published here before it came is not news, though it may still be on its way.
            let newest = backend.newest_known(&permit.hub.memory);
            let life = start.life;
            (start.is_live && newest > start.at).then_some(Outside::Ahead { id: newest, life })
        });
        Self {
            liveness: Liveness::new(permit.hub.beat()),
            permit,
            catching_up: matches!(outside, Some(Outside::Behind(_)))
                || start.place < start.view.tail(),
            at: match outside {
                Some(Outside::Ahead { id, .. }) => id,
                _ => start.at,
            },
            outside: outside.map(Box::new),
            view: start.view,
            sleeper: Sleeper::default(),
            place: start.place,
            told: start.told,
            gap: start.gap.map(Box::new),
            phase: Phase::Opening,
            streak: 0,
        }
    }

    /// What comes next, whoever asks: every decision is made here. Only the backend needs to know
    /// the task.
    fn next(&mut self, cx: &mut Context<'_>) -> Next {
        match self.phase {
            Phase::Ended => return Next::End,
            Phase::Ending => return self.end(EndReason::Lagged),
            Phase::Opening => {
                self.phase = Phase::Following;
                return self.send(self.permit.hub.settings.opening.clone());
            }
            Phase::Following => {}
        }
        if let Some(reason) = self.permit.must_end() {
            return self.end(reason);
        }
        let next = self.look(cx);
        if matches!(next, Next::Bytes(_)) && self.phase == Phase::Following {
            // Again: what was found may have come after its right to it had ended.
            if let Some(reason) = self.permit.must_end() {
                return self.end(reason);
            }
        }
        next
    }

    /// What there is for it.
    fn look(&mut self, cx: &mut Context<'_>) -> Next {
        if let Some(gap) = self.gap.take() {
            return self.tell(&gap);
        }
        if self.outside.is_some() {
            if let Some(next) = self.come_in(cx) {
                return next;
            }
        }
        let endings = self.endings();
        loop {
            if self.view.evicted() > self.place.max(self.told) {
                match self.lag(cx) {
                    Some(next) => return next,
                    None => continue,
                }
            }
            if self.view.tail() <= self.place {
                self.catching_up = false;
                break;
            }
            if self.told <= self.place {
                if let Some(batch) = self.view.batch(self.place) {
                    return self.deliver(batch);
                }
            }
            match self
                .permit
                .hub
                .memory
                .fill(&self.view, self.place, self.told)
            {
                Fill::Batch(batch) => {
                    self.view.share(&batch);
                    return self.deliver(batch);
                }
                // Evicted since the look above: the next look sees it.
                Fill::Evicted => {}
                Fill::Skipped(place) => {
                    self.place = place;
                    return Next::More;
                }
                Fill::Nothing(tail) => self.place = tail,
            }
        }
        self.rest(endings)
    }

    fn endings(&self) -> Endings {
        let hub = &self.permit.hub;
        Endings {
            closed: hub.is_closed(),
            drained: hub.drain.has_ends(),
        }
    }

    fn tell(&mut self, gap: &Gap) -> Next {
        let hub = &self.permit.hub;
        hub.counters.gaps.add(gap.reason);
        trace::gap(gap);
        let bytes = gap.to_event(hub.settings.gap_name.clone()).encode();
        self.send(bytes)
    }

    fn send(&mut self, bytes: Bytes) -> Next {
        self.liveness.sent();
        Next::Bytes(bytes)
    }

    /// Goes on in the backend, or waits for the window to have what comes next. `None`: it is in
    /// the window.
    fn come_in(&mut self, cx: &mut Context<'_>) -> Option<Next> {
        let endings = self.endings();
        let hub = &self.permit.hub;
        match self.outside.as_deref_mut()? {
            Outside::Behind(catch_up) => match catch_up.next(&hub.memory, &self.view, cx) {
                Step::Gap(gap) => Some(self.tell(&gap)),
                Step::Piece(Piece { bytes, records, .. }) => {
                    self.view.count(records, bytes.len() as u64);
                    self.count_replayed(records);
                    Some(self.send(bytes))
                }
                Step::Joined(at, Joined { place, skip, life }) => {
                    (self.place, self.told, self.at) = (place, 0, at);
                    self.outside = skip.map(|id| Box::new(Outside::Ahead { id, life }));
                    self.come_in(cx)
                }
                Step::More => Some(Next::More),
                // The backend may be away for long, and the client has its place: it goes on
                // elsewhere.
                Step::Waiting => Some(self.rest(endings)),
            },
            Outside::Ahead { id, life } => {
                let (id, life) = (*id, *life);
                match hub.memory.join(&self.view, id, life) {
                    Some(Joined {
                        place, skip: None, ..
                    }) => {
                        self.place = place;
                        self.outside = None;
                        None
                    }
                    _ if endings.closed => Some(self.end(EndReason::Closed)),
                    Some(Joined { place, .. }) => {
                        // All that is here, it has.
                        self.place = place;
                        Some(self.rest(endings))
                    }
                    // What it waited for has come and gone, or the log has begun anew.
                    None => {
                        let backend = Arc::clone(hub.backend.as_ref()?);
                        let catch_up = CatchUp::new(backend, id.into(), false);
                        self.outside = Some(Box::new(Outside::Behind(catch_up)));
                        self.come_in(cx)
                    }
                }
            }
        }
    }

    /// Nothing to send: the end, if it has come, or a sign of life, if it is due.
    fn rest(&mut self, endings: Endings) -> Next {
        if endings.closed {
            return self.end(EndReason::Closed);
        }
        let hub = &self.permit.hub;
        if endings.drained && hub.drain.take_end() {
            return self.end(EndReason::Drained);
        }
        if self.liveness.is_due(hub.beat()) {
            hub.counters.keep_alives.fetch_add(1, Ordering::Relaxed);
            return Next::Bytes(hub.settings.keep_alive_bytes.clone());
        }
        Next::Nothing
    }

    fn deliver(&mut self, batch: Batch) -> Next {
        self.place = batch.to;
        self.at = batch.last;
        self.count_replayed(batch.records);
        let behind = self.view.tail().saturating_sub(self.place);
        if behind > 0 {
            self.permit.hub.counters.lag.add(behind);
        }
        self.send(batch.bytes)
    }

    fn count_replayed(&self, records: u64) {
        if self.catching_up {
            let replayed = &self.permit.hub.counters.replayed;
            replayed.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Retention has overtaken the cursor. `None`: it is to look again.
    fn lag(&mut self, cx: &mut Context<'_>) -> Option<Next> {
        let hub = &self.permit.hub;
        let policy = hub.settings.lag;
        if hub.backend.is_some() && self.place == 0 {
            // Opened before the backend had said where its log stands: from there on.
            let (place, at) = hub.memory.base();
            (self.place, self.at) = (place, self.at.max(at));
            return None;
        }
        trace::lagging(self.at);
        if let (Some(backend), LagPolicy::Resume) = (&hub.backend, policy) {
            // The backend may have what the window has let go.
            let catch_up = CatchUp::new(Arc::clone(backend), self.at.into(), true);
            self.outside = Some(Box::new(Outside::Behind(catch_up)));
            return self.come_in(cx);
        }
        let from = self.at.to_string();
        let (told, to) = match policy {
            LagPolicy::SkipToLatest => {
                let latest = hub.memory.latest(&self.view);
                (self.place, self.at) = latest;
                latest
            }
            LagPolicy::Resume | LagPolicy::Disconnect => hub.memory.newest_evicted(&self.view),
        };
        self.told = told;
        if policy == LagPolicy::Disconnect {
            // Told first: a client that has no id yet could not say where it stopped.
            self.phase = Phase::Ending;
        }
        Some(self.tell(&Gap::new(GapReason::Lagged, Some(&from), to)))
    }

    fn yield_to_others(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        self.streak = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The server ends the stream: why, when to come back, then nothing more.
    fn end(&mut self, reason: EndReason) -> Next {
        self.phase = Phase::Ended;
        self.permit.reason = reason;
        let farewell = self.permit.hub.farewell(reason);
        farewell.map_or(Next::End, Next::Bytes)
    }
}

impl Stream for Subscriber {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if this.streak >= MAX_STREAK {
            return this.yield_to_others(cx);
        }
        let mut marked = false;
        loop {
            let next = this.next(cx);
            if let Some(lease) = &this.permit.lease {
                lease.moved_to(this.place);
            }
            match next {
                Next::Bytes(bytes) => {
                    this.streak += 1;
                    return Poll::Ready(Some(bytes));
                }
                Next::End => return Poll::Ready(None),
                Next::More => return this.yield_to_others(cx),
                Next::Nothing => this.streak = 0,
            }
            // What was looked at while marked cannot be old news: look, mark, look again. A mark
            // that was there before saves the second look.
            if marked {
                return Poll::Pending;
            }
            match this.view.waiters().mark(&mut this.sleeper, cx.waker()) {
                Marked::Already => return Poll::Pending,
                Marked::Anew => {}
                Marked::Elsewhere => {
                    if let Some(lease) = &this.permit.lease {
                        lease.is_read_by(cx.waker());
                    }
                }
            }
            marked = true;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.permit.hub.memory.leave(&self.view, &mut self.sleeper);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::counting::locks_taken_by;
    use crate::{Broadcaster, Event};
    use std::task::{Wake, Waker};

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_poll_that_finds_nothing_takes_no_lock() {
        let hub = Broadcaster::new();
        let mut subscriber = hub.subscribe("t").open().expect("open");
        let waker = Waker::from(Arc::new(Task));
        let mut cx = Context::from_waker(&waker);
        let mut poll = || Pin::new(&mut subscriber).poll_next(&mut cx);

        assert!(poll().is_ready(), "the opening");
        let first = locks_taken_by(|| assert!(poll().is_pending()));
        assert_eq!(first, 1, "the first sleep leaves the task's waker");
        assert_eq!(locks_taken_by(|| assert!(poll().is_pending())), 0);

        for _ in 0..3 {
            hub.try_publish("t", Event::data("x")).expect("open");
            hub.try_publish("other", Event::data("x")).expect("open");
            assert!(poll().is_ready());
            // As hyper does: once to find that there is no more, once after its flush.
            assert_eq!(locks_taken_by(|| assert!(poll().is_pending())), 0);
            assert_eq!(locks_taken_by(|| assert!(poll().is_pending())), 0);
        }
    }
}
