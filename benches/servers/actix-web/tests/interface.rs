//! The server's interface, over real sockets.

#![forbid(unsafe_code)]

use bench_server_check::{check, usual};

const BINARY: &str = env!("CARGO_BIN_EXE_bench-server-actix-web");

#[test]
fn fanfare() {
    check(BINARY, "fanfare", usual);
}

#[test]
fn native() {
    check(BINARY, "native", usual);
}
