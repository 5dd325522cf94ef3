//! [`CatchUp`]: a cursor that is older than the window, on its way through the backend.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::broadcaster::backend::{Backend, Found, Piece, Read};
use crate::gap::{Gap, GapReason};
use crate::history::{Joined, Memory, View};
use crate::id::{EventId, LastEventId};
use crate::wait::Sleeper;

/// A cursor's way through the backend: page after page, until the window has all that comes next.
///
/// There is no hand-off to get wrong: a cursor joins the window only where the window says, under
/// its lock, that nothing is missing between the last page and what it holds.
#[derive(Debug)]
pub(crate) struct CatchUp {
    backend: Arc<Backend>,
    /// What comes next is after this.
    after: LastEventId,
    /// What a gap is told from: the place that the client named, or that it was sent last.
    asked: LastEventId,
    /// Whether the client has been reading, and so lags if retention overtakes it.
    has_lagged: bool,
    /// The hole that it has been told of last.
    told: Option<Hole>,
    read: Option<Arc<Read>>,
    sleeper: Sleeper,
    page: Option<Reading>,
}

/// A hole that a page has told of. Within it, the cursor goes on only by pages that were read later:
/// what it was told is gone may still be in one that was read before, or in a window that is behind.
#[derive(Clone, Copy, Debug)]
struct Hole {
    end: EventId,
    /// How many reads had begun when it was told of.
    reads: u64,
}

/// A page on its way out. The backend holds it as long as it has room, so that a crowd that stalls
/// in as many places holds no memory; what is gone is read again from where the client is.
#[derive(Debug)]
struct Reading {
    found: Weak<Found>,
    /// Which piece goes out next, of how many.
    next: usize,
    pieces: usize,
    /// Where the page leads, ...
    last: EventId,
    /// ... in which life of the log, ...
    life: u64,
    /// ... and whether that is further than where it was read from.
    leads_on: bool,
}

/// What a cursor finds on its way.
pub(crate) enum Step {
    /// To be told.
    Gap(Gap),
    /// To be sent.
    Piece(Piece),
    /// The window has the rest.
    Joined(EventId, Joined),
    /// The backend has not answered yet.
    Waiting,
    /// Nothing here, and more to read: others first.
    More,
}

impl CatchUp {
    pub(crate) fn new(backend: Arc<Backend>, after: LastEventId, has_lagged: bool) -> Self {
        let asked = after.clone();
        let is_id = after.is_none() || after.id().is_some();
        Self {
            backend,
            // Texts that are no ids lead to the same page: strangers cannot ask for one each.
            after: if is_id { after } else { LastEventId::no_id() },
            asked,
            has_lagged,
            told: None,
            read: None,
            sleeper: Sleeper::default(),
            page: None,
        }
    }

    /// The next step. If it is to wait, the task is woken when there is another.
    pub(crate) fn next(&mut self, memory: &Memory, view: &View, cx: &mut Context<'_>) -> Step {
        loop {
            if let Some(page) = &mut self.page {
                if page.next < page.pieces {
                    if let Some(found) = page.found.upgrade() {
                        return self.piece(&found);
                    }
                    // Gone, to make room for others.
                    self.page = None;
                    continue;
                }
                let Reading { last, life, .. } = *page;
                let (is_empty, leads_on) = (page.pieces == 0, page.leads_on);
                self.page = None;
                self.after = last.into();
                if self.hole().is_none() || !leads_on {
                    if let Some(joined) = memory.join(view, last, life) {
                        return Step::Joined(last, joined);
                    }
                }
                if !leads_on {
                    // The window is not yet where the backend is: nothing to read, nothing to join.
                    let backend = &self.backend;
                    let later = backend.read_later(memory.life(), view.topics(), &self.after);
                    self.read = Some(later);
                } else if is_empty {
                    return Step::More;
                }
            }
            let hole = self.hole();
            let backend = &self.backend;
            let read = self
                .read
                .get_or_insert_with(|| backend.read(memory.life(), view.topics(), &self.after));
            let Poll::Ready(found) = backend.poll(read, &mut self.sleeper, cx) else {
                return Step::Waiting;
            };
            if hole.is_some_and(|hole| found.number <= hole.reads) {
                self.backend.forget(read);
                self.leave();
                continue;
            }
            self.leave();
            self.page = Some(Reading {
                found: Arc::downgrade(&found),
                next: 0,
                pieces: found.pieces().len(),
                last: found.page.last,
                life: found.life,
                leads_on: found.leads_on,
            });
            // A page that ends within a hole makes the next one speak of the same end again.
            let is_news = |gap: &&Gap| !self.told.is_some_and(|hole| hole.end == gap.to);
            if let Some(gap) = found.page.gap.as_ref().filter(is_news) {
                self.told = Some(Hole {
                    end: gap.to,
                    reads: found.begun_by_then,
                });
                return Step::Gap(self.as_asked(gap));
            }
            if !found.pieces().is_empty() {
                // At once, so that each read brings the cursor on, however short it is kept.
                return self.piece(&found);
            }
        }
    }

    /// The hole that it is in, if it has been told of one that ends further on.
    fn hole(&self) -> Option<Hole> {
        let after = self.after.id();
        self.told.filter(|hole| after < Some(hole.end))
    }

    /// The next piece of the page.
    fn piece(&mut self, found: &Found) -> Step {
        let next = self.page.as_mut().and_then(|page| {
            let piece = found.pieces().get(page.next)?;
            page.next += 1;
            Some(piece)
        });
        let Some(piece) = next else {
            return Step::More;
        };
        self.after = piece.last.into();
        self.asked = self.after.clone();
        self.has_lagged = true;
        Step::Piece(piece.clone())
    }

    /// A gap in the words of this client.
    fn as_asked(&self, gap: &Gap) -> Gap {
        let reason = match gap.reason {
            GapReason::Expired if self.has_lagged => GapReason::Lagged,
            reason => reason,
        };
        Gap::new(reason, self.asked.as_str(), gap.to)
    }

    fn leave(&mut self) {
        if let Some(read) = self.read.take() {
            self.backend.leave(&read, &mut self.sleeper);
        }
    }
}

impl Drop for CatchUp {
    fn drop(&mut self) {
        self.leave();
    }
}
