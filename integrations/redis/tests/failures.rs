//! What a server can do to a history: be away, go away, forget, hang, refuse; and what the callers are
//! told.

mod support;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fanfare_core::history::{History, HistoryError, Retention, TailItem};
use fanfare_core::{EventId, GapReason, LastEventId};
use fanfare_redis::RedisHistory;
use futures_lite::future::block_on;
use support::{
    append, append_surely, builder_at, event, history_at, read, wait_for, Followed, Server,
};

/// Everything that is answered is on disk.
const EVERYTHING: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];

/// What a user of an access control list needs, besides its keys: as on the front page.
const RIGHTS: [&str; 13] = [
    "-@all",
    "+@connection",
    "+@stream",
    "+@hash",
    "+@sortedset",
    "+@scripting",
    "+@string",
    "+info",
    "+time",
    "+unlink",
    "+exists",
    "+pexpire",
    "+persist",
];

const BRIEFLY: Duration = Duration::from_millis(300);

fn is_unavailable<T>(result: &Result<T, HistoryError>) -> bool {
    matches!(result, Err(HistoryError::Unavailable(_)))
}

fn is_failed<T>(result: &Result<T, HistoryError>) -> bool {
    matches!(result, Err(HistoryError::Failed(_)))
}

#[test]
fn away_at_the_start() {
    let mut server = Server::prepare(&["--save", ""]);
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    let stored = append(&history, "a", 1);
    assert!(is_unavailable(&stored), "{stored:?}");
    let page = block_on(history.replay(&"a".into(), &LastEventId::none(), 1));
    assert!(is_unavailable(&page), "{page:?}");
    tail.interrupted();
    server.run();
    tail.start();
    let id = append_surely(&history, "a", "2");
    assert_eq!(tail.record().id(), id);
    assert_eq!(read(&history, "a", LastEventId::none()), (None, vec![id]));
}

#[test]
fn nothing_is_lost_where_every_answer_is_on_disk() {
    let mut server = Server::start_with(&EVERYTHING);
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.start();
    let before = append_surely(&history, "a", "1");
    assert_eq!(tail.record().id(), before);
    for _ in 0..3 {
        server.kill();
        tail.interrupted();
        server.run();
        tail.resumed();
        let after = append_surely(&history, "a", "2");
        assert_eq!(tail.record().id(), after, "it goes on where it was");
        assert!(after > before);
    }
    let (gap, ids) = read(&history, "a", before);
    assert_eq!((gap, ids.len()), (None, 3));
}

#[test]
fn a_restart_that_may_have_lost_something_is_a_gap() {
    let mut server = Server::start_with(&["--save", "", "--appendonly", "no"]);
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.start();
    let kept = append_surely(&history, "a", "kept");
    tail.record();
    server.command_of(&["SAVE"]);
    let lost = append_surely(&history, "a", "lost");
    assert_eq!(tail.record().id(), lost);
    server.kill();
    tail.interrupted();
    server.run();
    let start = tail.start();
    assert!(start > lost, "the lost id is behind it");
    let (gap, ids) = read(&history, "a", lost);
    let gap = gap.expect("something is missing");
    assert_eq!(
        (gap.reason, gap.to, ids),
        (GapReason::Expired, start, vec![])
    );
    // Who had not even seen the lost one is told too.
    let (gap, _) = read(&history, "*", kept);
    assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Expired));
    let new = append_surely(&history, "a", "new");
    assert!(new > lost, "no id is handed out again");
    assert_eq!(tail.record().id(), new);
    assert_eq!(read(&history, "a", start), (None, vec![new]));
    assert_eq!(read(&history, "all", lost).1, [new]);
}

#[test]
fn a_server_that_comes_back_empty_begins_a_new_life() {
    let mut server = Server::start();
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.start();
    let before = append_surely(&history, "a", "1");
    tail.record();
    server.kill();
    tail.interrupted();
    server.run();
    assert!(tail.start() > before);
    let after = append_surely(&history, "a", "2");
    assert_eq!(tail.record().id(), after);
    for topics in ["a", "a,b", "*", "all"] {
        let (gap, ids) = read(&history, topics, before);
        assert_eq!(
            gap.map(|gap| gap.reason),
            Some(GapReason::Epoch),
            "{topics}"
        );
        assert_eq!(ids, [after], "{topics}");
    }
}

