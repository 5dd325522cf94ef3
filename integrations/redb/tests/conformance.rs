//! A history in a directory does what every history must, with either durability.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_core::history::conformance::{self, Fixture};
use fanfare_core::history::Retention;
use fanfare_redb::{Durability, Redb};
use tempfile::TempDir;

struct InDirectories {
    root: TempDir,
    count: AtomicUsize,
    durability: Durability,
}

impl InDirectories {
    fn new(durability: Durability) -> Self {
        Self {
            root: tempfile::tempdir().expect("a directory"),
            count: AtomicUsize::new(0),
            durability,
        }
    }

    fn open_at(&self, directory: &Path, retention: Retention) -> Redb {
        let builder = Redb::builder(directory).retention(retention);
        builder.durability(self.durability).open().expect("opens")
    }
}

impl Fixture for InDirectories {
    type History = Redb;

    fn open(&self, retention: Retention) -> Redb {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.open_at(&self.root.path().join(number.to_string()), retention)
    }

    fn reopen(&self, history: Redb, retention: Retention) -> Option<Redb> {
        let directory = history.directory().to_owned();
        drop(history);
        Some(self.open_at(&directory, retention))
    }

    fn close(&self, history: &Redb) -> bool {
        history.close();
        true
    }
}

/// Every check passes, and each could be tried.
#[track_caller]
fn does_everything(durability: Durability) {
    let report = conformance::report(&InDirectories::new(durability));
    assert!(
        report.failed.is_empty() && report.skipped.is_empty(),
        "{report}"
    );
}

#[test]
fn it_does_what_every_history_must() {
    does_everything(Durability::EveryPublish);
}

#[test]
fn it_does_so_when_it_syncs_at_intervals() {
    does_everything(Durability::Interval(Duration::from_millis(20)));
}
