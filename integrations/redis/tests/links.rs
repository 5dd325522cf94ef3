//! What is answered on a connection that breaks, or on one that has been made anew, belongs to those who
//! asked; and nobody asks for a connection without a pause.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fanfare_core::history::{History, HistoryError, Retention, TailItem};
use fanfare_core::{EventId, LastEventId, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::{block_on, poll_once};
use support::way::{Passage, Way};
use support::{append, append_surely, builder_at, event, history_at, wait_for, Followed, Server};

const PUBLISHERS: usize = 64;

/// How often a connection is broken.
const BREAKS: usize = 60;

type Outcome = (String, Result<EventId, HistoryError>);

/// The clients of a server other than the one that asks.
fn clients(connection: &mut redis::Connection) -> BTreeSet<u64> {
    let own: u64 = redis::cmd("CLIENT")
        .arg("ID")
        .query(connection)
        .expect("is");
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query(connection)
        .expect("is");
    let ids = list.lines().filter_map(|line| {
        let id = line.split(' ').next()?.strip_prefix("id=")?;
        id.parse().ok()
    });
    ids.filter(|id| *id != own).collect()
}

fn kill(connection: &mut redis::Connection, id: u64) -> bool {
    let mut command = redis::cmd("CLIENT");
    let killed: i64 = command
        .arg("KILL")
        .arg("ID")
        .arg(id)
        .query(connection)
        .expect("is");
    killed > 0
}

fn ask(history: &RedisHistory) {
    let topics = Topics::from("nothing");
    let _ = block_on(history.replay(&topics, &LastEventId::none(), 1));
}

/// Publishes from many threads while something is done, and says what each was told.
fn publish_meanwhile(history: &RedisHistory, work: impl FnOnce()) -> Vec<Outcome> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publish = |publisher| {
            let is_over = &is_over;
            move || {
                let mut told = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let text = format!("{publisher}.{}", told.len());
                    let outcome = append(history, "a", &text);
                    told.push((text, outcome));
                }
                told
            }
        };
        let publishers: Vec<_> = (0..PUBLISHERS).map(|n| scope.spawn(publish(n))).collect();
        work();
        is_over.store(true, Ordering::Relaxed);
        let told = publishers.into_iter();
        told.flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}

/// All that the log holds of the topic.
fn stored(history: &RedisHistory, after: EventId) -> BTreeMap<EventId, String> {
    let (topics, mut after) = (Topics::from("a"), LastEventId::from(after));
    let mut all = BTreeMap::new();
    loop {
        let page = wait_for("a page", || {
            block_on(history.replay(&topics, &after, 10_000)).ok()
        });
        assert_eq!(page.gap, None);
        if after == page.last.into() {
            return all;
        }
        for record in &page.records {
            let data = record.message().expect("it is a message").data;
            all.insert(record.id(), data);
        }
        after = page.last.into();
    }
}

/// Every answer is that of what was published.
fn verify(told: &[Outcome], stored: &BTreeMap<EventId, String>) {
    let texts: BTreeSet<_> = stored.values().collect();
    for (text, outcome) in told {
        match outcome {
            Ok(id) => assert_eq!(stored.get(id), Some(text), "at {id}"),
            Err(HistoryError::Unknown(_)) => {}
            Err(error) => assert!(!texts.contains(text), "{text} is stored, and yet: {error}"),
        }
    }
}

fn roomy(server: &Server) -> RedisHistory {
    let retention = Retention::new().records(1 << 20).bytes(1 << 30);
    let builder = builder_at(server, "s").retention(retention);
    builder.build().expect("builds")
}

#[test]
fn another_connection_that_breaks_confuses_no_answers() {
    let server = Server::start();
    let history = roomy(&server);
    let first = append(&history, "a", "first").expect("stored");
    let mut connection = server.connection();
    let [writer] = clients(&mut connection)
        .into_iter()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|clients| panic!("{clients:?}, and not one that stores"));
    let told = publish_meanwhile(&history, || {
        for _ in 0..BREAKS {
            ask(&history);
            let mut others = clients(&mut connection);
            others.remove(&writer);
            for other in others {
                kill(&mut connection, other);
            }
        }
        ask(&history);
    });
    let refused = told.iter().find(|(_, outcome)| outcome.is_err());
    assert!(refused.is_none(), "{refused:?}");
    verify(&told, &stored(&history, first));
}

