//! HTTP/2, under TLS: streams share one connection and nothing else.

use std::time::Duration;

use fanfare_contract::{
    each_framework_with_tls, wait_for, Browser, Demo, End, Events, Http2, Http2Body, Request,
    DEADLINE,
};
use fanfare_core::Decoded;

/// Half of what some servers allow on a connection, and what browsers ask of them.
const STREAMS: usize = 100;

/// Far more than it takes, far less than a client's patience or a supervisor's.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

fn start(framework: &str) -> Demo {
    let flags = ["--tls", "--metrics-every", "0", "--keep-alive", "0.2"];
    Demo::start(framework, &flags)
}

#[track_caller]
fn open(client: &Http2) -> Events<Http2Body> {
    let response = client.get("/events/news");
    let head = response.head;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(
        head.get("content-type").as_deref(),
        Some("text/event-stream")
    );
    // HTTP/2 has no such headers: clients that go by the book refuse the whole answer.
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
        assert_eq!(head.get(name), None, "{head:?}");
    }
    Events::from(response.body)
}

fn a_hundred_streams_share_one_connection(framework: &str) {
    const EVENTS: usize = 50;
    let demo = start(framework);
    let client = Http2::open(demo.addr());
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open(&client)).collect();
    assert_eq!(demo.stats()["subscribers"], STREAMS);

    let ids: Vec<String> = (0..EVENTS)
        .map(|n| demo.publish("news", format!("event {n}")))
        .collect();

    for stream in &mut streams {
        let received = stream.up_to(&ids[EVENTS - 1]);
        let received: Vec<&str> = received.iter().map(|event| &*event.last_event_id).collect();
        assert_eq!(received, ids);
    }
}

fn a_large_event_passes_the_windows_of_every_stream(framework: &str) {
    let demo = start(framework);
    let client = Http2::open(demo.addr());
    let mut streams: Vec<_> = (0..5).map(|_| open(&client)).collect();
    // More than the 64 KiB that a stream, and a connection, may send without being asked for more.
    let data = "x".repeat(500_000);

    demo.publish("news", &data);

    for stream in &mut streams {
        assert_eq!(*stream.event().data, data);
    }
}

fn a_stream_that_is_reset_ends_alone(framework: &str) {
    let demo = start(framework);
    let client = Http2::open(demo.addr());
    let mut streams: Vec<_> = (0..10).map(|_| open(&client)).collect();
    assert_eq!(demo.stats()["subscribers"], streams.len());

    streams.swap_remove(4).into_body().reset();

    let rest = streams.len();
    wait_for("the stream to be noticed as gone", || {
        (demo.stats()["subscribers"] == rest).then_some(())
    });
    let id = demo.publish("news", "to those who stayed");
    for stream in &mut streams {
        assert_eq!(*stream.event().last_event_id, id);
    }
    // And there is room for another.
    let mut another = open(&client);
    let id = demo.publish("news", "to one who came");
    assert_eq!(*another.event().last_event_id, id);
}

fn shutdown_ends_every_stream(framework: &str) {
    let mut demo = start(framework);
    let client = Http2::open(demo.addr());
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open(&client)).collect();
    let last = demo.publish("news", "last");

    demo.terminate();

    for stream in &mut streams {
        assert_eq!(*stream.event().last_event_id, last);
        let (rest, end) = stream.rest();
        assert_eq!(end, End::Clean);
        let retries = rest
            .iter()
            .filter(|decoded| matches!(decoded, Decoded::Retry(_)));
        assert_eq!(retries.count(), 1, "{rest:?}");
    }
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
}

fn who_speaks_only_http_1_is_served_too(framework: &str) {
    let demo = start(framework);
    let response = demo.connect().send(&Request::get("/events/news"));
    let mut events = Events::of(response);

    let id = demo.publish("news", "as ever");

    assert_eq!(*events.event().last_event_id, id);
}

fn a_page_has_six_streams_over_http_1_and_more_over_http_2(framework: &str) {
    let flags = ["--metrics-every", "0"];
    // Over HTTP/1.1 each stream takes a connection, and a browser opens six of them to a server.
    let demo = Demo::start(framework, &flags);
    let browser = browser_with_seven_streams(&demo);
    browser.wait_for("open().length === 6", DEADLINE);
    demo.publish("news", "to six");
    browser.wait_for("received() === 6", DEADLINE);
    // By now the seventh would have opened, if it could.
    assert_eq!(browser.evaluate("open().length"), 6);
    assert_eq!(demo.stats()["subscribers"], 6);
    // It was waiting for one of the others to close.
    browser.wait_for(
        "sources.splice(sources.indexOf(open()[0]), 1)[0].close() ?? true",
        DEADLINE,
    );
    browser.wait_for("open().length === 6 && sources.length === 6", DEADLINE);

    // Over HTTP/2 they share one connection.
    let demo = Demo::start(framework, &[&flags[..], &["--tls"]].concat());
    let browser = browser_with_seven_streams(&demo);
    browser.wait_for("open().length === 7", DEADLINE);
    let protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.evaluate(protocol), "h2");
    demo.publish("news", "to seven");
    browser.wait_for("received() === 7", DEADLINE);
    assert_eq!(demo.stats()["subscribers"], 7);
}

/// A page of the demo's origin that has no stream but the seven of `sources`.
fn browser_with_seven_streams(demo: &Demo) -> Browser {
    const SCRIPT: &str = "(() => {
        window.sources = Array.from({ length: 7 }, () => {
            const source = new EventSource('/events/news');
            source.received = 0;
            source.addEventListener('news', () => { source.received += 1; });
            return source;
        });
        window.open = () => sources.filter((source) => source.readyState === EventSource.OPEN);
        window.received = () => sources.reduce((sum, source) => sum + source.received, 0);
        return sources.length;
    })()";
    let browser = Browser::start();
    browser.goto(&format!("{}/stats", demo.url()));
    assert_eq!(browser.evaluate(SCRIPT), 7);
    browser
}

each_framework_with_tls!(
    a_hundred_streams_share_one_connection,
    a_large_event_passes_the_windows_of_every_stream,
    a_stream_that_is_reset_ends_alone,
    shutdown_ends_every_stream,
    who_speaks_only_http_1_is_served_too,
    a_page_has_six_streams_over_http_1_and_more_over_http_2,
);

#[test]
fn warp_says_that_it_cannot() {
    let (status, words) = Demo::refusal("warp", &["--tls"]);
    assert_eq!(status.code(), Some(2));
    assert!(words.contains("warp cannot"), "{words}");
}
