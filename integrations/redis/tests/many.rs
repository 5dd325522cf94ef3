//! Many at once: instances and processes on one log, broadcasters on top, nodes of a cluster, TLS.

mod support;

use std::collections::BTreeSet;
#[cfg(feature = "tls")]
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use fanfare_core::history::{Append, History, Retention};
use fanfare_core::{
    Broadcaster, Decoded, Decoder, Event, EventId, KeepAlive, LastEventId, Record, Subscriber,
    Topic, Topics,
};
use fanfare_redis::RedisHistory;
use futures_lite::future::{block_on, poll_once};
use futures_lite::StreamExt;
use support::{
    append, append_surely, builder_at, event, history_at, read, wait_for, Followed, Server,
    DEADLINE,
};

/// Of a process that this test starts of itself: the server's port.
const PORT: &str = "FANFARE_REDIS_TEST_PORT";

const EACH: usize = 2_000;

fn roomy(server: &Server) -> fanfare_redis::Builder {
    builder_at(server, "s").retention(Retention::new().records(100_000).bytes(64 << 20))
}

/// The part of a process of its own.
#[test]
fn appends_as_it_is_told() {
    let Ok(port) = std::env::var(PORT) else {
        return;
    };
    let url = format!("redis://127.0.0.1:{port}");
    let retention = Retention::new().records(100_000).bytes(64 << 20);
    let history = RedisHistory::builder(url).stream("s").retention(retention);
    append_many(&history.build().expect("builds"));
}

fn append_many(history: &RedisHistory) -> Vec<EventId> {
    let topics = ["a", "b", "c"];
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let all = (0..EACH / 4)
                        .map(|n| append(history, topics[(thread + n) % 3], n).expect("stored"));
                    all.collect::<Vec<_>>()
                })
            })
            .collect();
        let ids = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ids.flatten().collect()
    })
}

fn another_process(server: &Server) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command
        .args(["--exact", "appends_as_it_is_told"])
        .env(PORT, server.port.to_string());
    command.stdout(Stdio::null()).spawn().expect("started")
}

