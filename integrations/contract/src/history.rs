//! Where the demos of a run keep their history: the same contract holds wherever that is.

use std::env;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

/// What chooses it: `memory`, which it is unless somebody says otherwise; `directory`, a new one for
/// each demo; or the URL of a Redis, in which each demo has a stream of its own.
const VARIABLE: &str = "FANFARE_HISTORY";

/// Where one demo keeps its history, if not in memory.
#[derive(Debug)]
pub(crate) enum History {
    Directory(TempDir),
    Redis { url: String, stream: String },
}

impl History {
    /// A new one of the kind that this run is about.
    #[track_caller]
    pub(crate) fn chosen() -> Option<Self> {
        static STREAMS: AtomicUsize = AtomicUsize::new(0);

        let chosen = env::var(VARIABLE).unwrap_or_else(|_| "memory".to_owned());
        match chosen.as_str() {
            "memory" => None,
            "directory" => {
                let directory = TempDir::new().expect("a temporary directory can be made");
                Some(Self::Directory(directory))
            }
            url if url.starts_with("redis") => {
                let number = STREAMS.fetch_add(1, Ordering::Relaxed);
                Some(Self::Redis {
                    url: url.to_owned(),
                    stream: format!("contract-{}-{number}", process::id()),
                })
            }
            other => panic!("{VARIABLE} is `{other}`, and not memory, directory or redis://..."),
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
            Self::Redis { url, stream } => ["--redis", url, "--stream", stream]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}
