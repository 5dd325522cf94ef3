//! What `cargo xtask bench` is made of, in the order in which a measurement is made.
#![forbid(unsafe_code)]

pub mod figures;
pub mod report;
