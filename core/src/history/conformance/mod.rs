//! What every [`History`] must do, as checks that a backend of anybody's can be run against.
//!
//! Say how a history of yours is opened, and run them all:
//!
//! ```
//! use fanfare_core::history::{conformance, Memory, Retention};
//!
//! struct InMemory;
//!
//! impl conformance::Fixture for InMemory {
//!     type History = Memory;
//!
//!     fn open(&self, retention: Retention) -> Memory {
//!         Memory::new(retention)
//!     }
//! }
//!
//! let check = conformance::check::<InMemory>("append_then_replay").expect("there is such a check");
//! assert_eq!(check.run(&InMemory), Ok(conformance::Outcome::Passed));
//! // In a test of yours: every check, and a failed test that names those which failed.
//! // conformance::run(&InMemory);
//! ```
//!
//! A check opens histories of its own, appends and reads from threads of its own, and waits on a
//! `block_on` of its own: a backend that needs a runtime has brought it along. Nothing is measured;
//! what has to happen is waited for, for at most [`PATIENCE`].

use std::fmt;
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::{History, Retention};

mod appends;
mod gaps;
mod keys;
mod life;
mod probe;
mod replays;
mod retains;
mod tails;

/// How long a check waits for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How histories of one backend are opened.
pub trait Fixture: Sync {
    /// The backend.
    type History: History;

    /// An empty history that shares nothing with any other, with the greatest durability it has.
    ///
    /// # Panics
    ///
    /// If it cannot: the check then fails.
    fn open(&self, retention: Retention) -> Self::History;

    /// Ends a history and opens what it stored again; `None` if its records do not outlive it, as in
    /// memory.
    fn reopen(&self, history: Self::History, retention: Retention) -> Option<Self::History> {
        let _ = (history, retention);
        None
    }

    /// Closes a history that others still use; `false` if that cannot be done.
    fn close(&self, history: &Self::History) -> bool {
        let _ = history;
        false
    }
}

/// One thing that every history must do.
#[derive(Debug)]
pub struct Check<F> {
    name: &'static str,
    body: fn(&F) -> Result<Outcome, Failure>,
}

/// What came of a check that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The history does it.
    Passed,
    /// The fixture has no way to try it.
    Skipped,
}

/// What a history did wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

/// What came of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The names of the checks that passed.
    pub passed: Vec<&'static str>,
    /// The names of those that the fixture has no way to try.
    pub skipped: Vec<&'static str>,
    /// The names of those that failed, and why.
    pub failed: Vec<(&'static str, Failure)>,
}

impl<F: Fixture> Check<F> {
    /// Its name, which says what a history must do.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Tries it on histories that the fixture opens.
    ///
    /// # Errors
    ///
    /// Says what the history did wrong; a panic of its own is such a failure too.
    pub fn run(&self, fixture: &F) -> Result<Outcome, Failure> {
        catch_unwind(AssertUnwindSafe(|| (self.body)(fixture))).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::new(format!("a panic: {}", text.unwrap_or("?"))))
        })
    }
}

/// Every check, the simplest first.
#[must_use]
pub fn checks<F: Fixture>() -> Vec<Check<F>> {
    macro_rules! checks {
        ($($module:ident::{$($name:ident),* $(,)?}),* $(,)?) => {
            vec![$($(Check {
                name: stringify!($name),
                body: $module::$name::<F>,
            },)*)*]
        };
    }
    checks![
        appends::{
            append_then_replay,
            ids_grow_over_all_topics,
            ids_grow_over_concurrent_appends,
            every_block_comes_back_byte_for_byte,
            dropped_appends_happen_once_or_not,
        },
        replays::{
            replay_begins_behind_any_id,
            pages_lose_and_double_nothing,
            rare_records_among_many_are_found,
            replay_shows_no_id_before_every_smaller_one,
            no_question_is_an_error,
        },
        gaps::{
            an_evicted_place_is_a_gap,
            the_last_evicted_place_is_no_gap,
            a_hole_behind_a_quiet_topics_records_is_a_gap,
            an_id_of_another_log_is_an_epoch_gap,
            an_id_from_the_future_is_ahead,
            text_that_is_no_id_is_unparsable,
            no_id_is_no_gap,
        },
        retains::{
            a_topic_retains_so_many_records,
            a_topic_retains_so_many_bytes,
            a_topic_retains_nothing_too_old,
            a_loud_topic_evicts_only_itself,
        },
        keys::{
            a_key_is_stored_once,
            a_key_is_stored_once_however_many_ask,
            a_key_outlives_its_record,
            a_dropped_append_can_be_repeated_with_its_key,
            a_key_outlives_reopening,
        },
        tails::{
            a_tail_says_where_it_starts,
            a_tail_from_an_id_brings_what_follows,
            a_tail_from_an_evicted_place_says_so,
            a_tail_from_elsewhere_says_where_it_starts,
            tails_bring_every_record_in_order,
            a_tail_brings_what_replay_does,
            tails_may_be_dropped,
        },
        life::{
            records_outlive_reopening,
            ids_grow_over_reopening,
            gaps_are_exact_after_reopening,
            what_is_closed_refuses,
            closing_ends_tails,
        },
    ]
}

/// The check of this name.
#[must_use]
pub fn check<F: Fixture>(name: &str) -> Option<Check<F>> {
    checks().into_iter().find(|check| check.name == name)
}

/// Runs every check and says which passed, which failed and which could not be tried.
pub fn report<F: Fixture>(fixture: &F) -> Report {
    let mut report = Report::default();
    for check in checks() {
        match check.run(fixture) {
            Ok(Outcome::Passed) => report.passed.push(check.name),
            Ok(Outcome::Skipped) => report.skipped.push(check.name),
            Err(failure) => report.failed.push((check.name, failure)),
        }
    }
    report
}

/// Runs every check, for a test: prints what passed and what could not be tried.
///
/// # Panics
///
/// If a check fails, with the names of all that did.
pub fn run<F: Fixture>(fixture: &F) {
    let report = report(fixture);
    assert!(report.failed.is_empty(), "{report}");
    println!("{report}");
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, skipped) = (self.passed.len(), self.skipped.len());
        write!(f, "{passed} passed, {skipped} could not be tried")?;
        for name in &self.skipped {
            write!(f, "\n  not tried: {name}")?;
        }
        for (name, failure) in &self.failed {
            write!(f, "\n  failed: {name}: {failure}")?;
        }
        Ok(())
    }
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<super::HistoryError> for Failure {
    fn from(error: super::HistoryError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::new(format!("{error}{}", cause.unwrap_or_default()))
    }
}

fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if is_so {
        Ok(())
    } else {
        Err(Failure::new(otherwise()))
    }
}

/// Waits for a future on this thread, for at most [`PATIENCE`].
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        ensure(!left.is_zero(), || {
            format!("nothing happened for {PATIENCE:?}: is a wake-up lost?")
        })?;
        thread::park_timeout(left);
    }
}
