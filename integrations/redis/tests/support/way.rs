//! A [`Way`] to a server, on which a test stands.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::Server;

/// What becomes of what is sent to the server and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Free,
    /// It waits.
    Held,
    /// A call of a script breaks the connection off.
    Cut,
    /// A script is called by a name that the server does not know.
    Garbled,
}

/// What stands between a history and a server.
pub struct Way {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    passage: Mutex<Passage>,
    changed: Condvar,
    connections: AtomicUsize,
}

impl Way {
    pub fn to(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            passage: Mutex::new(Passage::Free),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
        });
        let (there, way) = (server.port, Arc::clone(&shared));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                way.connections.fetch_add(1, Ordering::SeqCst);
                if let Ok(server) = TcpStream::connect(("127.0.0.1", there)) {
                    way.lead(&client, &server, true);
                    way.lead(&server, &client, false);
                }
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, passage: Passage) {
        *self.shared.passage.lock().expect("no panic") = passage;
        self.shared.changed.notify_all();
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn lead(self: &Arc<Self>, from: &TcpStream, to: &TcpStream, is_request: bool) {
        let (from, to) = (from.try_clone(), to.try_clone());
        let (mut from, mut to) = (from.expect("a file is free"), to.expect("a file is free"));
        let way = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let bytes = &mut buffer[..read];
                let passes = way.passes(bytes, is_request);
                if !passes || to.write_all(bytes).is_err() {
                    break;
                }
            }
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
        });
    }

    fn passes(&self, bytes: &mut [u8], is_request: bool) -> bool {
        const CALL: &[u8] = b"EVALSHA\r\n$40\r\n";
        let passage = self.passage.lock().expect("no panic");
        let is_held = |passage: &mut Passage| *passage == Passage::Held;
        let passage = self.changed.wait_while(passage, is_held);
        let passage = *passage.expect("no panic");
        let call = bytes.windows(CALL.len()).position(|part| part == CALL);
        let Some(call) = call.filter(|_| is_request) else {
            return true;
        };
        if passage == Passage::Garbled {
            bytes[call + CALL.len()] = b'z';
        }
        passage != Passage::Cut
    }
}
