//! Rights: what needs the token is refused without it, replay shows nothing that a live stream would not,
//! and a client's streams can be ended.
//!
//! `FANFARE_STREAMS` says among how many streams a client's hundred are ended: the test is the same, and
//! takes longer.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

use fanfare_contract::{
    chosen, each_framework, make_room_for, wait_for, Connection, Demo, End, Events, Redis, Request,
};
use serde_json::{json, Value};
use tempfile::TempDir;

const TOKEN: &str = "open-sesame";

/// What needs the token: for streams of events a ticket will do.
const GUARDED: [(&str, &str); 9] = [
    ("GET", "/events"),
    ("GET", "/events/news"),
    ("GET", "/poll"),
    ("GET", "/long-poll?wait=0"),
    ("GET", "/debug/streams"),
    ("POST", "/publish/news"),
    ("POST", "/echo"),
    ("POST", "/tickets"),
    ("DELETE", "/streams?client=127.0.0.1"),
];

fn guarded(framework: &str) -> Demo {
    Demo::start(framework, &["--metrics-every", "0", "--token", TOKEN])
}

fn request(method: &str, target: &str) -> Request {
    match method {
        "POST" => Request::post(target, "[]"),
        _ => Request::new(method, target),
    }
}

fn what_needs_the_token_is_refused_without_it(framework: &str) {
    let demo = guarded(framework);
    for (method, target) in GUARDED {
        let plain = request(method, target);
        for request in [
            plain.clone(),
            plain.clone().header("Authorization", "Bearer open-sesam"),
            plain.clone().header("Authorization", "Bearer "),
            plain
                .clone()
                .header("Authorization", "Basic b3Blbi1zZXNhbWU="),
            plain.clone().header("Authorization", TOKEN),
        ] {
            let answer = request.send(demo.addr());
            assert_eq!(answer.head.status, 401, "{method} {target}");
            assert_eq!(answer.head.all("www-authenticate"), ["Bearer"]);
            assert_eq!(answer.head.all("access-control-allow-origin"), ["*"]);
            assert!(answer.json()["error"].is_string(), "{method} {target}");
        }
        let shown = plain.header("Authorization", format!("Bearer {TOKEN}"));
        let status = shown.send(demo.addr()).head.status;
        assert!(matches!(status, 200 | 202), "{method} {target}: {status}");
    }
    for target in ["/", "/stats", "/metrics", "/debug"] {
        let status = Request::get(target).send(demo.addr()).head.status;
        assert_eq!(status, 200, "{target}");
    }
    let stats = demo.stats();
    assert_eq!(stats["published"], 2, "an event and its name: {stats}");
}

fn who_has_no_token_is_told_so_before_its_body_is_read(framework: &str) {
    let flags = [
        "--metrics-every",
        "0",
        "--token",
        TOKEN,
        "--body-timeout",
        "3600",
    ];
    let demo = Demo::start(framework, &flags);
    // Rocket looks at the first bytes before it routes. Then comes nothing more.
    for beginning in [14, 512] {
        for target in ["/publish/news", "/echo"] {
            let half = Request::post_in_part(target, 9_000, &vec![b'x'; beginning]);
            let status = half.send(demo.addr()).head.status;
            assert_eq!(status, 401, "{target}, {beginning} bytes");
        }
    }
}

/// On a listener that takes both, a client of IPv4 has an address of IPv6's.
fn a_client_of_ipv4_is_known_by_its_own_address(framework: &str) {
    let listener = TcpListener::bind("[::]:0");
    assert!(listener.is_ok(), "this test needs IPv6: {listener:?}");
    let demo = Demo::start(framework, &["--metrics-every", "0", "--host", "::"]);
    let server = (Ipv4Addr::LOCALHOST, demo.addr().port()).into();
    let mut events = Events::open(server, &Request::get("/events/news")).opened();
    let debug = Request::get("/debug/streams").send(server).json();
    assert_eq!(debug["streams"][0]["keys"], json!(["127.0.0.1"]), "{debug}");

    for (client, ended) in [("127.0.0.9", 0), ("::ffff:127.0.0.1", 1)] {
        let end = Request::new("DELETE", &format!("/streams?client={client}"));
        assert_eq!(
            end.send(server).json(),
            json!({ "ended": ended }),
            "{client}"
        );
    }
    let (_, end) = events.rest();
    assert_eq!(end, End::Clean);
}

