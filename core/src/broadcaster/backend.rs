//! [`Backend`]: the history behind the window, and what is read from it for cursors that are older
//! than the window: each page once, however many ask for it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::counters::HistogramCounts;
use super::Histogram;
use crate::history::{
    retry_pause, BoxFuture, History, HistoryError, Memory, Page, MAX_BATCH, MAX_PAGE_BYTES,
    REMEMBERED_KEYS,
};
use crate::id::{EventId, LastEventId};
use crate::record::Record;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timer::{Alarm, Timer};
use crate::topic::Topics;
use crate::trace;
use crate::wait::{Marked, Sleeper, Waiters};

/// The most records that are read at once. A power of two, so that whoever reads on from a round
/// place has a whole page up to the next: see [`cut_where_others_cut`].
const PAGE_RECORDS: usize = 1_024;

/// How many pages are kept for others who ask for the same, ...
const KEPT_PAGES: usize = 64;

/// ... and how many bytes of them.
const KEPT_BYTES: usize = 16 << 20;

/// How long a page is an answer for who asks the broadcaster for one: see [`Backend::read_anew`].
const FRESH: Duration = Duration::from_secs(1);

/// How long a publisher waits at most for the tail to say where the log stands.
const BEGINNING: Duration = Duration::from_secs(5);

/// A publisher that waits for the tail to begin.
pub(super) struct Wait {
    sleeper: Sleeper,
    until: Instant,
    alarm: Alarm,
}

impl Wait {
    fn until(until: Instant) -> Self {
        Self {
            sleeper: Sleeper::default(),
            until,
            alarm: Alarm::default(),
        }
    }
}

/// The history behind the window.
pub(crate) struct Backend {
    pub(super) history: Arc<dyn History>,
    timer: Arc<dyn Timer>,
    reads: Mutex<Reads>,
    /// Whether the tail is being read and the engine answers.
    pub(super) is_ready: AtomicBool,
    /// Whether the tail has said anything yet: where the log stands, or that it cannot.
    is_heard_of: AtomicBool,
    /// Publishers that wait for that.
    beginning: Waiters,
    /// Whether nothing more is published, and the last of it is being waited for.
    is_closing: AtomicBool,
    /// The thread that feeds the window, while it runs.
    pub(super) feeder: Mutex<Option<Thread>>,
    /// The newest id that a publisher of ours was given in this life of the log.
    published_last: Mutex<EventId>,
    published: AtomicU64,
    published_keyed: Mutex<KeyedIds>,
    reads_begun: AtomicU64,
    records_read: AtomicU64,
    failures: AtomicU64,
    append_failures: AtomicU64,
    interruptions: AtomicU64,
    append_times: HistogramCounts,
    read_times: HistogramCounts,
}

#[derive(Default)]
struct Reads {
    /// Those that are under way or kept.
    by_request: HashMap<Request, Arc<Read>>,
    /// Those that are kept, the oldest first, and their sizes in bytes.
    kept: VecDeque<(Arc<Read>, usize)>,
    kept_bytes: usize,
}

/// What a page is asked for by. What was read in one life of the log is no answer in the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    life: u64,
    topics: Topics,
    after: LastEventId,
}

/// A page that has been read, for everyone who asked for it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) page: Page,
    pub(crate) life: u64,
    /// Whether its end is another place than it was asked for.
    pub(crate) leads_on: bool,
    /// Whether there is more behind it, and so it does not depend on when it was read.
    pub(super) is_full: bool,
    /// Which of all reads it was, ...
    pub(crate) number: u64,
    /// ... and how many had begun when it was done: those after them saw what it saw, or newer.
    pub(crate) begun_by_then: u64,
    /// When it was asked for.
    began: Instant,
    pieces: OnceLock<Vec<Piece>>,
}

/// Some of a page's records, joined, as they go out.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) records: u64,
    /// The id of the last of them.
    pub(crate) last: EventId,
}

/// A backend at work on a page.
struct Reading {
    page: BoxFuture<'static, Result<(Page, u64), HistoryError>>,
    /// Since its first poll: it is made under a lock, where no clock of others is asked.
    began: Option<Instant>,
}

