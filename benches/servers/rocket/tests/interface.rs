//! The server's interface, over real sockets.

#![forbid(unsafe_code)]

use bench_server_check::{check, usual};

const BINARY: &str = env!("CARGO_BIN_EXE_bench-server-rocket");

#[test]
fn fanfare() {
    check(BINARY, "fanfare", usual);
}

/// Rocket's `Event` has a format of its own: two bytes fewer.
#[test]
fn native() {
    check(BINARY, "native", |id, data| {
        format!("id:{id}\ndata:{data}\n\n")
    });
}
