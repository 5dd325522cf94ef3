//! What every answer looks like on the wire: the stream's headers and first bytes, its keep-alive,
//! its refusals, and the routes beside it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fanfare_contract::{
    each_framework, notices_disconnects_at_once, wait_for, Demo, End, Events, Head, Item, Piece,
    Request, DEADLINE,
};
use fanfare_core::Decoded;
use serde_json::{json, Value};

/// Only the test's own events, and no keep-alive while it runs.
const QUIET: [&str; 4] = ["--metrics-every", "0", "--keep-alive", "3600"];

fn quiet(framework: &str, flags: &[&str]) -> Demo {
    Demo::start(framework, &[&QUIET, flags].concat())
}

/// Checks the headers of a stream.
#[track_caller]
fn is_a_stream(head: &Head) {
    assert_eq!(head.status, 200);
    assert_eq!(head.all("content-type"), ["text/event-stream"]);
    assert_eq!(head.all("cache-control"), ["no-cache, no-transform"]);
    assert_eq!(head.all("x-accel-buffering"), ["no"]);
    assert_eq!(head.all("access-control-allow-origin"), ["*"]);
    for name in ["connection", "content-length"] {
        assert_eq!(head.all(name), [""; 0], "{name}");
    }
}

fn the_first_bytes_come_at_once(framework: &str) {
    let demo = quiet(framework, &[]);
    let mut response = Request::get("/events").send(demo.addr());
    is_a_stream(&response.head);
    assert_eq!(response.head.all("transfer-encoding"), ["chunked"]);
    assert_eq!(
        response.body.next(DEADLINE),
        Piece::Chunk(b"retry: 2000\n".to_vec())
    );
}

fn an_event_is_on_the_wire_as_it_was_published(framework: &str) {
    let demo = quiet(framework, &["--retry", "1234"]);
    let mut events = Events::open(demo.addr(), &Request::get("/events/greetings"));

    let id = demo.publish("greetings", "two\nlines");
    let message = events.event();

    assert_eq!(
        (&*message.name, &*message.data),
        ("greetings", "two\nlines")
    );
    let wire = format!("id: {id}\nevent: greetings\ndata: two\ndata: lines\n\n");
    assert_eq!(
        String::from_utf8_lossy(events.received()),
        format!("retry: 1234\n{wire}")
    );
}

fn one_event_is_one_chunk(framework: &str) {
    let demo = quiet(framework, &[]);
    let mut response = Request::get("/events/numbers").send(demo.addr());
    let opening = response.body.next(DEADLINE);
    assert_eq!(opening, Piece::Chunk(b"retry: 2000\n".to_vec()));

    for n in 0..20 {
        let id = demo.publish("numbers", n.to_string());
        let event = format!("id: {id}\nevent: numbers\ndata: {n}\n\n");
        assert_eq!(
            response.body.next(DEADLINE),
            Piece::Chunk(event.into_bytes())
        );
    }
}

fn an_event_can_have_a_name_of_its_own(framework: &str) {
    let demo = quiet(framework, &[]);
    let mut events = Events::open(demo.addr(), &Request::get("/events/orders"));

    let answer = Request::post("/publish/orders?event=shipped", "7").send(demo.addr());

    assert_eq!(answer.head.status, 202);
    let message = events.event();
    assert_eq!((&*message.name, &*message.data), ("shipped", "7"));
    assert_eq!(answer.json()["id"], *message.last_event_id);
}

fn a_stream_brings_only_its_topics(framework: &str) {
    let demo = quiet(framework, &[]);
    let open = |target| Events::open(demo.addr(), &Request::get(target));
    let all = &["a", "b", "c.d.e", "ab", "c.d", "c.d.e.f", "c.d.e", "a"][..];
    let mut streams = [
        (open("/events"), all),
        (open("/events/all"), all),
        (open("/events/a,b"), &["a", "b", "a"]),
        (open("/events/c.*.e"), &["c.d.e", "c.d.e"]),
        (
            open("/events/c.%3E,a"),
            &["a", "c.d.e", "c.d", "c.d.e.f", "c.d.e", "a"],
        ),
    ];
    let ids: Vec<String> = all.iter().map(|topic| demo.publish(topic, topic)).collect();
    // The last two are there so that every stream has one of them, behind all that could be too much.
    let last_of = |topics: &[&str]| &ids[all.len() - if topics.contains(&"a") { 1 } else { 2 }];
    for (stream, topics) in &mut streams {
        let received = stream.up_to(last_of(topics)).into_iter();
        let received: Vec<String> = received.map(|event| event.data).collect();
        assert_eq!(received, *topics);
        // The demo's own news, of another topic, is for those who follow all.
        let news = String::from_utf8_lossy(stream.received()).contains("event: topics\n");
        assert_eq!(news, *topics == all);
    }
}

