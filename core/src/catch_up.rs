//! [`CatchUp`]: a cursor that is older than the window, on its way through the backend.

use std::sync::Arc;
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
    /// Whether the cursor had been in the window, and fell behind it.
    has_lagged: bool,
    /// The hole that it has been told of last ends here. A page that ends within it makes the next
    /// one speak of it again.
    told: Option<EventId>,
    read: Option<Arc<Read>>,
    sleeper: Sleeper,
    /// What was read, and which piece of it goes out next.
    found: Option<(Arc<Found>, usize)>,
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
            found: None,
        }
    }

    /// The next step. If it is to wait, the task is woken when there is another.
    pub(crate) fn next(&mut self, memory: &Memory, view: &View, cx: &mut Context<'_>) -> Step {
        loop {
            if let Some((found, next)) = &mut self.found {
                if let Some(piece) = found.pieces().get(*next) {
                    *next += 1;
                    return Step::Piece(piece.clone());
                }
                let (last, life) = (found.page.last, found.life);
                let leads_on = self.after.id() != Some(last);
                if let Some(joined) = memory.join(view, last, life) {
                    self.leave();
                    return Step::Joined(last, joined);
                }
                if let Some(sent) = found.page.records.last() {
                    // Another gap is told from there, not once more from where the client began.
                    self.asked = sent.id().into();
                }
                self.leave();
                self.after = last.into();
                let life = memory.life();
                let topics = view.topics();
                self.read = Some(if leads_on {
                    self.backend.read(life, topics, &self.after)
                } else {
                    // The window is not yet where the backend is: nothing to read, nothing to join.
                    self.backend.read_later(life, topics, &self.after)
                });
            }
            let backend = &self.backend;
            let read = self
                .read
                .get_or_insert_with(|| backend.read(memory.life(), view.topics(), &self.after));
            let Poll::Ready(found) = backend.poll(read, &mut self.sleeper, cx) else {
                return Step::Waiting;
            };
            let told = self.told;
            let is_news = |gap: &&Gap| told.map_or(true, |told| gap.to > told);
            let gap = found.page.gap.as_ref().filter(is_news);
            let gap = gap.map(|gap| self.as_asked(gap));
            self.found = Some((found, 0));
            if let Some(gap) = gap {
                self.told = Some(gap.to);
                return Step::Gap(gap);
            }
        }
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
        self.found = None;
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