#[test]
fn processes_and_instances_share_one_order() {
    let server = Server::start();
    let instances = [0; 3].map(|_| Arc::new(roomy(&server).build().expect("builds")));
    let tails: Vec<_> = instances.iter().map(|i| Followed::open(i, None)).collect();
    let starts: Vec<_> = tails.iter().map(Followed::start).collect();
    let children = [0; 2].map(|_| another_process(&server));
    let own: Vec<EventId> = thread::scope(|scope| {
        let running = instances.each_ref().map(|i| scope.spawn(|| append_many(i)));
        running
            .into_iter()
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    for mut child in children {
        assert!(child.wait().expect("a child").success());
    }
    let total = 5 * EACH;
    let orders: Vec<Vec<EventId>> = tails
        .iter()
        .map(|tail| (0..total).map(|_| tail.record().id()).collect())
        .collect();
    assert!(orders[0].windows(2).all(|pair| pair[0] < pair[1]));
    for (order, start) in orders.iter().zip(&starts) {
        assert_eq!(order, &orders[0], "one order for all");
        assert!(order[0] > *start);
    }
    let all: BTreeSet<_> = orders[0].iter().copied().collect();
    assert!(
        own.iter().all(|id| all.contains(id)),
        "every id that was handed out is there"
    );
    // And so it is read: what the log's own stream still holds, and what it does not.
    let mut pages = Vec::new();
    let (topics, mut after) = ("all".into(), LastEventId::from(starts[0]));
    while pages.len() < total {
        let page = block_on(instances[0].replay(&topics, &after, 1_000)).expect("read");
        assert_eq!(page.gap, None);
        pages.extend(page.records.iter().map(Record::id));
        after = page.last.into();
    }
    assert_eq!(pages, orders[0]);
}

#[test]
fn a_wide_page_older_than_the_logs_own_stream_comes_from_the_topics() {
    let server = Server::start();
    let history = roomy(&server).build().expect("builds");
    let quiet = append(&history, "quiet", 0).expect("stored");
    let mut all = vec![quiet];
    for _ in 0..8 {
        all.extend(append_many(&history));
    }
    all.sort_unstable();
    let log: usize = redis::cmd("XLEN")
        .arg("{s}:log")
        .query(&mut server.connection())
        .expect("is");
    assert!(log < all.len(), "the log's own stream has been cut");
    for (topics, expect) in [
        ("all", &all[..]),
        ("*", &all[..]),
        ("quiet,x", &[quiet][..]),
    ] {
        let (mut found, mut after) = (Vec::new(), LastEventId::none());
        while found.len() < expect.len() {
            let page = block_on(history.replay(&topics.into(), &after, 700)).expect("read");
            assert_eq!(page.gap, None);
            found.extend(page.records.iter().map(Record::id));
            assert_ne!(after, page.last.into(), "it leads on");
            after = page.last.into();
        }
        assert_eq!(found, expect, "{topics}");
    }
}

/// Appends as many as can be under way at once, and waits for all of them.
fn append_together(history: &RedisHistory, appends: impl Iterator<Item = Append>) -> Vec<EventId> {
    let mut waiting: Vec<_> = appends.map(|append| history.append(append)).collect();
    // From now on each is on its way.
    let begun = waiting.iter_mut().map(|append| block_on(poll_once(append)));
    let begun: Vec<_> = begun.collect();
    let answers = begun.into_iter().zip(waiting);
    let answers = answers.map(|(early, append)| early.unwrap_or_else(|| block_on(append)));
    answers.map(|id| id.expect("stored")).collect()
}

#[test]
fn any_number_of_topics_comes_together() {
    let server = Server::start();
    let history = roomy(&server).build().expect("builds");
    let topic = |n| Topic::new(format!("t.{n}")).expect("a topic");
    let appends = |range: std::ops::Range<u32>| {
        range.map(move |n| Append::new(topic(n), &Event::data(n.to_string())))
    };
    let mut all = append_together(&history, appends(0..5_000));
    all.extend(append_together(&history, appends(2_500..7_500)));
    let one = Topics::from("t.2500,t.2501");
    let page = block_on(history.replay(&one, &LastEventId::none(), 10)).expect("read");
    let found: Vec<_> = page.records.iter().map(Record::id).collect();
    assert_eq!(found, [all[2_500], all[2_501], all[5_000], all[5_001]]);
    let (mut found, mut after) = (Vec::new(), LastEventId::none());
    while found.len() < all.len() {
        let page = block_on(history.replay(&Topics::all(), &after, 1_000)).expect("read");
        assert_eq!(page.gap, None);
        found.extend(page.records.iter().map(Record::id));
        assert_ne!(after, page.last.into(), "it leads on");
        after = page.last.into();
    }
    assert_eq!(found, all);
}

#[test]
fn a_full_topic_is_cut_at_exactly_the_place_that_a_gap_names() {
    let server = Server::start();
    for (records, round) in [(64, 7), (1_000, 90), (1_000, 1), (1_000, 1_500), (63, 10)] {
        let builder = builder_at(&server, &server.new_stream());
        let retention = Retention::new().records(records);
        let history = builder.retention(retention).build().expect("builds");
        let mut all = Vec::new();
        let start = append(&history, "b", 0).expect("stored");
        while all.len() < 4 * records {
            let appends = (0..round).map(|n| event("a", n));
            all.extend(append_together(&history, appends));
            // What is read now and then comes in smaller pieces into its topic.
            let place = LastEventId::from(all[all.len() / 3]);
            let page = block_on(history.replay(&"a".into(), &place, 10)).expect("read");
            let next = page.records.first().map(Record::id);
            assert!(page.gap.is_some() || next == all.get(all.len() / 3 + 1).copied());
        }
        let (mut found, mut gaps, mut after) = (Vec::new(), Vec::new(), start.into());
        while found.last() != all.last() {
            let page = block_on(history.replay(&"a".into(), &after, 100)).expect("read");
            gaps.extend(page.gap);
            found.extend(page.records.iter().map(Record::id));
            after = page.last.into();
        }
        assert_eq!(found, all[all.len() - found.len()..], "{records}, {round}");
        let least = if records < 64 {
            records
        } else {
            records * 3 / 4
        };
        assert!((least..=records).contains(&found.len()), "{}", found.len());
        let evicted = all[all.len() - found.len() - 1];
        let told: Vec<_> = gaps.iter().map(|gap| gap.to).collect();
        assert_eq!(told, [evicted], "{records}, {round}");
    }
}

/// One client of a broadcaster, and what it sees: ids, and `gap`.
struct Client {
    stream: Subscriber,
    decoder: Decoder,
    seen: Vec<String>,
}

impl Client {
    fn open(hub: &Broadcaster, after: impl Into<LastEventId>) -> Self {
        let stream = hub
            .subscribe("a")
            .after(after.into())
            .open()
            .expect("admitted");
        Self {
            stream,
            decoder: Decoder::new(),
            seen: Vec::new(),
        }
    }

    /// Reads until an event with this id has come.
    #[track_caller]
    fn until(&mut self, id: EventId) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let id = id.to_string();
        while !self.seen.contains(&id) {
            match block_on(poll_once(self.stream.next())) {
                Some(bytes) => {
                    let bytes = bytes.expect("the stream stays open");
                    self.decoder.feed(&bytes).expect("is within limits");
                    for decoded in self.decoder.by_ref() {
                        if let Decoded::Event(message) = decoded {
                            let is_gap = &*message.name == "gap";
                            let id = message.last_event_id.to_string();
                            self.seen.push(if is_gap { "gap".to_owned() } else { id });
                        }
                    }
                }
                None => thread::sleep(std::time::Duration::from_millis(2)),
            }
            assert!(
                Instant::now() < until,
                "waited for {id}, and saw {:?}",
                self.seen
            );
        }
        std::mem::take(&mut self.seen)
    }
}

fn hub(server: &Server) -> Broadcaster {
    let hub = Broadcaster::builder()
        .keep_alive(KeepAlive::off())
        .backend(builder_at(server, "s").build().expect("builds"))
        .build();
    is_ready(&hub, true);
    hub
}

#[track_caller]
fn is_ready(hub: &Broadcaster, wanted: bool) {
    wait_for("the backend's readiness", || {
        let backend = hub.stats().backend.expect("there is one");
        (backend.is_ready == wanted).then_some(())
    });
}

fn publish(hub: &Broadcaster) -> EventId {
    wait_for("a publish", || {
        block_on(hub.publish("a", Event::data("x"))).ok()
    })
}

#[test]
fn streams_stay_open_over_a_restart_that_loses_nothing() {
    let mut server = Server::start_with(&[
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]);
    let (here, there) = (hub(&server), hub(&server));
    let first = publish(&here);
    let (mut one, mut two) = (Client::open(&here, first), Client::open(&there, first));
    let mut expect = Vec::new();
    for _ in 0..3 {
        expect.push(publish(&here).to_string());
        server.kill();
        is_ready(&here, false);
        server.run();
        expect.push(publish(&there).to_string());
    }
    let last = publish(&here);
    expect.push(last.to_string());
    assert_eq!(one.until(last), expect);
    assert_eq!(two.until(last), expect);
}

#[test]
fn streams_stay_open_over_a_loss_and_are_told() {
    let mut server = Server::start();
    let (here, there) = (hub(&server), hub(&server));
    let first = publish(&here);
    let mut clients = [Client::open(&here, first), Client::open(&there, first)];
    let second = publish(&there);
    for client in &mut clients {
        assert_eq!(client.until(second), [second.to_string()]);
    }
    server.kill();
    is_ready(&here, false);
    is_ready(&there, false);
    server.run();
    is_ready(&here, true);
    is_ready(&there, true);
    let third = publish(&here);
    for client in &mut clients {
        assert_eq!(client.until(third), ["gap".to_owned(), third.to_string()]);
    }
    let mut returned = Client::open(&here, second);
    assert_eq!(returned.until(third), ["gap".to_owned(), third.to_string()]);
}

#[test]
fn a_cluster_is_followed_to_the_node_that_has_the_log() {
    let [empty, full] = &Server::cluster();
    let history = history_at(empty, "s");
    let tail = Followed::open(&history, None);
    let first = append_surely(&history, "a", "1");
    let keys: usize = redis::cmd("DBSIZE")
        .query(&mut full.connection())
        .expect("a number");
    assert!(keys > 0);
    let start = tail.start();
    let second = append_surely(&history, "b", "2");
    let ids = read(&history, "all", LastEventId::none());
    assert_eq!(ids, (None, vec![first, second]));
    if start < first {
        assert_eq!(tail.record().id(), first);
    }
    assert_eq!(tail.record().id(), second);
}

#[test]
fn a_replica_of_a_cluster_leads_to_the_node_that_has_the_log() {
    let [other, full] = &Server::cluster();
    let id: String = redis::cmd("CLUSTER")
        .arg("MYID")
        .query(&mut full.connection())
        .expect("an id");
    let mut connection = other.connection();
    let mut replicate = redis::cmd("CLUSTER");
    replicate.arg("REPLICATE").arg(&id);
    wait_for("the nodes to know each other", || {
        replicate.query::<()>(&mut connection).ok()
    });
    wait_for("a replica", || {
        let info: String = redis::cmd("INFO").query(&mut connection).ok()?;
        info.contains("master_link_status:up").then_some(())
    });
    let history = history_at(other, "s");
    let tail = Followed::open(&history, None);
    let id = append_surely(&history, "a", "1");
    if tail.start() < id {
        assert_eq!(tail.record().id(), id);
    }
    assert_eq!(read(&history, "all", LastEventId::none()), (None, vec![id]));
}

#[cfg(feature = "tls")]
#[test]
fn tls_and_a_password_of_a_users_own() {
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let port = support::free_port().to_string();
    let file = |path: &std::path::Path| path.to_str().expect("is text").to_owned();
    let mut server = Server::prepare(&[
        "--save",
        "",
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file(&certificate),
        "--tls-key-file",
        &file(&key),
        "--user",
        "default",
        "off",
        "--user",
        "fanfare",
        "on",
        ">p:a@s/s",
        "~*",
        "+@all",
    ]);
    server.run();
    wait_for("the port of TLS", || {
        TcpStream::connect(format!("127.0.0.1:{port}")).ok()
    });
    let build = |login: &str, root: Option<String>| {
        let url = format!("rediss://{login}@localhost:{port}");
        let mut builder = RedisHistory::builder(url).stream("s");
        if let Some(root) = root {
            builder = builder.root_certificates(root);
        }
        Arc::new(builder.build().expect("builds"))
    };
    let history = build("fanfare:p%3Aa%40s%2Fs", Some(made.cert.pem()));
    let tail = Followed::open(&history, None);
    tail.start();
    let id = append_surely(&history, "a", "1");
    assert_eq!(tail.record().id(), id);

    let wrong = build("fanfare:wrong", Some(made.cert.pem()));
    let stored = append(&wrong, "a", 1);
    assert!(
        stored.as_ref().is_err_and(|error| !error.is_retryable()),
        "{stored:?}"
    );
    let untrusted = build("fanfare:p%3Aa%40s%2Fs", None);
    let stored = append(&untrusted, "a", 1);
    assert!(
        stored.as_ref().is_err_and(|error| !error.is_retryable()),
        "{stored:?}"
    );
}
