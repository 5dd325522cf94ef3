//! Ports for servers that leave and come back.

use std::net::TcpListener;
use std::ops::Range;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems give to connections: a client that connects while the server is away would be
/// given its port, or even connect to itself.
const PORTS: Range<u16> = 10_000..32_000;

/// A port of 127.0.0.1 that is free now, and that no outgoing connection will take: a server that
/// leaves it can return to it.
///
/// # Panics
///
/// If none is free.
#[must_use]
#[track_caller]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);

    let count = PORTS.end - PORTS.start;
    // Test processes that run side by side begin far from each other.
    let first = (process::id() % u32::from(count)) as u16;
    (0..count)
        .map(|_| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed) % count;
            PORTS.start + (first + next) % count
        })
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a port is free")
}
