//! A history's threads end with it, whatever the server does. In a file of its own: it counts the
//! threads of the process.
#![cfg(target_os = "linux")]

mod support;

use std::fs;

use support::{append_surely, history_at, wait_for, Followed, Server};

fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux has it");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("fanfare-redis"))
        .count()
}

#[test]
fn threads_end_with_their_history() {
    let server = Server::start();
    let history = history_at(&server, "s");
    append_surely(&history, "a", "1");
    let tail = Followed::open(&history, None);
    tail.start();
    wait_for("three threads", || (threads() == 3).then_some(()));
    // Which ends the tail, and so the last that holds the history.
    history.close();
    drop((tail, history));
    wait_for("three threads to end", || (threads() == 0).then_some(()));

    let history = history_at(&server, "s");
    append_surely(&history, "a", "1");
    // Without a tail there is none that reads for it.
    wait_for("two threads", || (threads() == 2).then_some(()));
    drop(history);
    wait_for("two threads to end", || (threads() == 0).then_some(()));

    #[cfg(feature = "tickets")]
    {
        let uses = fanfare_redis::RedisUses::builder(server.url()).build_uses();
        wait_for("a thread", || (threads() == 1).then_some(()));
        drop(uses);
        wait_for("a thread to end", || (threads() == 0).then_some(()));
    }
}
