//! Where the demo keeps its history: in memory, in a directory, or in Redis.

use std::io;

use fanfare::{broadcaster::Builder, Retention};

use crate::{Flags, MAX_DATA};

/// The bytes that a topic may take for each event that is kept: more than most have.
const BYTES_PER_EVENT: usize = 4 * 1_024;

/// How much of each topic is kept, wherever it is.
pub(crate) fn retention(flags: &Flags) -> Retention {
    let bytes = flags.history().saturating_mul(BYTES_PER_EVENT);
    Retention::new()
        .records(flags.history())
        // However few are kept, large ones have room.
        .bytes(bytes.max(4 * MAX_DATA))
}

/// Puts the history behind the broadcaster that the flags ask for. A demo that was built without it
/// ends and says so.
pub(crate) fn behind(builder: Builder, flags: &Flags) -> io::Result<Builder> {
    if let Some(directory) = flags.data_dir() {
        #[cfg(feature = "data-dir")]
        {
            let history = fanfare::redb::Redb::builder(directory).retention(retention(flags));
            return Ok(builder.backend(history.open().map_err(io::Error::other)?));
        }
        #[cfg(not(feature = "data-dir"))]
        Flags::refuse(&format!(
            "this demo keeps nothing in {}: build it with `--features data-dir`",
            directory.display()
        ));
    }
    #[cfg(feature = "redis")]
    if let Some((url, stream)) = flags.redis() {
        let history = fanfare::redis::RedisHistory::builder(url).stream(stream);
        let history = history.retention(retention(flags)).build();
        return Ok(builder.backend(history.map_err(io::Error::other)?));
    }
    #[cfg(not(feature = "redis"))]
    if flags.redis().is_some() {
        Flags::refuse("this demo does not know Redis: build it with `--features redis`");
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn what_a_topic_may_take_grows_with_what_is_kept() {
        for (records, bytes) in [("1", 4 << 20), ("1000", 4 << 20), ("50000", 50_000 << 12)] {
            let flags = Flags::parse_from(["demo", "--history", records]);
            let expect = Retention::new().records(flags.history()).bytes(bytes);
            assert_eq!(retention(&flags), expect);
        }
    }
}
