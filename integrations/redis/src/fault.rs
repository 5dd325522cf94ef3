//! [`Fault`]: what went wrong between this process and the server, and what that means for the
//! caller.

use std::error::Error;
use std::fmt;

use fanfare_core::history::HistoryError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection broke or the answer did not come in time: what was sent may have been done.
    Broken,
    /// The server says that it cannot now: it did nothing.
    Refused,
    /// The server says that this connection is to the wrong server, or knows nothing of our
    /// scripts: it did nothing, and another connection may do.
    Elsewhere,
    /// Somebody has to mend it: rights, password, certificate.
    Failed,
}

#[derive(Clone, Debug)]
enum Cause {
    Redis(RedisError),
    Text(String),
}

impl Fault {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        let cause = Cause::Text(text.into());
        Self { kind, cause }
    }

    /// The server's answer is not what a script of ours answers.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::new(Kind::Failed, format!("the server's answer has no {what}"))
    }

    /// What a script could not do with one event.
    pub(crate) fn of_text(text: &str) -> Self {
        // Redis 6 puts the command's own error into the middle of the script's.
        let has = |code: &str| {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
            words.any(|word| word == code)
        };
        let kind = if REFUSALS.iter().any(|code| has(code)) {
            Kind::Refused
        } else {
            Kind::Failed
        };
        Self::new(kind, text)
    }

    /// The same before anything was sent: nothing can have been done.
    pub(crate) fn unsent(mut self) -> Self {
        // The client tells what TLS says as text only.
        let is_of_certificate =
            |cause: &Cause| cause.is_io() && cause.to_string().contains("certificate");
        self.kind = match self.kind {
            Kind::Broken if is_of_certificate(&self.cause) => Kind::Failed,
            Kind::Failed => Kind::Failed,
            Kind::Broken | Kind::Refused | Kind::Elsewhere => Kind::Refused,
        };
        self
    }

    /// The same after it was answered, but not so that one could tell what was done.
    pub(crate) fn unclear(mut self) -> Self {
        self.kind = Kind::Broken;
        self
    }

    /// What an append is told that the fault befell.
    pub(crate) fn of_append(&self) -> HistoryError {
        let cause = Box::new(self.cause.clone());
        match self.kind {
            Kind::Broken => HistoryError::Unknown(cause),
            Kind::Refused | Kind::Elsewhere => HistoryError::Unavailable(cause),
            Kind::Failed => HistoryError::Failed(cause),
        }
    }

    /// What a read is told: it has stored nothing in any case.
    pub(crate) fn of_read(&self) -> HistoryError {
        self.clone().unsent().of_append()
    }

    /// What it was, for who is told nothing else.
    #[cfg(feature = "tickets")]
    pub(crate) fn into_cause(self) -> Box<dyn Error + Send + Sync> {
        Box::new(self.cause)
    }

    /// Whether a replica says so, that has been a master: its successor is found by connecting again.
    pub(crate) fn is_of_replica(&self) -> bool {
        let Cause::Redis(error) = &self.cause else {
            return false;
        };
        let is_said_by_kind = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        );
        // Redis 6 puts the command's own error into the middle of the script's.
        let text = error.to_string();
        is_said_by_kind || text.contains("READONLY") || text.contains("MASTERDOWN")
    }

    /// Where a cluster says that the log is.
    pub(crate) fn moved_to(&self) -> Option<(&str, u16)> {
        match &self.cause {
            Cause::Redis(error) => error.redirect_node().map(|(address, _)| {
                let (host, port) = address.rsplit_once(':')?;
                Some((host, port.parse().ok()?))
            })?,
            Cause::Text(_) => None,
        }
    }
}

/// What servers say that cannot now; `max` is the beginning of "max number of clients reached".
const REFUSALS: [&str; 12] = [
    "OOM",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY",
    "UNBLOCKED",
    "max",
    "MAXCLIENTS",
];

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => Kind::Broken,
            ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::Moved) => {
                Kind::Elsewhere
            }
            // `ASK`: the log is being moved, and not yet where it says.
            ErrorKind::Server(
                ServerErrorKind::Ask
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain,
            ) => Kind::Refused,
            _ => Self::of_text(&error.to_string()).kind,
        };
        let cause = Cause::Redis(error);
        Self { kind, cause }
    }
}

impl Cause {
    fn is_io(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Io)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => error.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Redis(error) => Some(error),
            Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_nobody_understands_leaves_an_append_unknown() {
        let told = Fault::unexpected("ids").unclear().of_append();
        assert!(told.is_unknown(), "{told:?}");
    }

    #[test]
    fn a_scripts_error_is_told_by_its_code() {
        for (text, expect) in [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Kind::Refused,
            ),
            ("@user_script: 12: -OOM command not allowed", Kind::Refused),
            (
                "READONLY You can't write against a read only replica.",
                Kind::Refused,
            ),
            ("WRONGTYPE Operation against a key", Kind::Failed),
            ("NOPERM this user has no permissions", Kind::Failed),
            ("ERR ROOMY", Kind::Failed),
        ] {
            assert_eq!(Fault::of_text(text).kind, expect, "{text}");
        }
    }
}