fn head_ends_at_once_with_the_same_headers(framework: &str) {
    let demo = quiet(framework, &[]);
    let mut get = Request::get("/events").send(demo.addr()).head;
    let mut head = Request::new("HEAD", "/events").send(demo.addr());

    // Only what describes the connection's bytes may differ.
    for headers in [&mut get.headers, &mut head.head.headers] {
        headers.retain(|(name, _)| name != "transfer-encoding" && name != "date");
        headers.sort();
    }
    assert_eq!(head.head.headers, get.headers);
    assert_eq!(head.body.next(DEADLINE), Piece::End(End::Clean));
    // Had it not ended, the connection would not answer again.
    let again = head.body.into_connection().send(&Request::get("/stats"));
    assert_eq!(again.head.status, 200);
    // Nor does it count as a subscriber, and the stream before it is gone.
    wait_for("the streams to end", || {
        // Again and again: the first may be sent before the client is known to be gone.
        if !notices_disconnects_at_once(framework) {
            demo.publish("news", "somebody there?");
        }
        (demo.stats()["subscribers"] == 0).then_some(())
    });
}

fn keep_alive_is_a_comment_of_one_line(framework: &str) {
    const INTERVAL: Duration = Duration::from_millis(200);
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "0.2"]);
    let start = Instant::now();
    let mut events = Events::open(demo.addr(), &Request::get("/events"));

    let mut comments = 0;
    while comments < 5 {
        match events.item(start + DEADLINE) {
            Item::Decoded(Decoded::Comment(text)) if text.is_empty() => comments += 1,
            Item::Decoded(Decoded::Retry(_)) => {}
            other => panic!("{other:?} in an idle stream"),
        }
    }

    assert_eq!(events.received(), b"retry: 2000\n:\n:\n:\n:\n:\n");
    // The timer may be coarse and the machine busy, but not by the default of 15 seconds.
    let took = start.elapsed();
    assert!(
        took >= INTERVAL && took < INTERVAL * 5 + Duration::from_secs(5),
        "{took:?}"
    );
}

fn other_origins_may_read(framework: &str) {
    let demo = quiet(framework, &[]);
    let preflight = Request::new("OPTIONS", "/events")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "last-event-id")
        .send(demo.addr());
    assert!(
        matches!(preflight.head.status, 200 | 204),
        "{:?}",
        preflight.head
    );
    assert_eq!(preflight.head.all("access-control-allow-origin"), ["*"]);

    let stats = Request::get("/stats")
        .header("Origin", "https://app.example")
        .send(demo.addr());
    assert_eq!(stats.head.all("access-control-allow-origin"), ["*"]);
}

fn the_page_needs_nothing_from_elsewhere(framework: &str) {
    let demo = quiet(framework, &[]);
    let response = Request::get("/").send(demo.addr());
    assert_eq!(response.head.status, 200);
    let kind = response.head.get("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/html"), "{kind}");
    let page = response.text();
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "the page uses {outside}");
    }
}

fn what_cannot_be_published_is_refused_in_plain_words(framework: &str) {
    let demo = quiet(framework, &[]);
    let too_large = vec![b'x'; (1 << 20) + 1];
    let rows: [(&str, &[u8], u16); 6] = [
        ("/publish/a%0Ab", b"x", 400),
        ("/publish/a%00b", b"x", 400),
        ("/publish/a?event=b%0Ac", b"x", 400),
        ("/publish/a?event=b%00c", b"x", 400),
        ("/publish/a", b"\xff\xfe", 400),
        ("/publish/a", &too_large, 413),
    ];
    for (target, data, status) in rows {
        let answer = Request::post(target, data).send(demo.addr());
        assert_eq!(answer.head.status, status, "{target}");
        let error = answer.json()["error"].clone();
        assert!(
            error.as_str().is_some_and(|error| !error.is_empty()),
            "{target}: {error}"
        );
    }
    assert_eq!(demo.stats()["published"], 0);

    let largest = vec![b'x'; 1 << 20];
    demo.publish("a", largest);
    demo.publish("a", "");
}

fn polling_reads_the_same_history(framework: &str) {
    let demo = quiet(framework, &["--history", "3"]);
    let ids: Vec<String> = (0..5).map(|n| demo.publish("a", n.to_string())).collect();
    let poll = |after: &str| {
        let target = format!("/poll?topics=a&after={after}");
        let response = Request::get(&target).send(demo.addr());
        assert_eq!(response.head.status, 200, "{target}");
        response.json()
    };
    let event =
        |n: usize| json!({ "id": ids[n], "topic": "a", "event": "a", "data": n.to_string() });

    assert_eq!(
        poll(&ids[2]),
        json!({ "events": [event(3), event(4)], "last": ids[4], "gap": null })
    );
    assert_eq!(
        poll(&ids[4]),
        json!({ "events": [], "last": ids[4], "gap": null })
    );
    assert_eq!(
        poll(&ids[0]),
        json!({
            "events": [event(2), event(3), event(4)],
            "last": ids[4],
            "gap": { "reason": "expired", "from": ids[0], "to": ids[1] },
        })
    );
    assert_eq!(poll("nonsense")["gap"]["reason"], "unparsable");
}

