//! A `redis-server` of a test's own, which can be stopped, killed, and started again with nothing in it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};

use crate::{free_port, wait_for, DEADLINE};

/// A running server that keeps nothing on disk. It is killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server` in `PATH`, or it does not answer.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let port = free_port();
        let redis = Self {
            child: spawn(port),
            port,
        };
        redis.wait_until_ready();
        redis
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops the process: it still takes connections, and answers nothing.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[track_caller]
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the process at once; all that it had is lost.
    ///
    /// # Panics
    ///
    /// If the process cannot be killed.
    #[track_caller]
    pub fn kill_9(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Starts it again on the same port, empty, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    #[track_caller]
    pub fn restart(&mut self) {
        self.child = spawn(self.port);
        self.wait_until_ready();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server takes signals");
    }

    #[track_caller]
    fn wait_until_ready(&self) {
        wait_for("redis-server", || self.answers().then_some(()));
    }

    /// Whether it is this process that answers on the port, and not one that was there before it.
    fn answers(&self) -> bool {
        let ask = || -> io::Result<String> {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
            connection.set_read_timeout(Some(DEADLINE))?;
            connection.write_all(b"INFO server\r\nQUIT\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let own = format!("process_id:{}", self.child.id());
        ask().is_ok_and(|answer| answer.lines().any(|line| line == own))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn spawn(port: u16) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}"))
}
