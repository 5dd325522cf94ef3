//! The clock that intended times are taken from: the same for every process of this machine.

use rustix::time::{clock_gettime, ClockId};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock began when the machine did, so neither part is negative.
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}

/// A second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A millisecond, in nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;
