//! A `redis-server` of our own, for the tests that are told of one.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::Failure;

/// How long it may take to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running server that keeps nothing on disk. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one on a free port.
    pub(crate) fn start() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("redis-server: {error}"));
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(failed)?
            .port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut redis = Self { child, port };
        let until = Instant::now() + DEADLINE;
        while !redis.answers() {
            let has_ended = redis.child.try_wait().map_err(failed)?.is_some();
            if has_ended || Instant::now() > until {
                return Err(Failure::new("redis-server does not answer"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn answers(&self) -> bool {
        use std::io::Read as _;
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let mut answer = [0; 5];
        connection.write_all(b"PING\r\n").is_ok()
            && connection.read_exact(&mut answer).is_ok()
            && &answer == b"+PONG"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
