//! Where the demo keeps its history: in memory, in a directory, or in Redis.

use std::io;

use fanfare::{broadcaster::Builder, Retention};

use crate::{Flags, MAX_DATA};

/// How much of each topic is kept, wherever it is.
pub(crate) fn retention(flags: &Flags) -> Retention {
    Retention::new()
        .records(flags.history())
        .bytes(4 * MAX_DATA)
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
    if let Some((url, stream)) = flags.redis() {
        #[cfg(feature = "redis")]
        {
            let history = fanfare::redis::RedisHistory::builder(url).stream(stream);
            let history = history.retention(retention(flags)).build();
            return Ok(builder.backend(history.map_err(io::Error::other)?));
        }
        #[cfg(not(feature = "redis"))]
        Flags::refuse(&format!(
            "this demo does not know Redis, and so not {stream} at {url}: build it with `--features redis`"
        ));
    }
    Ok(builder)
}
