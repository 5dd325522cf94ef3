//! What goes over a connection, read piece by piece: HTTP/1.1, and in it event streams and
//! the frames of a `WebSocket`.
//!
//! It is stricter than a browser, which forgives almost everything: here whatever a server should
//! not have sent is a failure of the run. It also copies nothing that arrives in one piece, since the
//! load must never be slower than the servers.

pub mod event_stream;
pub mod http;
pub mod websocket;

use std::error::Error;
use std::fmt;

/// What no server under test may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    /// Where it went wrong, and the bytes that show it.
    pub(crate) fn new(what: &str, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(80)];
        Self(format!("{what}: {:?}", String::from_utf8_lossy(shown)))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Malformed {}
