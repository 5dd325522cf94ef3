//! [`Clock`]: the log's time, by which records grow old.

use std::time::{Duration, Instant, SystemTime};

/// The time since 1970, except that it never goes back, and never stands still until the system's
/// clock has caught up with it: else nothing would grow old for as long as that takes.
#[derive(Debug)]
pub(crate) struct Clock {
    latest: Duration,
    /// When that was.
    at: Instant,
}

impl Clock {
    /// A clock that is at least as late as this, in milliseconds.
    pub(crate) fn at_least(milliseconds: u64) -> Self {
        Self {
            latest: Duration::from_millis(milliseconds).max(since_1970()),
            at: Instant::now(),
        }
    }

    /// In milliseconds.
    pub(crate) fn now(&mut self) -> u64 {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at);
        self.latest = self.latest.saturating_add(passed).max(since_1970());
        self.at = now;
        u64::try_from(self.latest.as_millis()).unwrap_or(u64::MAX)
    }
}

/// By the system's clock.
pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO)
}
