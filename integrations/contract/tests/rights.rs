//! Rights: what needs the token is refused without it, and a client's streams can be ended.

use std::net::{Ipv4Addr, TcpListener};

use fanfare_contract::{
    each_framework, room_for, wait_for, Connection, Demo, End, Events, Redis, Request,
};
use serde_json::{json, Value};

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
    if TcpListener::bind("[::]:0").is_err() {
        println!("there is no IPv6 here");
        return;
    }
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
    const STREAMS: usize = 2_000;
    const ENDED: usize = 100;
    let streams = room_for(STREAMS);
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let request = Request::get("/events/news");
    let open = |last| {
        let client = Ipv4Addr::new(127, 0, 0, last);
        let connection = Connection::open_from(client, demo.addr());
        Events::of(connection.send(&request)).opened()
    };
    // Among the others, not before or after them.
    let is_ended = |n: usize| n % (STREAMS / ENDED) == 7;
    let of = |n| (is_ended(n), open(if is_ended(n) { 9 } else { 1 }));
    let streams: Vec<(bool, Events)> = (0..streams).map(of).collect();
    let (mut ending, mut staying): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|(is_ended, _)| *is_ended);
    let disconnect = |client: &str| {
        let request = Request::new("DELETE", &format!("/streams?client={client}"));
        let answer = request.send(demo.addr());
        (answer.head.status, answer.json())
    };

    let ended = ending.len();
    assert_eq!(disconnect("127.0.0.9"), (200, json!({ "ended": ended })));

    for (_, events) in &mut ending {
        let (_, end) = events.rest();
        assert_eq!(end, End::Clean);
    }
    assert_eq!(demo.stats()["subscribers"], staying.len());
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
    who_has_no_token_is_told_so_before_its_body_is_read,
    a_client_of_ipv4_is_known_by_its_own_address,
    a_ticket_is_good_at_every_process_and_once,
    a_clients_streams_are_ended_and_no_other,
    who_is_where_can_be_seen,
);
