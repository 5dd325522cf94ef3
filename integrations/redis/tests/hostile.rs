//! What strangers write is no command to Redis, and the password is in nothing that is printed.

mod support;

use std::error::Error;
use std::fmt::Write;

use fanfare_core::history::{Append, History};
use fanfare_core::{Event, LastEventId, Topic, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::block_on;
use support::{append, history_at, Server};

/// Text that would do harm if it were pasted into a command, a script or a key's name.
const TEXTS: [&str; 6] = [
    "\r\nFLUSHALL\r\n",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "'); redis.call('FLUSHALL') --",
    "]] redis.call('FLUSHALL') --[[",
    "{other}",
    "\0\u{feff}",
];

#[test]
fn what_strangers_write_is_no_command() {
    let server = Server::start();
    server.command_of(&["SET", "other", "untouched"]);
    let history = history_at(&server, "s");

    // A topic holds no control characters, a key and data anything.
    let visible = |text: &str| text.replace(char::is_control, " ");
    let mut ids = Vec::new();
    for text in TEXTS {
        let topic = Topic::new(visible(text)).expect("a topic");
        let append = Append::new(topic, &Event::data(text)).key(text);
        ids.push(block_on(history.append(append)).expect("stored"));
    }
    let after = LastEventId::none();
    let page = block_on(history.replay(&Topics::all(), &after, 100)).expect("read");
    for ((record, text), id) in page.records.iter().zip(TEXTS).zip(&ids) {
        assert_eq!(record.id(), *id);
        assert_eq!(record.topic().as_str(), visible(text));
        let data = record.message().map(|message| message.data);
        assert_eq!(data, Some(text.replace("\r\n", "\n")));
    }
    assert_eq!(page.records.len(), TEXTS.len());

    // Nothing was carried out, and nothing is where others have their keys.
    let statistics = server.command_of(&["INFO", "commandstats"]);
    let statistics = format!("{statistics:?}").to_lowercase();
    assert!(statistics.contains("cmdstat_evalsha"), "{statistics}");
    assert!(!statistics.contains("flushall"), "{statistics}");
    let mut connection = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut connection)
        .expect("an answer");
    let foreign: Vec<_> = keys.iter().filter(|key| !key.starts_with("{s}:")).collect();
    assert_eq!(foreign, ["other"]);
}

#[test]
fn the_password_is_in_nothing_that_is_printed() {
    const PASSWORD: &str = "correct-horse";
    let mut server = Server::start_with(&["--save", "", "--requirepass", PASSWORD]);
    server.login = format!(":{PASSWORD}@");
    let history = history_at(&server, "s");
    append(&history, "t", "x").expect("stored");
    let builder = RedisHistory::builder(server.url());
    let mut printed = format!("{builder:?} {history:#?}");

    // A URL that is none, a password that is wrong, a server that is gone.
    let invalid = RedisHistory::builder(format!("http://:{PASSWORD}@host/x y")).build();
    note(&mut printed, &invalid.expect_err("it is no URL of Redis"));
    let wrong = format!("redis://:{PASSWORD}-not@127.0.0.1:{}", server.port);
    let wrong = RedisHistory::builder(wrong)
        .stream("s")
        .build()
        .expect("builds");
    note(
        &mut printed,
        &append(&wrong, "t", "x").expect_err("refused"),
    );
    server.kill();
    note(
        &mut printed,
        &append(&history, "t", "x").expect_err("it is gone"),
    );

    assert!(!printed.contains(PASSWORD), "{printed}");
}

/// All that an error says, in every way.
fn note(printed: &mut String, error: &dyn Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        write!(printed, "\n{error} {error:#?}").expect("a String takes everything");
        next = error.source();
    }
}
