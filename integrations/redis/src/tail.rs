//! [`Tail`]: every record as it appears.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use fanfare_core::history::{HistoryError, TailItem};
use fanfare_core::{EventId, Record};
use futures_channel::oneshot;
use futures_core::Stream;

use crate::feed::{Feed, Follower, Found};
use crate::queue::Queue;
use crate::reader::{Begin, Query, Stretch};

/// How many records are taken at once.
const PAGE: usize = 256;

/// Every record of a [`RedisHistory`](crate::RedisHistory) as it appears: of the one connection that
/// reads for all tails, unless it is far behind.
pub struct Tail<'a> {
    feed: &'a Feed,
    reader: &'a Queue<Query>,
    at: Follower,
    state: State,
    start: Option<EventId>,
    page: vec::IntoIter<Record>,
}

enum State {
    /// It has not asked yet where it starts.
    New(Option<EventId>),
    /// It waits for the reader.
    Reading(Reading),
    Following,
    Ended,
}

struct Reading {
    begin: Begin,
    answer: oneshot::Receiver<Stretch>,
    /// Why there is no answer yet, once; then nothing else is asked about that.
    trouble: Option<oneshot::Receiver<HistoryError>>,
}

impl<'a> Tail<'a> {
    pub(crate) fn new(feed: &'a Feed, reader: &'a Queue<Query>, after: Option<EventId>) -> Self {
        let (key, starts) = feed.join();
        Self {
            feed,
            reader,
            at: Follower {
                key,
                place: EventId::new(0, 0),
                starts,
                said_away: false,
            },
            state: State::New(after),
            start: None,
            page: Vec::new().into_iter(),
        }
    }

    /// The same, which brings nothing.
    pub(crate) fn ended(mut self) -> Self {
        self.state = State::Ended;
        self
    }

    /// Asks for what follows a place.
    fn read(&mut self, after: Option<EventId>, begin: Begin) {
        let (answer, answered) = oneshot::channel();
        let (trouble, troubled) = oneshot::channel();
        // Before the question: what starts anew behind it is told once more.
        self.at.starts = self.feed.starts();
        let query = Query::Stretch {
            after,
            begin,
            answer,
            trouble: Some(trouble),
        };
        self.state = match self.reader.push(query, 0) {
            Ok(()) => State::Reading(Reading {
                begin,
                answer: answered,
                trouble: Some(troubled),
            }),
            Err(_) => State::Ended,
        };
    }

    fn take(&mut self, stretch: Stretch, begin: Begin) {
        // Where it stands, unless there is a hole.
        let is_new = begin == Begin::New || stretch.start != self.at.place;
        self.start = is_new.then_some(stretch.start);
        if is_new {
            self.at.said_away = false;
        }
        self.at.place = stretch.last;
        self.page = stretch.records.into_iter();
        self.state = State::Following;
    }
}

impl Reading {
    fn poll_trouble(&mut self, cx: &mut Context<'_>) -> Option<HistoryError> {
        let trouble = Pin::new(self.trouble.as_mut()?).poll(cx);
        let Poll::Ready(told) = trouble else {
            return None;
        };
        self.trouble = None;
        told.ok()
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
            let found = match &mut this.state {
                State::New(after) => {
                    let after = *after;
                    this.read(after, Begin::New);
                    continue;
                }
                State::Reading(reading) => match Pin::new(&mut reading.answer).poll(cx) {
                    Poll::Ready(Ok(stretch)) => {
                        let begin = reading.begin;
                        this.take(stretch, begin);
                        continue;
                    }
                    Poll::Ready(Err(oneshot::Canceled)) => {
                        this.state = State::Ended;
                        continue;
                    }
                    Poll::Pending => match reading.poll_trouble(cx) {
                        // The server may be there, and refuse what a reader needs alone.
                        Some(error) if !this.at.said_away => {
                            this.at.said_away = true;
                            return Poll::Ready(Some(TailItem::Interrupted(error)));
                        }
                        _ => this.feed.absence(this.at, cx.waker()),
                    },
                },
                State::Following => this.feed.after(this.at, PAGE, cx.waker()),
                State::Ended => return Poll::Ready(None),
            };
            match found {
                Found::Records(records) => {
                    if let Some(last) = records.last() {
                        this.at.place = last.id();
                    }
                    this.page = records.into_iter();
                }
                Found::Behind => {
                    let place = this.at.place;
                    this.read(Some(place), Begin::GoOn);
                }
                Found::Start(id, starts) => {
                    this.at.place = id;
                    this.at.starts = starts;
                    this.at.said_away = false;
                    this.start = Some(id);
                }
                Found::Away(fault) => {
                    this.at.said_away = true;
                    return Poll::Ready(Some(TailItem::Interrupted(fault.of_read())));
                }
                Found::Back => {
                    this.at.said_away = false;
                    return Poll::Ready(Some(TailItem::Resumed));
                }
                Found::Nothing => return Poll::Pending,
                Found::Closed => this.state = State::Ended,
            }
        }
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.feed.leave(self.at.key);
    }
}

impl fmt::Debug for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