/// A page that is being read. Whoever waits for it polls the read; all of them share its result.
pub(crate) struct Read {
    request: Request,
    state: Mutex<State>,
    waiters: Waiters,
    /// How many have asked for it and not left; changes under the lock of all reads.
    askers: AtomicUsize,
    /// Whether the read has called for a poll that has not yet begun.
    called: AtomicBool,
}

enum State {
    /// Nobody polls it now. It has failed so many times.
    Running(Reading, u32),
    /// Its future has been taken out, to be polled or dropped without the lock: it is foreign code.
    Taken,
    /// It failed so many times, the last time for this reason, and is not tried again before then.
    Failed(u32, Instant, Option<Arc<HistoryError>>),
    Done(Arc<Found>),
}

impl Backend {
    pub(super) fn new(history: Arc<dyn History>, timer: Arc<dyn Timer>) -> Self {
        Self {
            history,
            timer,
            reads: Mutex::default(),
            is_ready: AtomicBool::new(false),
            is_heard_of: AtomicBool::new(false),
            beginning: Waiters::default(),
            is_closing: AtomicBool::new(false),
            feeder: Mutex::new(None),
            published_last: Mutex::new(EventId::new(0, 0)),
            published: AtomicU64::new(0),
            published_keyed: Mutex::default(),
            reads_begun: AtomicU64::new(0),
            records_read: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            append_failures: AtomicU64::new(0),
            interruptions: AtomicU64::new(0),
            append_times: HistogramCounts::default(),
            read_times: HistogramCounts::default(),
        }
    }

    /// The page after a place: one that is kept, or under way, or a new read.
    pub(crate) fn read(&self, life: u64, topics: &Topics, after: &LastEventId) -> Arc<Read> {
        let request = Request::new(life, topics, after);
        let begin = |request: &Request| State::Running(self.begin(request), 0);
        self.reads.lock().ask(request, begin).0
    }

    /// As [`read`](Self::read), for who must not miss what was published before it asked: a page that
    /// is kept will do only if it is full, and was read a moment ago, since what it has may be gone
    /// and nothing need tick here. And whether it is a new read, and not one under way, which may miss
    /// that too.
    pub(super) fn read_anew(
        &self,
        life: u64,
        topics: &Topics,
        after: &LastEventId,
    ) -> (Arc<Read>, bool) {
        let request = Request::new(life, topics, after);
        let now = self.timer.now();
        let mut reads = self.reads.lock();
        let known = reads.by_request.get(&request);
        if known.is_some_and(|read| read.is_outdated(now)) {
            reads.forget(&request);
        }
        reads.ask(request, |request| State::Running(self.begin(request), 0))
    }

    /// The page after a place, read after a pause: the one that was read a moment ago had nothing
    /// to go on with.
    pub(crate) fn read_later(&self, life: u64, topics: &Topics, after: &LastEventId) -> Arc<Read> {
        let request = Request::new(life, topics, after);
        let until = self.timer.now() + retry_pause(0);
        let paused = |_: &Request| State::Failed(0, until, None);
        let (read, is_new) = self.reads.lock().ask(request, paused);
        if is_new {
            self.wake_at(&read, until);
        }
        read
    }

    /// One who asked for a page leaves: with the page, or without. The last to leave a read that
    /// is not done ends it.
    pub(crate) fn leave(&self, read: &Arc<Read>, sleeper: &mut Sleeper) {
        read.waiters.leave(sleeper);
        let mut reads = self.reads.lock();
        let is_last = read.askers.fetch_sub(1, Ordering::Relaxed) == 1;
        let mut state = read.state.lock();
        let unused = if is_last && !matches!(&*state, State::Done(_)) {
            reads.by_request.remove(&read.request);
            // It may keep the waker that keeps the read: it would not go by itself.
            Some(mem::replace(&mut *state, State::Taken))
        } else {
            None
        };
        // A future's drop is foreign code: outside the locks.
        drop((state, reads));
        drop(unused);
    }

    /// Lets go of a page that is too old for one who asked for it: whoever asks next reads it anew.
    pub(crate) fn forget(&self, read: &Arc<Read>) {
        let mut reads = self.reads.lock();
        let known = reads.by_request.get(&read.request);
        if known.is_some_and(|known| Arc::ptr_eq(known, read)) {
            reads.forget(&read.request);
        }
    }