#[test]
fn the_connection_that_stores_breaks_and_nobody_has_anothers_answer() {
    let server = Server::start();
    let history = roomy(&server);
    ask(&history);
    let mut connection = server.connection();
    let first = append(&history, "a", "first").expect("stored");
    let told = publish_meanwhile(&history, || {
        for _ in 0..BREAKS {
            wait_for("a connection to break", || {
                let clients = clients(&mut connection);
                // Of both threads; what was made last among them.
                let broken = clients.last().copied();
                broken.filter(|id| kill(&mut connection, *id))
            });
            append_surely(&history, "b", "it is back");
        }
    });
    let unknown = |(_, outcome): &&Outcome| outcome.is_err();
    assert!(
        told.iter().filter(unknown).count() > 0,
        "some were under way"
    );
    verify(&told, &stored(&history, first));
}

/// A new life of the log begins, and retention evicts some of an entry, before this process looks.
#[test]
fn a_tail_is_not_held_up_by_what_was_evicted_amid_an_entry() {
    const EVENTS: usize = 64;
    let server = Server::start();
    let way = Way::to(&server);
    let retention = Retention::new().records(3);
    let build = |url: String| {
        let builder = RedisHistory::builder(url).stream("s").retention(retention);
        Arc::new(builder.build().expect("builds"))
    };
    let (here, there) = (build(way.url()), build(server.url()));
    let tail = Followed::open(&here, None);
    tail.start();
    let before = append_surely(&there, "a", "before");
    assert_eq!(tail.record().id(), before);

    way.set(Passage::Held);
    server.command_of(&["FLUSHALL"]);
    // Many come in one entry.
    server.freeze();
    let mut appends: Vec<_> = (0..EVENTS).map(|n| there.append(event("a", n))).collect();
    let begun = appends.iter_mut().map(|append| block_on(poll_once(append)));
    assert!(begun.flatten().next().is_none());
    server.thaw();
    let ids = appends.into_iter().map(block_on);
    let ids: Vec<_> = ids.map(|id| id.expect("stored")).collect();
    let (_, left) = support::read(&there, "a", ids[0]);
    assert_eq!(left, ids[EVENTS - 3..]);
    way.set(Passage::Free);

    let mut start = tail.start();
    let mut seen = Vec::new();
    while seen.last() != ids.last() {
        match tail.next() {
            TailItem::Record(record) => seen.push(record.id()),
            // The news came before the server was asked where its log stands.
            TailItem::Start(id) => start = id,
            other => panic!("{other:?}"),
        }
    }
    seen.retain(|id| *id > start);
    let from = ids.partition_point(|id| *id <= start);
    assert_eq!(seen, ids[from..]);
}

#[test]
fn connections_that_break_at_once_are_made_with_pauses() {
    let server = Server::start();
    let way = Way::to(&server);
    way.set(Passage::Cut);
    let (begun, history) = (Instant::now(), history_at_url(&way.url()));
    let tail = Followed::open(&history, None);
    tail.interrupted();
    // One of the thread that stores, six of each that reads: the second at once, and of the pauses
    // before the other four none is shorter than half of 50, 100, 200 and 400 ms.
    wait_for("many connections", || {
        (way.connections() >= 13).then_some(())
    });
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(300), "{took:?}");
    way.set(Passage::Free);
    tail.start();
}

#[test]
fn a_server_that_never_knows_a_script_is_away() {
    let server = Server::start();
    let way = Way::to(&server);
    let history = history_at_url(&way.url());
    append_surely(&history, "a", "1");
    way.set(Passage::Garbled);
    let tail = Followed::open(&history, None);
    tail.interrupted();
    let stored = append(&history, "a", 2);
    let error = stored.expect_err("the script is unknown");
    assert!(matches!(error, HistoryError::Unavailable(_)), "{error:?}");
    let cause = std::error::Error::source(&error).expect("it is told");
    assert!(cause.to_string().contains("No matching script"), "{cause}");
    way.set(Passage::Free);
    tail.start();
    append_surely(&history, "a", "3");
}

fn history_at_url(url: &str) -> Arc<RedisHistory> {
    let builder = RedisHistory::builder(url).stream("s");
    Arc::new(builder.build().expect("builds"))
}

#[test]
fn what_the_urls_protocol_is_does_not_matter() {
    let server = Server::start();
    let history = history_at_url(&format!("{}?protocol=resp3", server.url()));
    let tail = Followed::open(&history, None);
    tail.start();
    let id = append_surely(&history, "a", "1");
    assert_eq!(tail.record().id(), id);
    for topics in ["a", "*", "all"] {
        assert_eq!(support::read(&history, topics, LastEventId::none()).1, [id]);
    }
    let other = history_at(&server, "s");
    assert_eq!(support::read(&other, "a", LastEventId::none()).1, [id]);
}