#[test]
fn a_new_tail_says_so_where_a_server_that_is_there_refuses_what_it_needs() {
    let server = Server::start();
    append_surely(&history_at(&server, "s"), "a", "1");
    let replicas = |count| {
        server.command_of(&["CONFIG", "SET", "min-replicas-to-write", count]);
    };
    replicas("1");
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.interrupted();
    replicas("0");
    tail.start();
}

#[test]
fn a_flush_begins_a_new_life_under_the_eyes_of_the_tail() {
    let server = Server::start();
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.start();
    let before = append_surely(&history, "a", "1");
    tail.record();
    server.command_of(&["FLUSHALL"]);
    assert!(tail.start() > before, "although nothing was appended");
    server.command_of(&["FLUSHALL"]);
    let after = append_surely(&history, "a", "2");
    assert!(after > before);
    let mut item = tail.next();
    while !matches!(&item, TailItem::Record(r) if r.id() == after) {
        assert!(matches!(item, TailItem::Start(_)), "{item:?}");
        item = tail.next();
    }
    assert_eq!(
        read(&history, "a", before).0.map(|gap| gap.reason),
        Some(GapReason::Epoch)
    );
}

#[test]
fn an_older_data_set_under_a_running_server_is_noticed() {
    let server = Server::start_with(&["--save", "", "--enable-debug-command", "yes"]);
    let history = history_at(&server, "s");
    let tail = Followed::open(&history, None);
    tail.start();
    let kept = append_surely(&history, "a", "kept");
    tail.record();
    server.command_of(&["SAVE"]);
    let lost = append_surely(&history, "a", "lost");
    tail.record();
    server.command_of(&["DEBUG", "RELOAD", "NOSAVE"]);
    assert!(tail.start() > lost);
    let (gap, _) = read(&history, "a", kept);
    assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Expired));
    assert!(append_surely(&history, "a", "new") > lost);
}

#[test]
fn a_slow_server_leaves_an_append_unknown_and_a_key_settles_it() {
    let server = Server::start();
    let builder = builder_at(&server, "s")
        .connect_timeout(BRIEFLY)
        .response_timeout(BRIEFLY);
    let history = Arc::new(builder.build().expect("builds"));
    let tail = Followed::open(&history, None);
    tail.start();
    let first = append_surely(&history, "a", "1");
    assert_eq!(tail.record().id(), first);
    server.freeze();
    let keyed = || event("a", 2).key("k");
    let stored = block_on(history.append(keyed()));
    assert!(
        stored.as_ref().is_err_and(HistoryError::is_unknown),
        "{stored:?}"
    );
    // What is not even sent is not.
    let unsent = append(&history, "a", 3);
    assert!(is_unavailable(&unsent), "{unsent:?}");
    tail.interrupted();
    server.thaw();
    tail.resumed();
    let id = wait_for("an append", || block_on(history.append(keyed())).ok());
    assert_eq!(tail.record().id(), id);
    assert_eq!(read(&history, "a", first), (None, vec![id]), "stored once");
}