    fn begin(&self, request: &Request) -> Reading {
        let history = Arc::clone(&self.history);
        let Request { topics, after, .. } = request.clone();
        let number = self.reads_begun.fetch_add(1, Ordering::SeqCst) + 1;
        Reading {
            page: Box::pin(async move {
                let page = history.replay(&topics, &after, PAGE_RECORDS).await?;
                Ok((page, number))
            }),
            began: None,
        }
    }

    /// Polls a read on behalf of one of those who wait for it. While the engine fails, this is
    /// `Pending`: the read is tried again by itself.
    pub(crate) fn poll(
        &self,
        read: &Arc<Read>,
        sleeper: &mut Sleeper,
        cx: &mut Context<'_>,
    ) -> Poll<Arc<Found>> {
        // Marked before the look, which so cannot find old news.
        read.waiters.mark(sleeper, cx.waker());
        let now = self.timer.now();
        let mut state = read.state.lock();
        let taken = match &*state {
            State::Done(found) => return Poll::Ready(Arc::clone(found)),
            State::Taken => return Poll::Pending,
            State::Failed(_, until, _) if now < *until => return Poll::Pending,
            State::Failed(..) | State::Running(..) => mem::replace(&mut *state, State::Taken),
        };
        drop(state);
        let (reading, tries) = match taken {
            State::Running(reading, tries) => (reading, tries),
            State::Failed(tries, ..) => (self.begin(&read.request), tries),
            State::Taken | State::Done(_) => return Poll::Pending,
        };
        // A swap, so that this poll sees what was stored before the calls that it answers.
        read.called.swap(false, Ordering::SeqCst);
        if let Some(result) = self.poll_once(read, reading, tries) {
            return result;
        }
        // Called meanwhile: those who were woken found that it was being polled. They look again,
        // rather than that it is polled again here, for who calls at once gives way to others.
        if read.called.load(Ordering::SeqCst) {
            read.waiters.wake_all();
        }
        Poll::Pending
    }

    /// `None`: it is not ready.
    fn poll_once(
        &self,
        read: &Arc<Read>,
        mut reading: Reading,
        tries: u32,
    ) -> Option<Poll<Arc<Found>>> {
        let waker = Waker::from(Arc::clone(read));
        let mut cx = Context::from_waker(&waker);
        let began = *reading.began.get_or_insert_with(|| self.timer.now());
        // A backend does not panic; if one does, nobody is to wait for it forever.
        let polled = catch_unwind(AssertUnwindSafe(|| reading.page.as_mut().poll(&mut cx)));
        if !matches!(polled, Ok(Poll::Pending)) {
            let took = self.timer.now().saturating_duration_since(began);
            self.read_times.add_time(took);
        }
        match polled {
            Ok(Poll::Pending) => {
                *read.state.lock() = State::Running(reading, tries);
                None
            }
            Ok(Poll::Ready(Ok((page, number)))) => {
                let records = page.records.len() as u64;
                self.records_read.fetch_add(records, Ordering::Relaxed);
                let begun_by_then = self.reads_begun.load(Ordering::SeqCst);
                let found = Found::new(page, &read.request, number, begun_by_then, began);
                let found = Arc::new(found);
                self.keep_or_forget(read, &found);
                *read.state.lock() = State::Done(Arc::clone(&found));
                read.waiters.wake_all();
                Some(Poll::Ready(found))
            }
            Ok(Poll::Ready(Err(error))) => Some(self.fail(read, tries, error)),
            Err(_) => {
                let error = HistoryError::Failed("the history panicked".into());
                Some(self.fail(read, tries, error))
            }
        }
    }

    fn fail(&self, read: &Arc<Read>, tries: u32, error: HistoryError) -> Poll<Arc<Found>> {
        self.failures.fetch_add(1, Ordering::Relaxed);
        trace::read_failed(&error, tries);
        let until = self.timer.now() + retry_pause(tries);
        *read.state.lock() = State::Failed(tries + 1, until, Some(Arc::new(error)));
        // Those who do not wait for another try are to hear of it.
        read.waiters.wake_all();
        self.wake_at(read, until);
        Poll::Pending
    }

