//! [`Tail`]: every record as it appears.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::vec;

use fanfare_core::history::{HistoryError, TailItem};
use fanfare_core::{EventId, Record};
use futures_channel::oneshot;
use futures_core::Stream;

use crate::feed::{Feed, Found};
use crate::reader::{Query, Stretch};

/// How many records are taken at once.
const PAGE: usize = 256;

/// Every record of a [`Redb`](crate::Redb) as it appears: from memory, unless it is far behind.
pub struct Tail<'a> {
    feed: &'a Feed,
    reader: &'a Sender<Query>,
    key: u64,
    /// The last record that was handed out, or where it started.
    place: EventId,
    state: State,
    start: Option<EventId>,
    page: vec::IntoIter<Record>,
}

enum State {
    /// It has not said where it starts.
    New(Option<EventId>),
    /// It waits for the reader.
    Reading(oneshot::Receiver<Result<Stretch, HistoryError>>, bool),
    Following,
    /// The file cannot be read; `true`: which has been said.
    Interrupted(bool),
    Ended,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(feed: &'a Feed, reader: &'a Sender<Query>, after: Option<EventId>) -> Self {
        Self {
            feed,
            reader,
            key: feed.key(),
            place: after.unwrap_or(EventId::new(0, 0)),
            state: State::New(after),
            start: None,
            page: Vec::new().into_iter(),
        }
    }

    /// Asks for what follows the place; `is_new`: it has to be said where that is.
    fn read(&mut self, is_new: bool) {
        let (answer, answered) = oneshot::channel();
        let query = Query::Stretch {
            after: self.place,
            limit: PAGE,
            answer,
        };
        self.state = match self.reader.send(query) {
            Ok(()) => State::Reading(answered, is_new),
            Err(_) => State::Ended,
        };
    }

    fn take(&mut self, stretch: Stretch, is_new: bool) {
        // Where it stands, unless there is a hole.
        self.start = (is_new || stretch.start != self.place).then_some(stretch.start);
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
            if let Some(start) = this.start.take() {
                return Poll::Ready(Some(TailItem::Start(start)));
            }
            if let Some(record) = this.page.next() {
                return Poll::Ready(Some(TailItem::Record(record)));
            }
            match &mut this.state {
                State::New(Some(_)) => this.read(true),
                State::New(None) => match this.feed.last() {
                    Some(last) => {
                        this.place = last;
                        this.start = Some(last);
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
                            this.state = State::Interrupted(is_new);
                            // Before it is said, so that the file's return is not missed.
                            this.feed.wait(this.key, cx.waker());
                            return Poll::Ready(Some(TailItem::Interrupted(error)));
                        }
                    }
                }
                State::Interrupted(is_new) => {
                    let is_new = *is_new;
                    this.read(is_new);
                }
                State::Following => {
                    match this.feed.after(this.place, PAGE, this.key, cx.waker()) {
                        Found::Records(records) => {
                            if let Some(last) = records.last() {
                                this.place = last.id();
                            }
                            this.page = records.into_iter();
                        }
                        Found::Behind => this.read(false),
                        Found::Nothing => return Poll::Pending,
                        Found::Closed => this.state = State::Ended,
                    }
                }
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