/// Each process on a Redis takes the tickets of the others, once among all.
fn a_ticket_is_good_at_every_process_and_once(framework: &str) {
    let redis = Redis::start();
    let flags = ["--metrics-every", "0", "--redis", &redis.url(), "--token"];
    let start = |token| Demo::start_with_history(framework, &[&flags[..], &[token]].concat());
    let (one, two, stranger) = (start(TOKEN), start(TOKEN), start("another-token"));
    let ticket = || {
        let ticket = Request::post("/tickets?topics=news", "")
            .header("Authorization", format!("Bearer {TOKEN}"));
        let ticket = ticket.send(one.addr()).json()["ticket"].clone();
        ticket.as_str().expect("a ticket").to_owned()
    };
    let present = |demo: &Demo, ticket: &str| {
        let request = Request::get(&format!("/events/news?ticket={ticket}"));
        request.send(demo.addr()).head.status
    };

    // The first may come before the connection that remembers what was used.
    let used = wait_for("a stream at another process", || {
        let ticket = ticket();
        (present(&two, &ticket) == 200).then_some(ticket)
    });

    assert_eq!(present(&one, &used), 401);
    assert_eq!(present(&two, &used), 401);
    assert_eq!(present(&stranger, &ticket()), 401);
}

fn a_clients_streams_are_ended_and_no_other(framework: &str) {
    const ENDED: usize = 100;
    let count = chosen("FANFARE_STREAMS", 2_000);
    assert!(count >= ENDED, "{count} streams are too few");
    make_room_for(count);
    let max = count.to_string();
    let flags = ["--metrics-every", "0", "--max-clients", &max];
    let demo = Demo::start(framework, &flags);
    let request = Request::get("/events/news");
    let open = |last| {
        let client = Ipv4Addr::new(127, 0, 0, last);
        let connection = Connection::open_from(client, demo.addr());
        Events::of(connection.send(&request)).opened()
    };
    // Among the others, not before or after them.
    let is_ended = |n: usize| (n + 1) * ENDED / count > n * ENDED / count;
    let of = |n| (is_ended(n), open(if is_ended(n) { 9 } else { 1 }));
    let streams: Vec<(bool, Events)> = (0..count).map(of).collect();
    let (mut ending, mut staying): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|(is_ended, _)| *is_ended);
    let disconnect = |client: &str| {
        let request = Request::new("DELETE", &format!("/streams?client={client}"));
        let answer = request.send(demo.addr());
        (answer.head.status, answer.json())
    };

    assert_eq!(ending.len(), ENDED);
    let start = Instant::now();
    assert_eq!(disconnect("127.0.0.9"), (200, json!({ "ended": ENDED })));

    for (_, events) in &mut ending {
        let (_, end) = events.rest();
        assert_eq!(end, End::Clean);
    }
    let took = start.elapsed();
    println!(
        "{framework}: {ENDED} of {count} streams, from the request to the last end: {took:.2?}"
    );
    // Each is counted until its response has been dropped, which may be after its client has read the end.
    wait_for("the others to be counted", || {
        (demo.stats()["subscribers"] == staying.len()).then_some(())
    });
    let id = demo.publish("news", "still there");
    for (_, events) in &mut staying {
        assert_eq!(&*events.event().last_event_id, id);
    }
    // Nobody is there any more, which is no error.
    assert_eq!(disconnect("127.0.0.9"), (200, json!({ "ended": 0 })));
    for client in ["", "localhost", "127.0.0.9:80", "all", "%ff"] {
        let (status, answer) = disconnect(client);
        assert_eq!(status, 400, "{client}: {answer}");
        assert!(answer["error"].is_string());
    }
}

/// Topics of which the clients below may see some.
const TOPICS: [&str; 5] = ["news", "secret", "orders.eu", "orders.us.paid", "newsroom"];

/// Publishes to every topic in turn. Returns the ids.
fn publish_to_all(demo: &Demo) -> Vec<(String, &'static str)> {
    let authorized = |topic: &str| {
        let request = Request::post(&format!("/publish/{topic}"), topic);
        request.header("Authorization", format!("Bearer {TOKEN}"))
    };
    let publish = |topic| {
        let answer = authorized(topic).send(demo.addr());
        assert_eq!(answer.head.status, 202, "{topic}");
        let id = answer.json()["id"].as_str().map(str::to_owned);
        (id.expect("an id"), topic)
    };
    let topics = TOPICS.iter().cycle().take(4 * TOPICS.len());
    topics.map(|&topic| publish(topic)).collect()
}