#[test]
fn a_full_server_refuses_and_stores_nothing() {
    let server = Server::start();
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    server.command_of(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.command_of(&["CONFIG", "SET", "maxmemory", "1"]);
    for topic in ["a", "b"] {
        let stored = append(&history, topic, 2);
        assert!(is_unavailable(&stored), "{stored:?}");
    }
    assert_eq!(
        read(&history, "all", first),
        (None, vec![]),
        "reading goes on"
    );
    server.command_of(&["CONFIG", "SET", "maxmemory", "0"]);
    let second = append(&history, "a", 2).expect("there is room");
    assert_eq!(read(&history, "all", first), (None, vec![second]));
}

#[test]
fn a_full_server_that_restarts_is_read() {
    let mut server = Server::start_with(&["--save", "", "--appendonly", "yes"]);
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    let second = append_surely(&history, "a", "2");
    server.kill();
    server.run_with(&["--maxmemory", "1"]);
    for topics in ["a", "*", "all"] {
        assert_eq!(
            read(&history, topics, LastEventId::none()).1,
            [first, second]
        );
    }
    let tail = Followed::open(&history, Some(first));
    assert!(
        tail.start() >= second,
        "it is not known to have lost nothing"
    );
    // It may have been sent on a connection that nobody knew to be gone.
    let _ = append(&history, "a", 3);
    let stored = append(&history, "a", 4);
    assert!(is_unavailable(&stored), "{stored:?}");
}

/// A stranger's value makes a script fail when it has written some of what it writes.
#[test]
fn records_are_sorted_again_after_that_failed_halfway() {
    let server = Server::start();
    for records in [64, 1_000] {
        let stream = server.new_stream();
        let builder = builder_at(&server, &stream).retention(records);
        let history = builder.build().expect("builds");
        let start = append(&history, "a", "first").expect("stored");
        let mut all = Vec::new();
        all.extend((0..150).map(|n| append(&history, "a", n).expect("stored")));
        // What is noted of a topic that grows, and of one that is new.
        for (key, new) in [("marks", "b"), ("topics", "c")] {
            let key = format!("{{{stream}}}:{key}");
            read(&history, "a", start);
            for n in 0..150 {
                all.push(append(&history, "a", n).expect("stored"));
            }
            let other = append(&history, new, 0).expect("stored");
            server.command_of(&["RENAME", &key, "kept"]);
            server.command_of(&["SET", &key, "not ours"]);
            for _ in 0..2 {
                let page = block_on(history.replay(&"a".into(), &start.into(), 1_000));
                assert!(is_failed(&page), "{key}: {page:?}");
            }
            server.command_of(&["RENAME", "kept", &key]);
            assert_eq!(read(&history, new, start), (None, vec![other]), "{key}");
            let (gap, found) = read(&history, "a", start);
            let (gone, left) = all.split_at(all.len() - found.len());
            assert_eq!(found, left, "{key}");
            assert!(found.len() >= all.len().min(records * 3 / 4), "{key}");
            assert_eq!(gap.map(|gap| gap.to), gone.last().copied(), "{key}");
        }
    }
}

#[test]
fn a_topic_outlives_an_age_limit_that_is_lifted() {
    let server = Server::start();
    let build = |retention: Retention| {
        let builder = builder_at(&server, "s").retention(retention);
        builder.build().expect("builds")
    };
    let time_left = || server.command_of(&["PTTL", "{s}:t:a"]);
    let limited = build(Retention::new().age(Duration::from_secs(3_600)));
    let first = append(&limited, "a", 1).expect("stored");
    read(&limited, "a", before(first));
    assert!(matches!(time_left(), redis::Value::Int(1..)));
    let unlimited = build(Retention::new());
    append(&unlimited, "a", 2).expect("stored");
    read(&unlimited, "a", before(first));
    assert_eq!(time_left(), redis::Value::Int(-1), "it has no end");
}

#[test]
fn who_may_not_is_told_that_it_fails() {
    let mut server = Server::start_with(&["--save", "", "--requirepass", "secret"]);
    for (login, expect) in [
        ("", "fails"),
        (":wrong@", "fails"),
        ("nobody:secret@", "fails"),
        ("reader:pass@", "fails"),
        ("fanfare:pass@", "works"),
        (":secret@", "works"),
    ] {
        server.login = ":secret@".to_owned();
        let set = |words: &[&str]| server.command_of(&[&["ACL", "SETUSER"], words].concat());
        set(&["reader", "on", ">pass", "~*", "+@read", "+info"]);
        // The rights that the front page lists.
        let keys = ["fanfare", "on", ">pass", "resetkeys", "~{s}:*"];
        set(&[&keys[..], &RIGHTS].concat());
        login.clone_into(&mut server.login);
        let history = history_at(&server, "s");
        let stored = append(&history, "a", 1);
        match expect {
            "works" => assert!(stored.is_ok(), "{login}: {stored:?}"),
            _ => {
                assert!(is_failed(&stored), "{login}: {stored:?}");
                assert!(!stored.expect_err("fails").is_retryable());
                let tail = Followed::open(&history, None);
                tail.interrupted();
            }
        }
    }
}

#[test]
fn forgotten_scripts_are_loaded_again() {
    let server = Server::start();
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    server.command_of(&["SCRIPT", "FLUSH"]);
    let second = append(&history, "a", 2).expect("stored");
    server.command_of(&["SCRIPT", "FLUSH"]);
    let page = block_on(history.replay(&"a".into(), &first.into(), 10)).expect("read");
    assert_eq!(page.records[0].id(), second);
}

#[test]
fn a_demoted_master_is_left_for_its_successor() {
    let server = Server::start();
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    let nowhere = support::free_port().to_string();
    server.command_of(&["REPLICAOF", "127.0.0.1", &nowhere]);
    let stored = append(&history, "a", 2);
    assert!(is_unavailable(&stored), "{stored:?}");
    server.command_of(&["REPLICAOF", "NO", "ONE"]);
    let second = append_surely(&history, "a", "2");
    assert!(second > first);
}

/// What says `LOADING` to connections that were there before: a replica does while it takes over its
/// master's data.
#[test]
fn a_server_that_loads_its_data_is_away_for_a_while() {
    let server = Server::start_with(&[
        "--save",
        "",
        "--enable-debug-command",
        "yes",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    let tail = Followed::open(&history, Some(first));
    assert_eq!(tail.start(), first);
    for n in 0..100 {
        server.command_of(&["SET", &format!("key {n}"), &"x".repeat(1_000)]);
    }
    // Microseconds.
    server.command_of(&["CONFIG", "SET", "key-load-delay", "10000"]);
    let stored = thread::scope(|scope| {
        scope.spawn(|| server.command_of(&["DEBUG", "RELOAD"]));
        let refused = wait_for("a refusal", || append(&history, "a", 2).err());
        assert!(is_unavailable::<()>(&Err(refused)));
        append_surely(&history, "a", "3")
    });
    // Some may have been stored before it began.
    let (gap, ids) = read(&history, "a", first);
    assert_eq!((gap, ids.last()), (None, Some(&stored)));
    let followed = ids.iter().map(|_| loop {
        match tail.next() {
            TailItem::Record(record) => break record.id(),
            TailItem::Interrupted(_) | TailItem::Resumed => {}
            other => panic!("{other:?}"),
        }
    });
    assert!(
        followed.eq(ids.iter().copied()),
        "nothing is lost or doubled"
    );
}

/// A name leads to the master, as Sentinel's scripts and proxies see to: connections that were there
/// before stay with the one that is a replica now, which says `READONLY`.
#[test]
fn a_failover_is_followed_where_the_name_leads() {
    let (old, new) = (Server::start(), Server::start());
    let port = |server: &Server| server.port.to_string();
    new.command_of(&["REPLICAOF", "127.0.0.1", &port(&old)]);
    let name = Arc::new(AtomicU16::new(old.port));
    let url = format!("redis://127.0.0.1:{}", forward(Arc::clone(&name)));
    let history = Arc::new(
        RedisHistory::builder(url)
            .stream("s")
            .build()
            .expect("builds"),
    );
    let first = append_surely(&history, "a", "1");
    let tail = Followed::open(&history, None);
    assert_eq!(tail.start(), first);
    wait_for("the replica", || {
        let last = new.command_of(&["HGET", "{s}:meta", "last"]);
        (last == redis::Value::BulkString(first.to_string().into())).then_some(())
    });

    new.command_of(&["REPLICAOF", "NO", "ONE"]);
    old.command_of(&["REPLICAOF", "127.0.0.1", &port(&new)]);
    name.store(new.port, Ordering::SeqCst);
    let stored = append(&history, "a", 2);
    assert!(is_unavailable(&stored), "{stored:?}");
    assert!(stored.expect_err("refused").is_retryable());
    let second = append_surely(&history, "a", "3");
    let at_new = history_at(&new, "s");
    assert_eq!(read(&at_new, "a", LastEventId::none()).1, [first, second]);
    let (gap, ids) = read(&history, "a", first);
    assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Expired));
    assert_eq!(
        ids,
        [second],
        "what the old master had answered last may be lost"
    );
    let mut starts = 0;
    let brought = loop {
        match tail.next() {
            TailItem::Record(record) => break record.id(),
            TailItem::Start(_) => starts += 1,
            _ => {}
        }
    };
    assert_eq!((brought, starts), (second, 1));
}

/// Takes connections on behalf of whoever has the name at the time.
fn forward(name: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let address = ("127.0.0.1", name.load(Ordering::SeqCst));
            let Ok(server) = TcpStream::connect(address) else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let ends = from
                    .try_clone()
                    .and_then(|from| Ok((from, to.try_clone()?)));
                let (mut from, mut to) = ends.expect("a file is free");
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[test]
fn a_promoted_replica_may_lack_what_its_master_had() {
    let master = Server::start_with(&EVERYTHING);
    let mut replica = Server::start_with(&EVERYTHING);
    let port = master.port.to_string();
    replica.command_of(&["REPLICAOF", "127.0.0.1", &port]);
    let at_master = history_at(&master, "s");
    let first = append_surely(&at_master, "a", "1");
    wait_for("the replica", || {
        let found: Option<String> = redis::cmd("HGET")
            .arg("{s}:meta")
            .arg("last")
            .query(&mut replica.connection())
            .ok()?;
        (found? == first.to_string()).then_some(())
    });
    replica.command_of(&["REPLICAOF", "NO", "ONE"]);
    let at_replica = history_at(&replica, "s");
    let second = append_surely(&at_replica, "a", "2");
    let (gap, ids) = read(&at_replica, "a", first);
    assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Expired));
    assert_eq!(ids, [second]);
    replica.kill();
}

