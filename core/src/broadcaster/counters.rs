//! [`Counters`]: what a broadcaster has done, by reason, in atomics that a stream touches rarely.

use std::fmt;
use std::time::Duration;

use crate::error::RefusedReason;
use crate::gap::GapReason;
use crate::sync::{AtomicU64, Ordering};

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The client left or its response was dropped, before anything else had ended the stream.
    Left,
    /// The broadcaster was [closed](super::Broadcaster::close).
    Closed,
    /// The broadcaster was [drained](super::Broadcaster::drain).
    Drained,
    /// The client fell behind, and [`LagPolicy::Disconnect`](crate::LagPolicy) ends such streams.
    Lagged,
    /// Its key was [disconnected](super::Broadcaster::disconnect).
    Disconnected,
    /// What it was admitted with has [expired](super::Subscribe::expires_in).
    Expired,
    /// It was [not authorized](super::Broadcaster::authorize_every) any more.
    Unauthorized,
    /// It reached the [longest lifetime](super::Builder::max_lifetime).
    Lifetime,
    /// A newer stream of the same key [took its place](super::KeyFull::EndOldest).
    Replaced,
    /// A private stream's producer had no more to say.
    Finished,
}

/// Something that is counted by reason: each has a word, and a place among the others.
pub trait Reason: Copy + fmt::Debug + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The word, in lower case, as it is in metrics and on the wire.
    fn as_str(self) -> &'static str;

    #[doc(hidden)]
    fn index(self) -> usize;
}

macro_rules! reasons {
    ($reason:ident: $($variant:ident $word:literal),+ $(,)?) => {
        impl $reason {
            /// The word, in lower case, as it is in metrics and on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl Reason for $reason {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                // The type's own, which needs no trait in scope.
                $reason::as_str(self)
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons!(EndReason:
    Left "left",
    Closed "closed",
    Drained "drained",
    Lagged "lagged",
    Disconnected "disconnected",
    Expired "expired",
    Unauthorized "unauthorized",
    Lifetime "lifetime",
    Replaced "replaced",
    Finished "finished",
);

reasons!(RefusedReason:
    Full "full",
    KeyFull "key_full",
    Rate "rate",
    Closing "closing",
);

reasons!(GapReason:
    Expired "expired",
    Epoch "epoch",
    Ahead "ahead",
    Lagged "lagged",
    Unparsable "unparsable",
);

/// As many as the reasons with the most variants have.
const REASONS: usize = 10;

/// How often something happened, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<R> {
    counts: [u64; REASONS],
    reason: std::marker::PhantomData<R>,
}

impl<R: Reason> Tally<R> {
    /// How often it happened for this reason.
    #[must_use]
    pub fn of(&self, reason: R) -> u64 {
        self.counts.get(reason.index()).copied().unwrap_or(0)
    }

    /// How often it happened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Every reason, and how often it happened for it.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> + '_ {
        R::ALL.iter().map(|reason| (*reason, self.of(*reason)))
    }
}

/// A [`Tally`] that is still counting.
#[derive(Debug)]
pub(crate) struct Counts<R> {
    counts: [AtomicU64; REASONS],
    reason: std::marker::PhantomData<R>,
}

impl<R> Default for Counts<R> {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            reason: std::marker::PhantomData,
        }
    }
}

impl<R: Reason> Counts<R> {
    pub(crate) fn add(&self, reason: R) {
        if let Some(count) = self.counts.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn tally(&self) -> Tally<R> {
        let mut tally = Tally {
            counts: [0; REASONS],
            reason: std::marker::PhantomData,
        };
        for (sum, count) in tally.counts.iter_mut().zip(&self.counts) {
            *sum = count.load(Ordering::Relaxed);
        }
        tally
    }
}

/// How often a number was how large: places in the log, or microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
}

/// Up to 4, 16, 64, ... and beyond: of microseconds, up to 4 seconds and beyond.
const BUCKETS: usize = 12;

impl Histogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = BUCKETS;

    /// Each bucket's upper bound, inclusive, and how many were in it and in no smaller one. The last
    /// is without a bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        self.counts.iter().enumerate().map(|(at, count)| {
            let bound = (at + 1 < BUCKETS).then(|| 4 << (2 * at));
            (bound, *count)
        })
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A [`Histogram`] that is still counting.
#[derive(Debug)]
pub(crate) struct HistogramCounts([AtomicU64; BUCKETS]);

impl Default for HistogramCounts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl HistogramCounts {
    pub(crate) fn add(&self, number: u64) {
        let digits = (u64::BITS - number.saturating_sub(1).leading_zeros()).div_ceil(2) as usize;
        let bucket = digits.saturating_sub(1).min(BUCKETS - 1);
        if let Some(count) = self.0.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds a time, in microseconds.
    pub(crate) fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = Histogram {
            counts: [0; BUCKETS],
        };
        for (sum, count) in histogram.counts.iter_mut().zip(&self.0) {
            *sum = count.load(Ordering::Relaxed);
        }
        histogram
    }
}

/// What is counted. Deliveries are not: each view counts its own.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) ended: Counts<EndReason>,
    pub(super) refused: Counts<RefusedReason>,
    pub(crate) gaps: Counts<GapReason>,
    pub(crate) replayed: AtomicU64,
    pub(crate) keep_alives: AtomicU64,
    pub(crate) lag: HistogramCounts,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainProgress {
    /// Streams that were open when it began.
    pub streams: usize,
    /// Of these, those still open.
    pub open: usize,
    /// Since it began.
    pub elapsed: Duration,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        fn check<R: Reason>() {
            for (at, reason) in R::ALL.iter().enumerate() {
                assert_eq!(reason.index(), at);
                assert!(at < REASONS);
            }
        }
        check::<EndReason>();
        check::<RefusedReason>();
        check::<GapReason>();
    }

    #[test]
    fn a_number_is_counted_in_the_smallest_bucket_that_holds_it() {
        for (number, bound) in [
            (0, Some(4)),
            (1, Some(4)),
            (4, Some(4)),
            (5, Some(16)),
            (16, Some(16)),
            (17, Some(64)),
            (4 << 20, Some(4 << 20)),
            ((4 << 20) + 1, None),
            (u64::MAX, None),
        ] {
            let counts = HistogramCounts::default();
            counts.add(number);
            let full: Vec<_> = counts
                .histogram()
                .buckets()
                .filter(|(_, n)| *n > 0)
                .collect();
            assert_eq!(full, [(bound, 1)], "{number}");
        }
    }
}
