//! What holds for any bytes that strangers send.
//!
//! Each file has a `check`, which takes the bytes as they come from libFuzzer (`fuzz/` at the
//! project's root) or from the corpus that it left (`corpus.rs`), and panics where something does
//! not hold. `round_trip.rs` tries the same with proptest.
#![allow(dead_code)] // Each fuzz target checks one of them.

pub(crate) mod decoder;
pub(crate) mod event_id;
pub(crate) mod request;
pub(crate) mod round_trip;
pub(crate) mod topics;

/// Panics if something does not hold for these bytes.
pub(crate) type Check = fn(&[u8]);

/// Every check, by the name of its fuzz target and of its folder in the corpus.
pub(crate) const CHECKS: [(&str, Check); 5] = [
    ("decoder", decoder::check),
    ("event_id", event_id::check),
    ("request", request::check),
    ("round_trip", round_trip::check),
    ("topics", topics::check),
];

/// Separates texts in one input: a byte that UTF-8 has no use for.
const SEPARATOR: u8 = 0xff;
