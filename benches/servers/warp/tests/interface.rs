//! The server's interface, over real sockets.

#![forbid(unsafe_code)]

use bench_server_check::{check, usual};

const BINARY: &str = env!("CARGO_BIN_EXE_bench-server-warp");

#[test]
fn fanfare() {
    check(BINARY, "fanfare", usual);
}

/// warp's `Event` has a format of its own: two bytes fewer.
#[test]
fn native() {
    check(BINARY, "native", |id, data| {
        format!("data:{data}\nid:{id}\n\n")
    });
}
