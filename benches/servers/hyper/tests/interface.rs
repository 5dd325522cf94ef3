//! The server's interface, over real sockets.

#![forbid(unsafe_code)]

use bench_server_check::{check, usual};

const BINARY: &str = env!("CARGO_BIN_EXE_bench-server-hyper");

#[test]
fn fanfare() {
    check(BINARY, "fanfare", usual);
}

#[test]
fn fanfare_on_smol() {
    check(BINARY, "fanfare-smol", usual);
}

#[test]
fn native() {
    check(BINARY, "native", usual);
}
