//! [`Lease`]: what a stream may be ended by while it is open; [`Leases`]: all of them, by key and by
//! deadline.
//!
//! Streams that nobody can name and that have no deadline need none: most of ten thousand
//! spectators.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::counters::{EndReason, Reason as _};
use super::hub::Hub;
use super::rate::{Rate, Rates};
use crate::history::View;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::timer::{Timer, Unscheduled};
use crate::topic::Topics;

/// A call of the timer also ends the streams whose deadline is this close behind it, which saves them a
/// call of their own.
const SLACK: Duration = Duration::from_millis(10);

/// What a stream and those who may end it share.
pub(crate) struct Lease {
    serial: u64,
    keys: Box<[Arc<str>]>,
    /// From here on nothing may be delivered, whenever the timer gets to it.
    expires: Option<Instant>,
    opened: Instant,
    /// Whether it is to be ended for a reason: its index and one more.
    ended: AtomicUsize,
    /// The task that reads it.
    task: Mutex<Option<Waker>>,
    /// The cursor, for those who look; none if it is private.
    view: OnceLock<Arc<View>>,
    place: AtomicU64,
}

/// What a stream's lease is made of.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) keys: Box<[Arc<str>]>,
    pub(super) expires: Option<Instant>,
    /// Of any stream, by the broadcaster's settings.
    pub(super) lifetime_ends: Option<Instant>,
    pub(super) is_private: bool,
}

impl Terms {
    /// Whether a stream with these needs a lease.
    pub(super) fn are_any(&self) -> bool {
        let has_deadline = self.expires.is_some() || self.lifetime_ends.is_some();
        self.is_private || has_deadline || !self.keys.is_empty()
    }

    fn deadline(&self) -> Option<(Instant, EndReason)> {
        let expires = self.expires.map(|at| (at, EndReason::Expired));
        let lifetime = self.lifetime_ends.map(|at| (at, EndReason::Lifetime));
        match (expires, lifetime) {
            (Some(one), Some(other)) => Some(if one.0 <= other.0 { one } else { other }),
            (one, other) => one.or(other),
        }
    }
}

impl Lease {
    /// Ends the stream at its task's next poll, for the first reason that is given. Whether this
    /// was the first.
    pub(super) fn end(&self, reason: EndReason) -> bool {
        let first =
            self.ended
                .compare_exchange(0, reason.index() + 1, Ordering::AcqRel, Ordering::Acquire);
        // Stored before the look for the task, which looks once more after it has said who it is.
        let task = self.task.lock().clone();
        if let Some(task) = task {
            // Foreign code, outside the lock; its panic is reported by the hook.
            let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
        }
        first.is_ok()
    }

    /// Why the stream is over, if it is.
    pub(crate) fn ended(&self, timer: &dyn Timer) -> Option<EndReason> {
        let ended = self.ended.load(Ordering::Acquire).checked_sub(1);
        if let Some(reason) = ended.and_then(|index| EndReason::ALL.get(index)) {
            return Some(*reason);
        }
        let has_expired = self.expires.is_some_and(|at| timer.now() >= at);
        has_expired.then_some(EndReason::Expired)
    }

    /// Whom to wake when it ends. The caller looks at [`ended`](Self::ended) again after this.
    pub(crate) fn is_read_by(&self, task: &Waker) {
        let old = {
            let mut held = self.task.lock();
            if held.as_ref().is_some_and(|held| held.will_wake(task)) {
                return;
            }
            held.replace(task.clone())
        };
        // A waker's drop is foreign code: outside the lock.
        drop(old);
    }

    pub(crate) fn follows(&self, view: &Arc<View>, place: u64) {
        let _ = self.view.set(Arc::clone(view));
        self.moved_to(place);
    }

    pub(crate) fn moved_to(&self, place: u64) {
        self.place.store(place, Ordering::Relaxed);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// A stream that is open, as [`Broadcaster::streams`](super::Broadcaster::streams) shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenStream {
    /// What it counts against, and is ended by.
    pub keys: Vec<Arc<str>>,
    /// What it follows; none if it is private.
    pub topics: Option<Topics>,
    /// How many places in the log lie between it and the newest of its topics.
    pub behind: u64,
    /// For how long it has been open.
    pub age: Duration,
}

/// Why a key may not have one more stream.
pub(super) enum KeyRefused {
    /// It has as many as it may.
    Full,
    /// It has opened as many as it may in this time: one more after that much.
    Rate(Duration),
}

/// How many streams a key may have, and how fast it may open them.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyLimits {
    pub(super) streams: usize,
    pub(super) when_full: KeyFull,
    pub(super) rate: Option<Rate>,
}