    /// As [`poll`](Self::poll), for who does not wait until the engine is back.
    pub(super) fn poll_or_fail(
        &self,
        read: &Arc<Read>,
        sleeper: &mut Sleeper,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<Found>, HistoryError>> {
        if let Poll::Ready(found) = self.poll(read, sleeper, cx) {
            return Poll::Ready(Ok(found));
        }
        match &*read.state.lock() {
            State::Failed(_, _, Some(error)) => {
                let shared = Shared(Arc::clone(error));
                Poll::Ready(Err(HistoryError::Unavailable(Box::new(shared))))
            }
            _ => Poll::Pending,
        }
    }

    fn wake_at(&self, read: &Arc<Read>, deadline: Instant) {
        let waker = Waker::from(Arc::clone(read));
        // Without a timer, the next sign of life polls again.
        let _ = self.timer.wake_at(deadline, waker);
    }

    /// Keeps a page that has been read for those who are about to ask for it: a crowd does not
    /// return in one instant. It goes at the next [tick](super::hub::Hub::tick), or makes room for
    /// others before. A page is as good as the place that it leads to, however old it is, and if
    /// it is empty, as those of a rare selection are; one that leads nowhere is not kept, since it
    /// would be found again and again.
    fn keep_or_forget(&self, read: &Arc<Read>, found: &Found) {
        let mut reads = self.reads.lock();
        if found.leads_on {
            let size = found.page.records.iter().map(|r| r.bytes().len()).sum();
            reads.kept_bytes += size;
            reads.kept.push_back((Arc::clone(read), size));
        } else {
            reads.by_request.remove(&read.request);
        }
        while reads.kept.len() > KEPT_PAGES || reads.kept_bytes > KEPT_BYTES {
            let Some((oldest, size)) = reads.kept.pop_front() else {
                break;
            };
            reads.by_request.remove(&oldest.request);
            reads.kept_bytes -= size;
        }
    }

    /// Lets go of every page that is kept: it may hold what the engine has evicted since.
    pub(super) fn forget_pages(&self) {
        let mut reads = self.reads.lock();
        let kept = mem::take(&mut reads.kept);
        reads.kept_bytes = 0;
        for (read, _) in &kept {
            reads.by_request.remove(&read.request);
        }
        drop(reads);
        drop(kept);
    }

    /// Lets go of every page, as when the log has begun a new life, and tries again at once what
    /// has failed.
    pub(super) fn renew(&self) {
        self.forget_pages();
        let reads = self.reads.lock();
        let waiting: Vec<_> = reads.by_request.values().cloned().collect();
        drop(reads);
        let now = self.timer.now();
        for read in waiting {
            if let State::Failed(_, until, _) = &mut *read.state.lock() {
                *until = now;
            }
            read.waiters.wake_all();
        }
    }

    /// Counts an event by the id that a publisher of ours was given for it. If it had a key and the id
    /// is known, it is a repetition.
    pub(super) fn count_published(&self, id: EventId, has_key: bool) {
        let is_new = !has_key || self.published_keyed.lock().insert(id);
        self.published
            .fetch_add(u64::from(is_new), Ordering::Relaxed);
    }

    /// Notes an id that a publisher of ours was given; `is_current`: of this life of the log.
    pub(super) fn note_published(&self, id: EventId, is_current: impl FnOnce() -> bool) {
        let mut last = self.published_last.lock();
        if is_current() {
            *last = (*last).max(id);
        }
    }

    /// Notes what came of an append, and how long it took.
    pub(super) fn note_append(&self, began: Instant, has_failed: bool) {
        let took = self.timer.now().saturating_duration_since(began);
        self.append_times.add_time(took);
        if has_failed {
            self.append_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that the tail has broken off.
    pub(super) fn note_interruption(&self) {
        self.interruptions.fetch_add(1, Ordering::Relaxed);
        self.note_heard_of();
    }

    /// The tail has said where the log stands, or that it cannot: publishers need not wait for it.
    pub(super) fn note_heard_of(&self) {
        self.is_heard_of.store(true, Ordering::SeqCst);
        self.beginning.wake_all();
    }

    /// Waits until it is known where the log stands, so that what is published comes by the tail to
    /// everyone who is here. `Err`: the tail cannot say, or has not for a while.
    pub(super) fn poll_begun(
        &self,
        memory: &Memory,
        wait: &mut Option<Box<Wait>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), HistoryError>> {
        let unavailable = || {
            let why = "nothing was heard of its tail yet";
            Poll::Ready(Err(HistoryError::Unavailable(why.into())))
        };
        for _ in 0..2 {
            // Looked at first: a tail that has begun was heard of after that.
            let is_heard_of = self.is_heard_of.load(Ordering::SeqCst);
            if memory.has_begun() || self.is_closing() {
                return Poll::Ready(Ok(()));
            }
            if is_heard_of {
                return unavailable();
            }
            let now = self.timer.now();
            let wait = wait.get_or_insert_with(|| Box::new(Wait::until(now + BEGINNING)));
            if now >= wait.until
                || wait
                    .alarm
                    .set(&*self.timer, wait.until, cx.waker())
                    .is_err()
            {
                return unavailable();
            }
            if self.beginning.mark(&mut wait.sleeper, cx.waker()) == Marked::Already {
                break;
            }
        }
        Poll::Pending
    }

    /// Forgets a publisher that has waited.
    pub(super) fn leave_beginning(&self, wait: &mut Wait) {
        self.beginning.leave(&mut wait.sleeper);
    }

    /// The newest id that is known here: what the window has, or what a publisher of ours was given
    /// and the tail has not brought yet.
    pub(crate) fn newest_known(&self, memory: &Memory) -> EventId {
        memory.last().max(*self.published_last.lock())
    }

    /// The log begins a new life after this id, and ids of the one before mean nothing in it.
    pub(super) fn restart(&self, memory: &Memory, id: EventId) {
        let mut last = self.published_last.lock();
        memory.restart(id);
        *last = id;
        drop(last);
        memory.wake_all();
    }

    /// Whether the window has all that publishers of ours were given ids for.
    pub(super) fn has_caught_up(&self, memory: &Memory) -> bool {
        memory.last() >= *self.published_last.lock()
    }

    /// Nothing more is published.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.beginning.wake_all();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> BackendStats {
        BackendStats {
            is_ready: self.is_ready.load(Ordering::Relaxed),
            reads: self.reads_begun.load(Ordering::Relaxed),
            records_read: self.records_read.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            append_failures: self.append_failures.load(Ordering::Relaxed),
            interruptions: self.interruptions.load(Ordering::Relaxed),
            append_times: self.append_times.histogram(),
            read_times: self.read_times.histogram(),
        }
    }
}

/// The latest ids that were given for keys: as many as a history remembers keys at least.
#[derive(Default)]
struct KeyedIds {
    known: HashSet<EventId>,
    /// The oldest first.
    order: VecDeque<EventId>,
}

impl KeyedIds {
    /// Whether it was not known.
    fn insert(&mut self, id: EventId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_KEYS {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }
}

impl Reads {
    /// Lets go of a page that is kept; those who have it keep it.
    fn forget(&mut self, request: &Request) {
        self.by_request.remove(request);
        let kept = self.kept.iter();
        let place = kept
            .enumerate()
            .find(|(_, (read, _))| read.request == *request);
        if let Some((_, size)) = place.map(|(at, _)| at).and_then(|at| self.kept.remove(at)) {
            self.kept_bytes -= size;
        }
    }

    /// The read for a request, with one more asker, and whether it is new.
    fn ask(
        &mut self,
        request: Request,
        state: impl FnOnce(&Request) -> State,
    ) -> (Arc<Read>, bool) {
        let known = self.by_request.get(&request).cloned();
        let is_new = known.is_none();
        let read = known.unwrap_or_else(|| {
            let read = Arc::new(Read::new(request.clone(), state(&request)));
            self.by_request.insert(request, Arc::clone(&read));
            read
        });
        read.askers.fetch_add(1, Ordering::Relaxed);
        (read, is_new)
    }
}

impl Request {
    fn new(life: u64, topics: &Topics, after: &LastEventId) -> Self {
        Self {
            life,
            topics: topics.clone(),
            after: after.clone(),
        }
    }
}

impl Found {
    fn new(
        mut page: Page,
        request: &Request,
        number: u64,
        begun_by_then: u64,
        began: Instant,
    ) -> Self {
        let has_most = page.records.len() >= PAGE_RECORDS;
        let size = page.records.iter().map(|r| r.bytes().len()).sum::<usize>();
        // A history ends a page by its size where it likes, but hardly below the half of it.
        let is_cut = (has_most || size >= MAX_PAGE_BYTES / 2) && cut_where_others_cut(&mut page);
        let (from, to) = (request.after.id(), Some(page.last));
        Self {
            life: request.life,
            // Only with a gap may it be an earlier place.
            leads_on: from < to || (page.gap.is_some() && from != to),
            is_full: has_most || is_cut,
            number,
            begun_by_then,
            began,
            page,
            pieces: OnceLock::new(),
        }
    }

    /// The page as it goes out, built once for all.
    pub(crate) fn pieces(&self) -> &[Piece] {
        self.pieces.get_or_init(|| join(&self.page.records))
    }
}

/// Ends a full page at the roundest id it covers, so that clients which stopped at different places
/// soon stand at the same one and share every page from there. Returns whether that cut any off.
fn cut_where_others_cut(page: &mut Page) -> bool {
    let [first, .., last] = &page.records[..] else {
        return false;
    };
    let number =
        |record: &Record| u128::from(record.id().major) << 64 | u128::from(record.id().minor);
    // The number in `first ..= last` with the most trailing zeros: what the one before it and the
    // last both begin with, then the first bit in which they differ, then zeros.
    let (before, last) = (number(first).saturating_sub(1), number(last));
    let differ = (before ^ last).max(1).ilog2();
    let roundest = last >> differ << differ;
    let keep = page.records.partition_point(|r| number(r) <= roundest);
    let is_cut = 0 < keep && keep < page.records.len();
    if is_cut {
        page.records.truncate(keep);
        page.last = page.records.last().map_or(page.last, Record::id);
    }
    is_cut
}

fn join(records: &[Record]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = records;
    while let Some(first) = rest.first() {
        let mut size = first.bytes().len();
        let fits = |record: &&Record| {
            size += record.bytes().len();
            size <= MAX_BATCH
        };
        let count = 1 + rest.iter().skip(1).take_while(fits).count();
        let (now, later) = rest.split_at(count);
        rest = later;
        let bytes = if let [only] = now {
            only.bytes().clone()
        } else {
            let mut joined = Vec::with_capacity(now.iter().map(|r| r.bytes().len()).sum());
            for record in now {
                joined.extend_from_slice(record.bytes());
            }
            joined.into()
        };
        let records = now.len() as u64;
        let last = now.last().map_or(first.id(), Record::id);
        pieces.push(Piece {
            bytes,
            records,
            last,
        });
    }
    pieces
}

impl Read {
    fn new(request: Request, state: State) -> Self {
        Self {
            request,
            state: Mutex::new(state),
            waiters: Waiters::default(),
            askers: AtomicUsize::new(0),
            called: AtomicBool::new(false),
        }
    }

    /// Whether it is done, and the log has moved on since: in front of what it found, or behind it.
    fn is_outdated(&self, now: Instant) -> bool {
        match &*self.state.lock() {
            State::Done(found) => !found.is_full || now >= found.began + FRESH,
            _ => false,
        }
    }
}

/// Why a read failed that several waited for.
#[derive(Debug)]
struct Shared(Arc<HistoryError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Wake for Read {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::SeqCst);
        // All of them: whichever comes first polls it, and nobody depends on one that does not.
        self.waiters.wake_all();
    }
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Read").field(&self.request).finish()
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.history).finish()
    }
}

/// What has passed between a broadcaster and the history behind its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Whether its tail is being read and its engine answers: what a health check asks.
    pub is_ready: bool,
    /// Pages that were read for cursors older than the window.
    pub reads: u64,
    /// Records in them.
    pub records_read: u64,
    /// Reads that failed, and were tried again.
    pub failures: u64,
    /// Events that it did not take, or of which it could not say whether it has.
    pub append_failures: u64,
    /// How often its tail has broken off.
    pub interruptions: u64,
    /// How long it took to take an event or to fail, in microseconds.
    pub append_times: Histogram,
    /// How long it took to read a page or to fail, in microseconds. A poll by one who waits for
    /// the page finds out; while nobody polls, the time goes on.
    pub read_times: Histogram,
}
