//! Where the demos of a run keep their history: the same contract holds wherever that is.

use std::env;

use tempfile::TempDir;

use crate::Redis;

/// What chooses it: `memory`, which it is unless somebody says otherwise; or for each demo a new
/// `directory`, or a `redis` of its own.
const VARIABLE: &str = "FANFARE_HISTORY";

/// Where one demo keeps its history, if not in memory.
#[derive(Debug)]
pub(crate) enum History {
    Directory(TempDir),
    Redis(Redis),
}

impl History {
    /// A new one of the kind that this run is about.
    #[track_caller]
    pub(crate) fn chosen() -> Option<Self> {
        let chosen = env::var(VARIABLE).unwrap_or_else(|_| "memory".to_owned());
        match chosen.as_str() {
            "memory" => None,
            "directory" => {
                let directory = TempDir::new().expect("a temporary directory can be made");
                Some(Self::Directory(directory))
            }
            "redis" => Some(Self::Redis(Redis::start())),
            other => panic!("{VARIABLE} is `{other}`, and not memory, directory or redis"),
        }
    }

    /// What a demo is told.
    pub(crate) fn flags(&self) -> Vec<String> {
        match self {
            Self::Directory(directory) => {
                vec![
                    "--data-dir".to_owned(),
                    directory.path().display().to_string(),
                ]
            }
            Self::Redis(redis) => vec!["--redis".to_owned(), redis.url()],
        }
    }
}