/// What happens when a [key](super::Subscribe::key) that has as many streams as it may opens one
/// more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyFull {
    /// The new one is refused. A client that opens them in a loop so harms only itself.
    #[default]
    Refuse,
    /// The key's oldest is ended, and the new one admitted: for pages that were reloaded and whose
    /// old connection has not been noticed to be dead yet. Two clients that fight for one place
    /// then end each other's streams for as long as both come back.
    ///
    /// A stream that was ended stays open until its client has read the end, or its connection is found
    /// dead. These are bounded too: together with them, a key has at most twice as many open streams
    /// as it may have. Past that, a new one is refused.
    EndOldest,
}

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Counts every lease that was ever given, so that they can be told apart, and by age.
    serial: u64,
    open: BTreeMap<u64, Entry>,
    /// Of each key that has a stream, its streams.
    keys: HashMap<Arc<str>, KeyStreams>,
    rates: Rates,
    deadlines: BTreeMap<(Instant, u64), EndReason>,
    /// When the timer will call. Invariant: once at least, before or at the first deadline, unless
    /// the timer has refused.
    calls: BTreeSet<Instant>,
}

/// The streams of a key.
#[derive(Default)]
struct KeyStreams {
    /// Those that count against its limit; the oldest first, since serials only grow.
    counted: BTreeSet<u64>,
    /// How many more are open although newer ones have taken their places: their clients have not read
    /// their end yet.
    replaced: usize,
}

struct Entry {
    lease: Arc<Lease>,
    deadline: Option<Instant>,
    is_private: bool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl Leases {
    /// A lease for one more stream, if its keys may have one.
    pub(super) fn give(
        hub: &Arc<Hub>,
        limits: KeyLimits,
        terms: Terms,
    ) -> Result<Arc<Lease>, KeyRefused> {
        let timer = hub.memory.timer();
        let now = timer.now();
        let mut table = hub.leases.0.lock();
        if let Some(rate) = limits.rate {
            let checked = table.rates.check(rate, &terms.keys, now);
            checked.map_err(KeyRefused::Rate)?;
        }
        let replaced = table.to_replace(limits, &terms.keys)?;
        // From here on nothing is refused: only now does anything change.
        let replaced: Vec<_> = replaced
            .into_iter()
            .filter_map(|serial| table.replace(serial))
            .collect();
        if let Some(rate) = limits.rate {
            table.rates.count(rate, &terms.keys, now);
        }
        table.serial += 1;
        let serial = table.serial;
        for key in &terms.keys {
            let streams = table.keys.entry(Arc::clone(key)).or_default();
            streams.counted.insert(serial);
        }
        let deadline = terms.deadline();
        let lease = Arc::new(Lease {
            serial,
            expires: terms.expires,
            keys: terms.keys,
            opened: now,
            ended: AtomicUsize::new(0),
            task: Mutex::new(None),
            view: OnceLock::new(),
            place: AtomicU64::new(0),
        });
        let entry = Entry {
            lease: Arc::clone(&lease),
            deadline: None,
            is_private: terms.is_private,
        };
        table.open.insert(serial, entry);
        if let Some((at, reason)) = deadline {
            table.set_deadline(serial, at, reason);
        }
        let call = table.next_call();
        drop(table);
        for lease in replaced {
            lease.end(EndReason::Replaced);
        }
        Self::call_at(hub, call);
        Ok(lease)
    }

    /// A stream is over.
    pub(super) fn take_back(&self, lease: &Lease) {
        let forgotten = self.0.lock().forget(lease.serial);
        // Its waker is foreign code: outside the lock.
        drop(forgotten);
    }

    /// Ends every stream of a key. How many were open.
    pub(super) fn end_key(&self, key: &str, reason: EndReason) -> usize {
        let table = self.0.lock();
        let streams = table.keys.get(key);
        let leases: Vec<_> = streams
            .into_iter()
            .flat_map(|streams| &streams.counted)
            .filter_map(|serial| table.open.get(serial))
            .map(|entry| Arc::clone(&entry.lease))
            .collect();
        drop(table);
        leases.iter().filter(|lease| lease.end(reason)).count()
    }

    /// Ends every private stream.
    pub(super) fn end_private(&self, reason: EndReason) {
        let private = self.0.lock().private();
        for lease in private {
            lease.end(reason);
        }
    }

    /// Ends every private stream that is still open then. How many are open now.
    pub(super) fn end_private_at(hub: &Arc<Hub>, at: Instant, reason: EndReason) -> usize {
        let mut table = hub.leases.0.lock();
        let private = table.private();
        for lease in &private {
            table.set_deadline(lease.serial, at, reason);
        }
        let call = table.next_call();
        drop(table);
        Self::call_at(hub, call);
        private.len()
    }

    /// Every key that has a stream.
    pub(super) fn keys(&self) -> Vec<Arc<str>> {
        self.0.lock().keys.keys().cloned().collect()
    }

    /// Every stream that has a lease, the oldest first.
    pub(super) fn list(&self, now: Instant) -> Vec<OpenStream> {
        let table = self.0.lock();
        let leases: Vec<_> = table.open.values().map(|e| Arc::clone(&e.lease)).collect();
        drop(table);
        let shown = leases.iter().map(|lease| {
            let view = lease.view.get();
            let place = lease.place.load(Ordering::Relaxed);
            OpenStream {
                keys: lease.keys.to_vec(),
                topics: view.map(|view| view.topics().clone()),
                behind: view.map_or(0, |view| view.tail().saturating_sub(place)),
                age: now.saturating_duration_since(lease.opened),
            }
        });
        shown.collect()
    }

    /// Sees to it that the timer calls.
    fn call_at(hub: &Arc<Hub>, at: Option<Instant>) {
        let Some(at) = at else { return };
        let call = Waker::from(Arc::new(Deadlines(Arc::downgrade(hub), at)));
        if let Err(Unscheduled(_)) = hub.memory.timer().wake_at(at, call) {
            // What has expired is withheld without a timer too. The next lease asks for a call again.
            hub.leases.0.lock().calls.remove(&at);
        }
    }

    /// Ends those whose time has come: the timer makes the call that was to come `at`.
    fn end_due(hub: &Arc<Hub>, at: Instant) {
        let until = hub.memory.timer().now() + SLACK;
        let mut table = hub.leases.0.lock();
        table.calls.remove(&at);
        let later = table.deadlines.split_off(&(until, 0));
        let due = std::mem::replace(&mut table.deadlines, later);
        let mut ending = Vec::with_capacity(due.len());
        for ((_, serial), reason) in due {
            if let Some(entry) = table.open.get_mut(&serial) {
                entry.deadline = None;
                ending.push((Arc::clone(&entry.lease), reason));
            }
        }
        let call = table.next_call();
        drop(table);
        for (lease, reason) in ending {
            lease.end(reason);
        }
        Self::call_at(hub, call);
    }
}

impl Table {
    fn private(&self) -> Vec<Arc<Lease>> {
        let private = self.open.values().filter(|entry| entry.is_private);
        private.map(|entry| Arc::clone(&entry.lease)).collect()
    }

