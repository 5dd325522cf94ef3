//! A TCP proxy that can fail: it cuts every connection, turns new ones away, and works again.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A proxy on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Both ends of every connection that was let through.
    connections: Vec<TcpStream>,
    is_cut: bool,
    is_closed: bool,
}

impl Proxy {
    /// Starts a proxy that lets everything through to `target`.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    #[track_caller]
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let state = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = lock(&shared);
                if state.is_closed {
                    return;
                }
                // One that is turned away is closed as it goes out of scope.
                if !state.is_cut {
                    // A target that is down looks to the client like a proxy that is.
                    let _ = state.connect(client, target);
                }
            }
        });
        Self { addr, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The target's page, through the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Cuts all connections and turns new ones away.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        lock(&self.state).is_cut = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        lock(&self.state).is_closed = true;
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect(self.addr);
    }
}

impl State {
    fn connect(&mut self, client: TcpStream, target: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(target)?;
        self.connections
            .extend([client.try_clone()?, server.try_clone()?]);
        copy(client.try_clone()?, server.try_clone()?);
        copy(server, client);
        Ok(())
    }
}

/// Copies one direction of a connection, and its end, in a thread of its own.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// The state is whole after every step, so a panic elsewhere does not spoil it.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// Sends back whatever it receives.
    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                copy(stream.try_clone().expect("a socket can be cloned"), stream);
            }
        });
        addr
    }

    fn echoes(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        let sent = stream.write_all(b"ping");
        sent.is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"ping"
    }

    #[test]
    fn connections_are_cut_turned_away_and_let_through_again() {
        let proxy = Proxy::start(echo_server());
        let connect = || TcpStream::connect(proxy.addr()).expect("the proxy listens");

        let mut first = connect();
        assert!(echoes(&mut first));

        proxy.cut();
        assert!(!echoes(&mut first));
        assert!(!echoes(&mut connect()));

        proxy.restore();
        assert!(echoes(&mut connect()));
    }
}