fn long_polling_waits_for_news_or_for_its_time(framework: &str) {
    let demo = quiet(framework, &[]);
    let first = demo.publish("a", "first");
    let long_poll = |after: &str, wait: u32| -> Value {
        let target = format!("/long-poll?topics=a&after={after}&wait={wait}");
        let response = Request::get(&target).send(demo.addr());
        assert_eq!(response.head.status, 200, "{target}");
        response.json()
    };

    // Its time passes without news.
    let start = Instant::now();
    assert_eq!(
        long_poll(&first, 1),
        json!({ "events": [], "last": first, "gap": null })
    );
    assert!(start.elapsed() >= Duration::from_secs(1));

    // News from another topic is none.
    std::thread::scope(|scope| {
        let start = Instant::now();
        let answer = scope.spawn(|| long_poll(&first, 60));
        demo.publish("b", "other");
        let second = demo.publish("a", "second");
        let answer = answer.join().expect("the poll is answered");
        assert_eq!(answer["last"], second);
        assert_eq!(answer["events"][0]["data"], "second");
        assert!(start.elapsed() < Duration::from_secs(60));
    });
}

fn one_client_too_many_is_told_when_to_come_back(framework: &str) {
    let demo = Demo::start(
        framework,
        &[
            "--metrics-every",
            "0",
            "--keep-alive",
            "0.1",
            "--max-clients",
            "2",
        ],
    );
    let open = || Request::get("/events").send(demo.addr());
    let first = open();
    let second = open();
    assert_eq!((first.head.status, second.head.status), (200, 200));

    let refused = open();
    assert_eq!(refused.head.status, 503);
    let seconds = refused
        .head
        .get("retry-after")
        .and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some(), "{:?}", refused.head);

    // A place that becomes free is given again.
    drop(first);
    wait_for("a place that became free", || {
        (open().head.status == 200).then_some(())
    });
}

fn a_soft_refusal_lets_a_browser_come_back(framework: &str) {
    let demo = quiet(framework, &["--max-clients", "1", "--when-full", "soft"]);
    let admitted = Request::get("/events").send(demo.addr());
    assert_eq!(admitted.head.status, 200);

    let mut refused = Events::open(demo.addr(), &Request::get("/events"));
    let (rest, end) = refused.rest();

    assert_eq!(end, End::Clean);
    assert!(matches!(rest[..], [Decoded::Retry(_)]), "{rest:?}");
    // Some clients take a time only at a blank line.
    assert!(
        refused.received().ends_with(b"\n\n"),
        "{:?}",
        refused.received()
    );
}

fn one_address_may_have_only_so_many_streams(framework: &str) {
    // A full house has a soft answer, and a client's own limit does not.
    let demo = quiet(framework, &["--max-per-client", "1", "--when-full", "soft"]);
    let admitted = Request::get("/events").send(demo.addr());
    assert_eq!(admitted.head.status, 200);

    let refused = Request::get("/events").send(demo.addr());
    assert_eq!(refused.head.status, 429);
    assert!(
        refused.head.get("retry-after").is_some(),
        "{:?}",
        refused.head
    );
    let echo = Request::post("/echo", "[]").send(demo.addr());
    assert_eq!(echo.head.status, 429);
}

/// HTTP/1.0 knows no chunks: the body ends where the connection does.
fn a_client_of_http_1_0_is_not_sent_chunks(framework: &str) {
    let demo = quiet(framework, &["--when-full", "soft", "--max-clients", "1"]);
    let read = |request: &str, enough: &str| {
        let mut stream = TcpStream::connect(demo.addr()).expect("the demo listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a deadline can be set");
        stream
            .write_all(request.as_bytes())
            .expect("the demo reads");
        let mut received = Vec::new();
        let mut buffer = [0; 1_024];
        while !String::from_utf8_lossy(&received).contains(enough) {
            let n = stream.read(&mut buffer).expect("within the deadline");
            assert!(n > 0, "{}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..n]);
        }
        (stream, String::from_utf8_lossy(&received).into_owned())
    };
    let (_stays, stream) = read("GET /events HTTP/1.0\r\n\r\n", "\n\r\nretry: 2000\n");
    assert!(!stream.to_lowercase().contains("chunked"), "{stream}");
    // The next is one too many, is told so, and its connection closed.
    let kept = "GET /events HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let (mut refused, head) = read(kept, "\n\n");
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    assert_eq!(
        refused.read(&mut [0; 16]).expect("within the deadline"),
        0,
        "{head}"
    );
}

each_framework!(
    a_client_of_http_1_0_is_not_sent_chunks,
    the_first_bytes_come_at_once,
    an_event_is_on_the_wire_as_it_was_published,
    one_event_is_one_chunk,
    an_event_can_have_a_name_of_its_own,
    a_stream_brings_only_its_topics,
    head_ends_at_once_with_the_same_headers,
    keep_alive_is_a_comment_of_one_line,
    other_origins_may_read,
    the_page_needs_nothing_from_elsewhere,
    what_cannot_be_published_is_refused_in_plain_words,
    polling_reads_the_same_history,
    long_polling_waits_for_news_or_for_its_time,
    one_client_too_many_is_told_when_to_come_back,
    a_soft_refusal_lets_a_browser_come_back,
    one_address_may_have_only_so_many_streams,
);
