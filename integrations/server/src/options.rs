//! [`TcpOptions`]: that connections send at once, and when a peer counts as dead.

use std::io;
#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// What [`TcpOptions::keep_alive`] makes of the core's default, 15 seconds.
const DEFAULT: Duration = Duration::from_millis(11_250);

/// Less, and one lost packet would be taken for a death; the system counts keep-alive in seconds.
const SHORTEST: Duration = Duration::from_secs(1);

/// The most seconds that Linux takes for its keep-alive.
const LONGEST: Duration = Duration::from_secs(32_767);

/// What a server of long streams sets on its connections.
///
/// On Linux connections inherit it from their listener. Where they do not, [`apply`](Self::apply)
/// sets it on each.
///
/// # No delay
///
/// `TCP_NODELAY`: a small event does not wait some 40 ms for the acknowledgement of the one before.
///
/// # Dead peers
///
/// A client that is cut off, by a cable or a dead battery, says nothing. TCP alone finds out a
/// quarter of an hour after it has next sent something, and until then the client's stream is kept
/// and counted. The **user timeout** (RFC 5482) is how long a client may leave what it was sent
/// without acknowledgement; then its connection is closed, and its stream dropped. Told the
/// broadcaster's [keep-alive](Self::keep_alive), a dead client is found within two of its
/// intervals: one until something is sent to it, and one without an answer.
///
/// - On Linux, Android and Fuchsia it is `TCP_USER_TIMEOUT`. It also ends a client that is alive and
///   has **read nothing for as long**, while events wait for it and its buffers are full. It comes
///   back with its `Last-Event-ID`, and misses nothing, or is told what it misses. To keep such
///   clients, give more time, or [`None`](Self::user_timeout).
/// - Connections that carry nothing, such as those whose next request never comes, have TCP's own
///   keep-alive: a probe after two user timeouts of silence, and the end a third of one later if it
///   is not answered. On other systems that is all there is: three probes, and none while data
///   waits for its acknowledgement, so there a dead client is found when TCP gives up.
///
/// Behind a proxy all this is about the proxy, which has settings of its own for its clients.
///
/// ```
/// use std::time::Duration;
/// use fanfare_server::TcpOptions;
///
/// let options = TcpOptions::new().keep_alive(Duration::from_secs(5));
/// let listener = fanfare_server::bind_with("127.0.0.1:0", options)?;
/// # let _ = listener;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TcpOptions {
    user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// No delay, and dead clients found within two of a broadcaster's default keep-alives, 30
    /// seconds.
    pub const fn new() -> Self {
        Self {
            user_timeout: Some(DEFAULT),
        }
    }

    /// Finds dead clients within two keep-alives of this interval, if that is 2 seconds or longer,
    /// by a [user timeout](Self::user_timeout) of three quarters of it. The last quarter is for
    /// what TCP takes beside: it counts from its first retransmission, 0.2 seconds or a round trip
    /// after the keep-alive; and there are frameworks that drop the stream of a closed connection
    /// only at the next keep-alive.
    ///
    /// Takes what a broadcaster's `keep_alive_interval` returns. `None`, of a broadcaster that keeps
    /// nothing alive, leaves the dead to the system.
    pub fn keep_alive(self, interval: impl Into<Option<Duration>>) -> Self {
        let limit = interval.into().map(|interval| interval - interval / 4);
        self.user_timeout(limit)
    }

    /// How long a client may leave what it was sent without acknowledgement: from one second to
    /// 32,767; less is taken for one second, more for 32,767. `None` leaves it to the system, and
    /// sends no probes either.
    pub fn user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = limit.into().map(|limit| limit.clamp(SHORTEST, LONGEST));
        self
    }

    /// Sets the options on a socket of your own: a connection, or a listener from which its
    /// connections inherit them.
    ///
    /// # Errors
    ///
    /// If the socket is not one of TCP, or its peer is gone already.
    pub fn apply(&self, socket: &impl AsSocket) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        let Some(limit) = self.user_timeout else {
            return Ok(());
        };
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        socket.set_tcp_user_timeout(Some(limit))?;
        socket.set_tcp_keepalive(&keepalive(limit))
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Streams are written to before the silence is over: with a user timeout Linux takes the first probe
/// that had no answer for the last, and no live stream should hang on one packet.
fn keepalive(limit: Duration) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time((2 * limit).min(LONGEST));
    #[cfg(any(
        target_os = "android",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "ios",
        target_os = "linux",
        target_os = "macos",
        target_os = "netbsd",
        target_os = "windows",
    ))]
    let keepalive = keepalive
        .with_interval((limit / PROBES).max(SHORTEST))
        .with_retries(PROBES);
    keepalive
}

/// How many probes go unanswered where there is no user timeout.
const PROBES: u32 = 3;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// What a connection has whose listener was bound with the options: the user timeout, and the
    /// silence before TCP's own keep-alive, if that is on.
    fn inherited(options: TcpOptions) -> (Option<Duration>, Option<Duration>) {
        let listener = crate::bind_with("127.0.0.1:0", options).expect("a free port");
        listener.set_nonblocking(false).expect("it is open");
        let address = listener.local_addr().expect("it is bound");
        let _client = TcpStream::connect(address).expect("it listens");
        let (connection, _) = listener.accept().expect("somebody has connected");
        let socket = SockRef::from(&connection);
        assert!(socket.tcp_nodelay().expect("TCP has it"));
        let is_kept = socket.keepalive().expect("TCP has it");
        let time = is_kept.then(|| socket.tcp_keepalive_time().expect("TCP has it"));
        (socket.tcp_user_timeout().expect("TCP has it"), time)
    }

    #[test]
    fn connections_inherit_the_options() {
        let five = Some(Duration::from_secs(5));
        let options = TcpOptions::new().user_timeout(five);
        assert_eq!(inherited(options), (five, Some(Duration::from_secs(10))));
    }

    #[test]
    fn the_default_is_that_of_the_default_keep_alive() {
        let default = TcpOptions::new();
        assert_eq!(
            default,
            TcpOptions::new().keep_alive(Duration::from_secs(15))
        );
        assert_eq!(inherited(default).0, Some(DEFAULT));
    }

    #[test]
    fn without_a_limit_the_system_decides() {
        assert_eq!(
            inherited(TcpOptions::new().user_timeout(None)),
            (None, None)
        );
    }

    #[test]
    fn limits_that_the_system_refuses_are_moved_to_the_next_that_it_takes() {
        let (shortest, _) = inherited(TcpOptions::new().user_timeout(Duration::ZERO));
        assert_eq!(shortest, Some(SHORTEST));
        let (longest, time) = inherited(TcpOptions::new().user_timeout(Duration::MAX));
        assert_eq!((longest, time), (Some(LONGEST), Some(LONGEST)));
    }
}
