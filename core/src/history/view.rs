//! [`View`]: the log as one selection of topics sees it, shared by all who made that selection.

use bytes::Bytes;
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::id::EventId;
use crate::sync::{fence, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timer::{Timer, Unscheduled};
use crate::topic::Topics;
use crate::wait::Waiters;

/// How many encoded batches a view remembers: those of cursors at the tail, and of a few that
/// catch up.
const REMEMBERED: usize = 8;

/// With more sleepers than this, the publisher leaves the waking to the timer's thread.
///
/// Waking a thousand tasks costs a publisher some tens of microseconds. Below that, a wake from
/// the publisher's own thread is cheaper for the runtime than one from a foreign thread.
const WAKE_INLINE: usize = 1_024;

/// What all subscribers of one selection share: where its tail is, the batches that are on
/// their way, and who sleeps.
///
/// A cursor decides from the two positions alone, without a lock, whether there is anything for
/// it.
#[derive(Debug)]
pub(crate) struct View {
    topics: Topics,
    /// The newest record of these topics. Written under the log's lock.
    tail: AtomicU64,
    /// The newest record of these topics that retention has evicted. Written under the log's
    /// lock. Invariant: `evicted <= tail`.
    evicted: AtomicU64,
    pub(super) subscribers: AtomicUsize,
    batches: Mutex<Batches>,
    /// Whether any batch may be remembered. Set before one is, under their lock.
    remembers: AtomicBool,
    waiters: Waiters,
    handed_off: AtomicBool,
}

/// Records that go out as one, built once for everyone at the same place.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Everything of the view after this place ...
    pub(crate) from: u64,
    /// ... up to and including this one ...
    pub(crate) to: u64,
    /// ... whose id is this ...
    pub(crate) last: EventId,
    /// ... and nothing of it had been evicted when it was built.
    pub(crate) is_whole: bool,
    pub(crate) records: u64,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Default)]
struct Batches {
    recent: [Option<Batch>; REMEMBERED],
    next: usize,
    delivered: u64,
    delivered_bytes: u64,
}

impl View {
    pub(super) fn new(topics: Topics, tail: u64, evicted: u64) -> Self {
        Self {
            topics,
            tail: AtomicU64::new(tail.max(evicted)),
            evicted: AtomicU64::new(evicted),
            subscribers: AtomicUsize::new(0),
            batches: Mutex::default(),
            remembers: AtomicBool::new(false),
            waiters: Waiters::default(),
            handed_off: AtomicBool::new(false),
        }
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.topics
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub(crate) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Acquire)
    }

    /// Under the log's lock.
    pub(super) fn set_tail(&self, tail: u64) {
        self.tail.store(tail, Ordering::Release);
    }

    /// Under the log's lock.
    pub(super) fn raise_evicted(&self, evicted: u64) {
        self.evicted.fetch_max(evicted, Ordering::AcqRel);
        // Pairs with the fence in `share`: either this sees that a batch is remembered, or that one
        // sees that its records are gone. A topic may have very many views without one.
        fence(Ordering::SeqCst);
        if !self.remembers.load(Ordering::Relaxed) {
            return;
        }
        // No cursor can take these any more, and their records should be gone.
        let mut batches = self.batches.lock();
        for place in &mut batches.recent {
            if place.as_ref().is_some_and(|batch| batch.from < evicted) {
                *place = None;
            }
        }
    }

    /// What was built for a cursor at `from`, without a hole, for another that is in none.
    ///
    /// A cursor in a hole reads the log instead: it must not be given, from a batch of before
    /// the eviction, what it was told is gone.
    pub(crate) fn batch(&self, from: u64) -> Option<Batch> {
        let mut batches = self.batches.lock();
        let fits = |batch: &&Batch| batch.from == from;
        let batch = batches.recent.iter().flatten().find(fits)?.clone();
        batches.count(&batch);
        Some(batch)
    }

    /// Remembers a batch that was built for one cursor, for the others at its place.
    pub(crate) fn share(&self, batch: &Batch) {
        let mut batches = self.batches.lock();
        batches.count(batch);
        // Of cursors that built the same batch at the same time, one is enough.
        let is_known = batches
            .recent
            .iter()
            .flatten()
            .any(|known| known.from == batch.from);
        if is_known || !batch.is_whole || self.subscribers.load(Ordering::Relaxed) < 2 {
            return;
        }
        self.remembers.store(true, Ordering::Relaxed);
        // Pairs with the fence in `raise_evicted`.
        fence(Ordering::SeqCst);
        // Evicted meanwhile, it must not outlive its records.
        if batch.from >= self.evicted() {
            let next = batches.next;
            if let Some(place) = batches.recent.get_mut(next) {
                *place = Some(batch.clone());
            }
            batches.next = (next + 1) % REMEMBERED;
        }
    }

    /// Counts records that reached a subscriber past the log: from a backend.
    pub(crate) fn count(&self, records: u64, bytes: u64) {
        let mut batches = self.batches.lock();
        batches.delivered += records;
        batches.delivered_bytes += bytes;
    }

    /// Lets go of batches that may hold on to evicted records.
    pub(super) fn forget_batches(&self) {
        let mut batches = self.batches.lock();
        let old = std::mem::take(&mut batches.recent);
        self.remembers.store(false, Ordering::Relaxed);
        drop(batches);
        drop(old);
    }

    fn wake_handed_off(&self) {
        // Cleared first: news that comes during the walk is handed off again. A swap, since it
        // must see what was stored before the hand-off that it takes.
        self.handed_off.swap(false, Ordering::AcqRel);
        self.waiters.wake_all();
    }

    /// Records and bytes that were handed to subscribers.
    pub(super) fn delivered(&self) -> (u64, u64) {
        let batches = self.batches.lock();
        (batches.delivered, batches.delivered_bytes)
    }
}

/// Wakes everyone who sleeps over these views; very many on another thread.
pub(super) fn wake(views: &Arc<Vec<Arc<View>>>, timer: &dyn Timer) {
    let subscribers = |view: &Arc<View>| view.subscribers.load(Ordering::Relaxed);
    if views.iter().map(subscribers).sum::<usize>() <= WAKE_INLINE {
        for view in views.iter() {
            view.waiters.wake_all();
        }
        return;
    }
    // A hand-off that is under way takes the news along.
    let is_new = |view: &&Arc<View>| !view.handed_off.swap(true, Ordering::AcqRel);
    let waker = match &views[..] {
        [view] => is_new(&view).then(|| Waker::from(Arc::clone(view))),
        _ => {
            let new: Vec<_> = views.iter().filter(is_new).cloned().collect();
            (!new.is_empty()).then(|| Waker::from(Arc::new(WakeAll(new))))
        }
    };
    let Some(waker) = waker else { return };
    if let Err(Unscheduled(waker)) = timer.wake_at(timer.now(), waker) {
        waker.wake();
    }
}

/// The hand-off of several views at once.
struct WakeAll(Vec<Arc<View>>);

impl Wake for WakeAll {
    /// Runs on the timer's thread.
    fn wake(self: Arc<Self>) {
        for view in &self.0 {
            view.wake_handed_off();
        }
    }
}

impl Wake for View {
    /// Runs on the timer's thread.
    fn wake(self: Arc<Self>) {
        self.wake_handed_off();
    }
}

impl Batches {
    fn count(&mut self, batch: &Batch) {
        self.delivered += batch.records;
        self.delivered_bytes += batch.bytes.len() as u64;
    }
}
