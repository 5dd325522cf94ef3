//! [`Tail`]: every record as it appears.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use std::vec;

use fanfare_core::history::{retry_pause, HistoryError, TailItem};
use fanfare_core::{EventId, Record};
use futures_channel::oneshot;
use futures_core::Stream;

use crate::feed::{Feed, Found};
use crate::queue::Queue;
use crate::reader::{Follow, Query, Stretch};

/// How many records are taken at once.
const PAGE: usize = 256;

/// Every record of a [`Redb`](crate::Redb) as it appears: from memory, unless it is far behind.
pub struct Tail<'a> {
    feed: &'a Feed,
    queries: &'a Queue<Query>,
    key: u64,
    /// The last record that was handed out, or where it started.
    place: EventId,
    state: State,
    /// To be said next: where it starts, or that it goes on.
    news: Option<TailItem>,
    /// How often in a row the file could not be read; the first time that has been said.
    failures: u32,
    page: vec::IntoIter<Record>,
}

enum State {
    /// It has not said where it starts.
    New(Option<EventId>),
    /// It waits for the reader; `true`: it has not said where it starts.
    Reading(oneshot::Receiver<Result<Stretch, HistoryError>>, bool),
    Following,
    Ended,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(feed: &'a Feed, queries: &'a Queue<Query>, after: Option<EventId>) -> Self {
        Self {
            feed,
            queries,
            key: feed.key(),
            place: after.unwrap_or(EventId::new(0, 0)),
            state: State::New(after),
            news: None,
            failures: 0,
            page: Vec::new().into_iter(),
        }
    }

    /// Asks for what follows the place; `is_new`: it has to be said where that is.
    fn read(&mut self, is_new: bool) {
        let (answer, answered) = oneshot::channel();
        let pause = self.failures.checked_sub(1).map(retry_pause);
        let query = Query::Stretch(Follow {
            after: self.place,
            limit: PAGE,
            not_before: pause.map(|pause| Instant::now() + pause),
            answer,
        });
        self.state = match self.queries.push_always(query) {
            Ok(()) => State::Reading(answered, is_new),
            Err(_) => State::Ended,
        };
    }

    fn take(&mut self, stretch: Stretch, is_new: bool) {
        let was_interrupted = std::mem::take(&mut self.failures) > 0;
        // A place that is not where it stood is behind a hole.
        self.news = if is_new || stretch.start != self.place {
            Some(TailItem::Start(stretch.start))
        } else {
            was_interrupted.then_some(TailItem::Resumed)
        };
        self.place = stretch.last;
        self.page = stretch.records.into_iter();
        self.state = State::Following;
    }
}

impl Stream for Tail<'_> {
    type Item = TailItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TailItem>> {
        let this = &mut *self;
        loop {
            if let Some(news) = this.news.take() {
                return Poll::Ready(Some(news));
            }
            if let Some(record) = this.page.next() {
                return Poll::Ready(Some(TailItem::Record(record)));
            }
            match &mut this.state {
                State::New(Some(_)) => this.read(true),
                State::New(None) => match this.feed.last() {
                    Some(last) => {
                        this.place = last;
                        this.news = Some(TailItem::Start(last));
                        this.state = State::Following;
                    }
                    None => this.state = State::Ended,
                },
                State::Reading(answered, is_new) => {
                    let is_new = *is_new;
                    match std::task::ready!(Pin::new(answered).poll(cx)) {
                        Ok(Ok(stretch)) => this.take(stretch, is_new),
                        Ok(Err(HistoryError::Closed)) | Err(oneshot::Canceled) => {
                            this.state = State::Ended;
                        }
                        Ok(Err(error)) => {
                            this.failures = this.failures.saturating_add(1);
                            this.read(is_new);
                            if this.failures == 1 {
                                return Poll::Ready(Some(TailItem::Interrupted(error)));
                            }
                        }
                    }
                }
                State::Following => match this.feed.after(this.place, PAGE, this.key, cx.waker()) {
                    Found::Records(records) => {
                        if let Some(last) = records.last() {
                            this.place = last.id();
                        }
                        this.page = records.into_iter();
                    }
                    Found::Behind => this.read(false),
                    Found::Nothing => return Poll::Pending,
                    Found::Closed => this.state = State::Ended,
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.feed.leave(self.key);
    }
}

impl fmt::Debug for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
