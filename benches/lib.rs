//! What the benches share: an executor in miniature, the contenders that it drives, and what
//! is sent.
#![forbid(unsafe_code)]

mod contenders;
mod executor;

use fanfare_core::Topic;

pub use contenders::{
    AsyncBroadcast, Contender, Fanfare, FanfareWakingInline, TokioBroadcast, TokioBroadcastStream,
};
pub use executor::{drain, Executor, Tally};

/// The text of the event that every bench but `encode` sends. Encoded, it is 100 bytes and its
/// id.
pub const TEXT: &str =
    "{\"symbol\":\"EURUSD\",\"bid\":1.07141,\"ask\":1.07143,\"at\":1795353535353,\
                        \"venue\":\"fan\",\"seq\":12345}";

/// `quotes.0`, `quotes.1`, ...: so many topics.
pub fn topics(count: usize) -> Vec<Topic> {
    let topic = |n| Topic::new(format!("quotes.{n}")).expect("is a topic");
    (0..count).map(topic).collect()
}

/// From the least to the greatest.
pub fn sorted(numbers: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}
