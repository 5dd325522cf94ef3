//! [`Builder`]: what a history in a directory is opened with, and why it is not.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, fs, io};

use fanfare_core::history::Retention;

use crate::store::{OpenDatabase, Opening, Problem, Store};
use crate::write::Limits;
use crate::Redb;

/// The file in the directory.
const FILE: &str = "history.redb";

/// When what was appended is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// An append is answered when it is: nothing that was answered is lost, even if the power fails.
    #[default]
    EveryPublish,
    /// An append is answered at once, and is on disk within this time.
    ///
    /// After a kill or a power failure, what came in that time may be missing. Every client from
    /// before is then told by a gap that something may be, since nobody can tell whether it is.
    Interval(Duration),
}

/// What a [`Redb`] is opened with.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it opens"]
pub struct Builder {
    directory: PathBuf,
    retention: Retention,
    durability: Durability,
    max_topics: usize,
    cache: usize,
}

impl Builder {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            retention: Retention::new(),
            durability: Durability::default(),
            max_topics: 100_000,
            cache: 32 << 20,
        }
    }

    /// How much of each topic is retained; [`Retention::new`] if not said.
    pub fn retention(mut self, retention: impl Into<Retention>) -> Self {
        self.retention = retention.into();
        self
    }

    /// When an event is on disk; [`Durability::EveryPublish`] if not said.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The most topics that may have records at once; 100,000 if not said, which is some 20 MB of
    /// memory. A topic is forgotten when age has evicted its last record.
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
    }

    /// The memory for pages of the file that were read or are to be written, in bytes; 32 MiB if not
    /// said.
    pub fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Opens what the directory holds, or begins a log in it.
    ///
    /// It blocks: for milliseconds, however large the log is.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says who is to do what.
    pub fn open(self) -> Result<Redb, OpenError> {
        fs::create_dir_all(&self.directory).map_err(OpenError::Io)?;
        let opener = opener(self.directory.join(FILE), self.cache);
        self.open_with(opener)
    }

    pub(crate) fn open_with(self, open: OpenDatabase) -> Result<Redb, OpenError> {
        let opened = Store::open(open, self.durability)?;
        let limits = Limits {
            retention: self.retention,
            topics: self.max_topics,
        };
        Redb::start(self.directory, opened, limits, self.durability)
    }
}

/// Opens a file with a cache of so many bytes.
pub(crate) fn opener(file: PathBuf, cache: usize) -> OpenDatabase {
    Box::new(move |opening| {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(cache);
        match opening {
            Opening::First => builder.create(&file),
            Opening::Again => builder.open(&file),
        }
    })
}

/// Why a directory could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another history has it: of another process, or of this one.
    Locked,
    /// A later version of this crate has written it, or redb must first be told to upgrade it.
    WrongVersion {
        /// The version of its format.
        found: u64,
    },
    /// It is not as it was written; what is left of it must be restored or removed.
    Damaged(Box<dyn Error + Send + Sync>),
    /// The system refuses.
    Io(io::Error),
}

impl From<Problem> for OpenError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Locked => Self::Locked,
            Problem::WrongVersion(found) => Self::WrongVersion { found },
            Problem::Io(error) => Self::Io(error),
            Problem::Damaged(error) => Self::Damaged(error),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another history has the directory"),
            Self::WrongVersion { found } => {
                write!(
                    f,
                    "the directory's format is version {found}, which is not ours"
                )
            }
            Self::Damaged(_) => f.write_str("the directory's file is damaged"),
            Self::Io(_) => f.write_str("the directory cannot be used"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Damaged(error) => Some(&**error),
            Self::Io(error) => Some(error),
            Self::Locked | Self::WrongVersion { .. } => None,
        }
    }
}
