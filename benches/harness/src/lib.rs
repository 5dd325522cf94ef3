//! What `cargo xtask bench` is made of, in the order in which a measurement is made.
#![forbid(unsafe_code)]

pub mod machine;
pub mod contenders;
pub mod scenarios;
pub mod run;
pub mod peers;
pub mod server;
pub mod proc;
pub mod trace;
pub mod load;
pub mod clock;
pub mod payload;
pub mod wire;
pub mod verify;
pub mod measure;
pub mod figures;
pub mod report;
