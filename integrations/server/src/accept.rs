//! What every accept loop decides alike: how long it waits, and for what.

use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long a connection may take for a request's head, if nothing else is said: hyper's own.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that a connection reads before it is used, and so the longest head of a request; and what it
/// has ready for a client that does not read, beside the batch of events that goes over it.
///
/// hyper's own is some 400 KiB, which clients that send half a request, or read nothing, could each take.
pub const MAX_BUFFER: usize = 64 * 1_024;

/// Longer than anybody waits, and short enough for hyper to add it to any time.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The pause after the system refused to accept: for want of files, mostly, which others must
/// close first.
pub const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Whether an error of `accept` is one connection's, and the listener as good as before. After any
/// other, wait for [`ACCEPT_PAUSE`].
///
/// ```
/// use std::io::ErrorKind;
///
/// assert!(fanfare_server::is_of_one_connection(&ErrorKind::ConnectionAborted.into()));
/// assert!(!fanfare_server::is_of_one_connection(&ErrorKind::OutOfMemory.into()));
/// ```
#[must_use]
pub fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}
