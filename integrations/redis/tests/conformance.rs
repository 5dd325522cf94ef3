//! A history in Redis does what every history must.

mod support;

use fanfare_core::history::conformance::{self, Fixture};
use fanfare_core::history::Retention;
use fanfare_redis::RedisHistory;
use support::Server;

struct InRedis {
    server: Server,
}

impl InRedis {
    fn open_stream(&self, stream: &str, retention: Retention) -> RedisHistory {
        let builder = RedisHistory::builder(self.server.url());
        builder
            .stream(stream)
            .retention(retention)
            .build()
            .expect("builds")
    }
}

impl Fixture for InRedis {
    type History = RedisHistory;

    fn open(&self, retention: Retention) -> RedisHistory {
        self.open_stream(&self.server.new_stream(), retention)
    }

    fn reopen(&self, history: RedisHistory, retention: Retention) -> Option<RedisHistory> {
        let stream = history.stream().to_owned();
        drop(history);
        Some(self.open_stream(&stream, retention))
    }

    fn close(&self, history: &RedisHistory) -> bool {
        history.close();
        true
    }
}

#[test]
fn it_does_what_every_history_must() {
    let report = conformance::report(&InRedis {
        server: Server::start(),
    });
    // Every check passes, and each could be tried.
    assert!(
        report.failed.is_empty() && report.skipped.is_empty(),
        "{report}"
    );
}
