//! [`Rate`]: how fast new streams may be opened; [`Rates`]: what is remembered for it of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How fast new streams may be opened: so many in a time, evenly, and a few at once.
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::{broadcaster::Rate, Broadcaster};
///
/// // One every two seconds; five at once after a pause.
/// let rate = Rate::new(30, Duration::from_secs(60)).burst(5);
/// let hub = Broadcaster::builder().max_rate_per_key(rate).build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Rate {
    /// Between two.
    interval: Duration,
    /// How far ahead of its time one may be: all of a burst but one.
    tolerance: Duration,
    count: u32,
}

impl Rate {
    /// `count` streams in each `time`, one at least; all of them at once, if there were none before.
    /// A rate of less than one in a day is one in a day, and one without a time limits nobody.
    pub fn new(count: u32, time: Duration) -> Self {
        let count = count.max(1);
        let interval = (time / count).min(Duration::from_secs(24 * 60 * 60));
        Self {
            interval,
            tolerance: Duration::ZERO,
            count,
        }
        .burst(count)
    }

    /// How many may come at once after a pause, at least one.
    pub fn burst(mut self, count: u32) -> Self {
        self.tolerance = self.interval.saturating_mul(count.max(1) - 1);
        self
    }

    /// How many [`new`](Self::new) was told, or one.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// When the next stream of each key would be in time, were none early: the generic cell rate
/// algorithm, whose whole state this is.
///
/// Strangers may name the keys. So a key that is not early any more is forgotten, which makes no
/// difference, and of the others at most [`REMEMBERED`] are known.
#[derive(Debug, Default)]
pub(super) struct Rates {
    in_time: BTreeMap<Arc<str>, Instant>,
    /// The same by time: the key that may open its next stream soonest is forgotten first, since that
    /// makes the least difference.
    order: BTreeSet<(Instant, Arc<str>)>,
}

/// How many keys are remembered at most: some ten megabytes.
const REMEMBERED: usize = 65_536;

/// How many are forgotten for one that is counted: more than one, so that a crowd goes in time.
const FORGOTTEN: usize = 2;

impl Rates {
    /// Whether each of these keys may open one more now; if not, how long to wait.
    pub(super) fn check(
        &self,
        rate: Rate,
        keys: &[Arc<str>],
        now: Instant,
    ) -> Result<(), Duration> {
        for key in keys {
            let in_time = self.in_time.get(key).copied().unwrap_or(now);
            let early = in_time.saturating_duration_since(now);
            let wait = early.saturating_sub(rate.tolerance);
            if !wait.is_zero() {
                return Err(wait);
            }
        }
        Ok(())
    }

    /// Each of these keys opens one.
    pub(super) fn count(&mut self, rate: Rate, keys: &[Arc<str>], now: Instant) {
        for key in keys {
            let known = self.in_time.remove_entry(key).inspect(|(key, at)| {
                self.order.remove(&(*at, Arc::clone(key)));
            });
            let (key, in_time) = known.unwrap_or_else(|| (Arc::clone(key), now));
            let in_time = in_time.max(now) + rate.interval;
            self.order.insert((in_time, Arc::clone(&key)));
            self.in_time.insert(key, in_time);
            self.forget_some(now);
        }
    }

    fn forget_some(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN {
            let is_too_many = self.order.len() > REMEMBERED;
            let goes = |(at, _): &(Instant, Arc<str>)| *at <= now || is_too_many;
            if !self.order.first().is_some_and(goes) {
                return;
            }
            if let Some((_, key)) = self.order.pop_first() {
                self.in_time.remove(&key);
            }
        }
    }
}