#[test]
fn a_foreign_value_under_a_topics_key_is_replaced() {
    let server = Server::start();
    let history = history_at(&server, "s");
    let first = append_surely(&history, "a", "1");
    assert_eq!(read(&history, "a", before(first)), (None, vec![first]));
    server.command_of(&["SET", "{s}:t:a", "not a stream"]);
    let second = append(&history, "a", 2).expect("stored");
    let other = append(&history, "b", 3).expect("stored");
    assert_eq!(read(&history, "a", first), (None, vec![second]));
    let (gap, ids) = read(&history, "a", before(first));
    assert_eq!((gap.map(|gap| gap.to), ids), (Some(first), vec![second]));
    assert_eq!(read(&history, "b", first), (None, vec![other]));
}

#[test]
fn what_age_has_evicted_is_a_gap_after_its_topic_has_come_back() {
    let server = Server::start();
    let builder = builder_at(&server, "s").retention(Retention::new().age(BRIEFLY));
    let history = builder.build().expect("builds");
    let first = append(&history, "a", 1).expect("stored");
    read(&history, "a", first);
    wait_for("the topic to be gone", || {
        let exists = server.command_of(&["EXISTS", "{s}:t:a"]);
        (exists == redis::Value::Int(0)).then_some(())
    });
    let second = append(&history, "a", 2).expect("stored");
    let (gap, ids) = read(&history, "a", before(first));
    assert_eq!(gap.map(|gap| gap.to), Some(first));
    assert!(ids == [second] || ids.is_empty(), "{ids:?}");
}

#[test]
fn a_topic_too_many_is_refused_until_another_is_forgotten() {
    let server = Server::start();
    let build = |retention: Retention| {
        let builder = builder_at(&server, &server.new_stream()).retention(retention);
        builder.max_topics(2).build().expect("builds")
    };
    let history = build(Retention::new());
    for topic in ["a", "b", "a"] {
        append(&history, topic, 1).expect("there is room");
    }
    let stored = append(&history, "c", 1);
    assert!(
        matches!(stored, Err(HistoryError::TooManyTopics { limit: 2 })),
        "{stored:?}"
    );

    let history = build(Retention::new().age(BRIEFLY));
    let first = append(&history, "a", 1).expect("there is room");
    append(&history, "b", 1).expect("there is room");
    append_surely(&history, "c", "in the place of one that was quiet");
    // Nobody knows any more what was forgotten, but that something was.
    let gap = read(&history, "x", LastEventId::from(before(first))).0;
    assert_eq!(gap.map(|gap| gap.to), Some(first));
}

/// The place in front of an id.
fn before(id: EventId) -> EventId {
    match id.minor.checked_sub(1) {
        Some(minor) => EventId::new(id.major, minor),
        None => EventId::new(id.major - 1, u64::MAX),
    }
}
