//! libFuzzer on `properties::decoder::check`.

#![no_main]

#[path = "../../core/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::decoder::check(bytes));
