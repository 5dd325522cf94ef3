//! What the benches share: an executor in miniature, the contenders that it drives, and what
//! is sent.
#![forbid(unsafe_code)]

mod contenders;
mod executor;

pub use contenders::{
    AsyncBroadcast, Contender, Fanfare, FanfareWakingInline, TokioBroadcast, TokioBroadcastStream,
};
pub use executor::{drain, Executor, Tally};

/// The text of the event that every bench but `encode` sends. Encoded, it is 100 bytes and its
/// id.
pub const TEXT: &str =
    "{\"symbol\":\"EURUSD\",\"bid\":1.07141,\"ask\":1.07143,\"at\":1795353535353,\
                        \"venue\":\"fan\",\"seq\":12345}";