/// Has clients come back to where they had seen the first event, with a ticket for their topics and
/// with the token. Of what was published after it they are sent what is theirs, and nothing else.
fn is_shown_its_own(demo: &Demo, published: &[(String, &str)]) {
    let bearer = format!("Bearer {TOKEN}");
    let ((first, _), rest) = published.split_first().expect("some were published");
    for (topics, own) in [
        ("news", &["news"][..]),
        ("orders.*", &["orders.eu"]),
        ("orders.%3E,news", &["orders.eu", "orders.us.paid", "news"]),
    ] {
        let ticket = Request::post(&format!("/tickets?topics={topics}"), "");
        let ticket = ticket.header("Authorization", &bearer).send(demo.addr());
        let ticket = ticket.json()["ticket"].as_str().map(str::to_owned);
        let ticket = ticket.expect("a ticket");
        let target = format!("/events/{topics}");
        let with_ticket = format!("{target}?ticket={ticket}");
        for (how, request) in [
            (
                "the token",
                Request::get(&target).header("Authorization", &bearer),
            ),
            ("a ticket", Request::get(&with_ticket)),
        ] {
            let request = request.header("Last-Event-ID", first);
            let mut events = Events::open(demo.addr(), &request);
            // Published when the stream is there, to one of its topics: it comes behind all else.
            let last = Request::post(&format!("/publish/{}", own[0]), "the last");
            let last = last.header("Authorization", &bearer).send(demo.addr());
            let last = last.json()["id"].as_str().map(str::to_owned);
            let last = last.expect("an id");

            let seen = events.up_to(&last).into_iter();
            // Those of streams before this one have been replayed, too.
            let seen = seen.filter(|message| message.data != "the last");
            let seen: Vec<(String, String)> = seen
                .map(|message| (message.last_event_id.to_string(), message.data))
                .collect();
            let expect: Vec<(String, String)> = rest
                .iter()
                .filter(|(_, topic)| own.contains(topic))
                .map(|(id, topic)| (id.clone(), (*topic).to_owned()))
                .collect();
            assert_eq!(seen, expect, "{topics} with {how}");
            let received = String::from_utf8_lossy(events.received());
            let names = received
                .lines()
                .filter_map(|line| line.strip_prefix("event: "));
            for name in names {
                assert!(own.contains(&name), "{topics} with {how}: {name}");
            }
        }
    }
}

fn replay_shows_no_event_of_another_topic(framework: &str) {
    let demo = guarded(framework);
    is_shown_its_own(&demo, &publish_to_all(&demo));

    // And where the events come from a backend, since the process has none of them.
    let directory = TempDir::new().expect("a folder for a history");
    let directory = directory.path().display().to_string();
    let flags = ["--metrics-every", "0", "--token", TOKEN];
    let mut demo = Demo::start_with_history(
        framework,
        &[&flags[..], &["--data-dir", &directory]].concat(),
    );
    let published = publish_to_all(&demo);
    demo.kill_9();
    demo.restart();
    is_shown_its_own(&demo, &published);
}

fn who_is_where_can_be_seen(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let id = demo.publish("news", "x");
    let _events = Events::open(demo.addr(), &Request::get("/events/news,orders.%3E")).opened();

    let debug = Request::get("/debug/streams").send(demo.addr()).json();

    assert_eq!(debug["subscribers"], 1, "{debug}");
    assert_eq!(debug["last"], id, "{debug}");
    assert_eq!(debug["draining"], false, "{debug}");
    assert_eq!(debug["topics"]["news"]["newest"], id, "{debug}");
    let stream = &debug["streams"][0];
    assert_eq!(stream["keys"], json!(["127.0.0.1"]), "{debug}");
    assert_eq!(stream["topics"], "news,orders.>", "{debug}");
    assert_eq!(stream["behind"], 0, "{debug}");
    assert!(
        stream["age"].as_f64().is_some_and(|age| age >= 0.0),
        "{debug}"
    );
    assert_eq!(debug["streams"].as_array().map(Vec::len), Some(1));
    assert_ne!(debug["topics"]["topics"], Value::Null, "{debug}");
}

each_framework!(
    what_needs_the_token_is_refused_without_it,
    replay_shows_no_event_of_another_topic,
    who_has_no_token_is_told_so_before_its_body_is_read,
    a_client_of_ipv4_is_known_by_its_own_address,
    a_ticket_is_good_at_every_process_and_once,
    a_clients_streams_are_ended_and_no_other,
    who_is_where_can_be_seen,
);