    /// The streams that make way for one more with these keys, if it may be opened.
    fn to_replace(&self, limits: KeyLimits, keys: &[Arc<str>]) -> Result<Vec<u64>, KeyRefused> {
        let none = KeyStreams::default();
        let mut replaced: Vec<u64> = Vec::new();
        for key in keys {
            let streams = self.keys.get(key).unwrap_or(&none);
            let open = streams.counted.len() + streams.replaced;
            // Those that were replaced are bounded too: nothing makes their clients read the end.
            if open >= limits.streams.saturating_mul(2) {
                return Err(KeyRefused::Full);
            }
            // A stream that makes way under another key may do so under this one too.
            let counted = &streams.counted;
            let leaving = replaced.iter().filter(|one| counted.contains(one)).count();
            if counted.len() - leaving < limits.streams {
                continue;
            }
            let oldest = counted.iter().find(|serial| !replaced.contains(serial));
            match (limits.when_full, oldest.copied()) {
                (KeyFull::EndOldest, Some(oldest)) => replaced.push(oldest),
                _ => return Err(KeyRefused::Full),
            }
        }
        Ok(replaced)
    }

    /// Gives a stream's place under all its keys to a newer one. It stays open until its client has read
    /// its end.
    fn replace(&mut self, serial: u64) -> Option<Arc<Lease>> {
        let entry = self.open.get_mut(&serial)?;
        for key in &entry.lease.keys {
            if let Some(streams) = self.keys.get_mut(key) {
                streams.counted.remove(&serial);
                streams.replaced += 1;
            }
        }
        if let Some(at) = entry.deadline.take() {
            self.deadlines.remove(&(at, serial));
        }
        Some(Arc::clone(&entry.lease))
    }

    /// Takes a lease out of everything but the stream that holds it.
    fn forget(&mut self, serial: u64) -> Option<Arc<Lease>> {
        let entry = self.open.remove(&serial)?;
        for key in &entry.lease.keys {
            if let Some(streams) = self.keys.get_mut(key) {
                if !streams.counted.remove(&serial) {
                    streams.replaced -= 1;
                }
                if streams.counted.is_empty() && streams.replaced == 0 {
                    self.keys.remove(key);
                }
            }
        }
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, serial));
        }
        Some(entry.lease)
    }

    /// The earlier of two deadlines counts.
    fn set_deadline(&mut self, serial: u64, at: Instant, reason: EndReason) {
        let Some(entry) = self.open.get_mut(&serial) else {
            return;
        };
        if let Some(known) = entry.deadline {
            if known <= at {
                return;
            }
            self.deadlines.remove(&(known, serial));
        }
        entry.deadline = Some(at);
        self.deadlines.insert((at, serial), reason);
    }

    /// When the timer is to call, if it does not call as early already.
    fn next_call(&mut self) -> Option<Instant> {
        let (&(at, _), _) = self.deadlines.first_key_value()?;
        if self.calls.first().is_some_and(|call| *call <= at) {
            return None;
        }
        self.calls.insert(at);
        Some(at)
    }
}

/// What the timer calls at a deadline. It does not keep the broadcaster alive.
struct Deadlines(Weak<Hub>, Instant);

impl Wake for Deadlines {
    fn wake(self: Arc<Self>) {
        if let Some(hub) = self.0.upgrade() {
            Leases::end_due(&hub, self.1);
        }
    }
}
