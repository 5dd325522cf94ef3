//! Clients that others wrote: none sees an event that was not published, and none misses a line or a
//! space of one that was; those that reconnect by themselves see each event once.

use std::time::Instant;

use fanfare_contract::{
    each_framework, wait_for, Client, Demo, Events, Item, Proxy, Request, Seen, DEADLINE,
};
use fanfare_core::Decoded;

fn curl_sees_what_was_published(framework: &str) {
    sees_what_was_published(framework, Client::curl, exactly);
}

fn reqwest_sees_what_was_published(framework: &str) {
    sees_what_was_published(framework, Client::reqwest, exactly);
}

fn eventsource_sees_what_was_published(framework: &str) {
    sees_what_was_published(framework, eventsource, exactly);
}

fn undici_sees_what_was_published(framework: &str) {
    sees_what_was_published(framework, undici, exactly);
}

fn fetch_event_source_sees_what_was_published(framework: &str) {
    sees_what_was_published(framework, fetch_event_source, as_fetch_event_source_shows);
}

fn httpx_sse_sees_what_was_published(framework: &str) {
    let open = |url: &str| Client::python("with_httpx_sse.py", url);
    sees_what_was_published(framework, open, exactly);
}

fn sseclient_py_sees_what_was_published(framework: &str) {
    let open = |url: &str| Client::python("with_sseclient.py", url);
    sees_what_was_published(framework, open, exactly);
}

fn eventsource_sees_every_event_once(framework: &str) {
    sees_every_event_once(framework, eventsource);
}

fn undici_sees_every_event_once(framework: &str) {
    sees_every_event_once(framework, undici);
}

fn fetch_event_source_sees_every_event_once(framework: &str) {
    sees_every_event_once(framework, fetch_event_source);
}

fn eventsource(url: &str) -> Client {
    Client::node("eventsource.js", url, &NAMES)
}

fn undici(url: &str) -> Client {
    Client::node("undici.js", url, &NAMES)
}

fn fetch_event_source(url: &str) -> Client {
    Client::node("fetch-event-source.js", url, &[])
}

/// The data that a client without faults shows.
fn exactly(data: &str) -> String {
    data.to_owned()
}

/// The data that `@microsoft/fetch-event-source` 2.0.1 shows. By `getMessages` in its `src/parse.ts`,
///
/// - a line loses a byte order mark at its beginning: each is decoded as if it were a whole text;
/// - empty lines at the beginning are lost: LF joins a line only to data that is not empty.
///
/// No server can write such data so that it shows it. It would also call its handler at every blank
/// line, fields or none, and takes an event's id before the event is complete.
fn as_fetch_event_source_shows(data: &str) -> String {
    let lines = data
        .split('\n')
        .map(|line| line.strip_prefix('\u{feff}').unwrap_or(line));
    let lines: Vec<&str> = lines.skip_while(|line| line.is_empty()).collect();
    lines.join("\n")
}

/// Publishes everything twice: before the client comes, to be replayed to it behind a gap, and
/// while it is there, with keep-alives before and after.
#[track_caller]
fn sees_what_was_published(
    framework: &str,
    open: impl Fn(&str) -> Client,
    shown: fn(&str) -> String,
) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "0.1"]);
    let mut expected = vec![gap(&demo)];
    expected.extend(publish_all(&demo));

    let client = open(&format!("{}/events/mix?lastEventId=none", demo.url()));
    let mut seen = client.up_to(last_id(&expected));
    wait_for_keep_alives(&demo);
    expected.extend(publish_all(&demo));
    wait_for_keep_alives(&demo);
    // Whatever else the client took for an event would be seen before this.
    expected.push(publish(&demo, "mix", "the end"));
    seen.extend(client.up_to(last_id(&expected)));

    for event in &mut expected {
        event.data = shown(&event.data);
    }
    // One by one, since all at once would be too much to read.
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen, expected);
    }
    assert_eq!(seen.len(), expected.len());
}

/// Cuts the client's connection again and again, while events are on their way.
#[track_caller]
fn sees_every_event_once(framework: &str, open: impl Fn(&str) -> Client) {
    const CUTS: usize = 5;
    const EVENTS: usize = 10;
    let demo = Demo::start(framework, &["--metrics-every", "0", "--retry", "50"]);
    let proxy = Proxy::start(demo.addr());
    let client = open(&format!("{}/events/mix", proxy.url()));
    wait_for("the client to come", || {
        (demo.stats()["subscribers"] == 1).then_some(())
    });

    let (mut expected, mut seen) = (Vec::new(), Vec::new());
    let publish_some = |expected: &mut Vec<Seen>| {
        let from = expected.len();
        expected.extend((from..from + EVENTS).map(|n| publish(&demo, "mix", &n.to_string())));
    };
    for _ in 0..CUTS {
        let next = expected.len();
        publish_some(&mut expected);
        // It is back, and the rest may be on its way.
        seen.extend(client.up_to(&expected[next].id));
        proxy.cut();
        publish_some(&mut expected);
        proxy.restore();
        publish_some(&mut expected);
    }
    seen.extend(client.up_to(last_id(&expected)));

    assert_eq!(seen, expected);
    let replayed = demo.stats()["replayed"].as_u64();
    assert!(replayed >= Some((CUTS * EVENTS) as u64), "{replayed:?}");
}

/// Publishes what clients are known to have stumbled over. Returns what they should show.
#[track_caller]
fn publish_all(demo: &Demo) -> Vec<Seen> {
    let long = "x".repeat(100_000);
    let many_lines = "line\n".repeat(1_000);
    let data = DATA.iter().copied().chain([&*long, &*many_lines]);
    let mut all: Vec<Seen> = data.map(|data| publish(demo, "mix", data)).collect();
    // One is the server's own, and published by nobody else.
    let names = NAMES.iter().skip(1).filter(|name| **name != "gap");
    all.extend(names.map(|name| publish(demo, name, "of another name")));
    all.push(Seen {
        event: "message".to_owned(),
        ..publish(demo, "", "of no name")
    });
    all
}

/// Publishes an event with a name. Returns it as a client should show it: lines end in LF.
#[track_caller]
fn publish(demo: &Demo, name: &str, data: &str) -> Seen {
    let name_in_query: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    Seen {
        id: demo.publish(&format!("mix?event={name_in_query}"), data),
        event: name.to_owned(),
        data: data.replace("\r\n", "\n").replace('\r', "\n"),
    }
}

/// What a client is told whose id is none of ours. It has no id itself.
#[track_caller]
fn gap(demo: &Demo) -> Seen {
    let request = Request::get("/events/mix?lastEventId=none");
    let gap = Events::open(demo.addr(), &request).event();
    Seen {
        id: String::new(),
        event: "gap".to_owned(),
        data: gap.data,
    }
}

/// Waits until every stream that is open has had a keep-alive: a new one, which has nothing else
/// to say, had two.
#[track_caller]
fn wait_for_keep_alives(demo: &Demo) {
    let mut idle = Events::open(demo.addr(), &Request::get("/events/idle"));
    let until = Instant::now() + DEADLINE;
    let mut comments = 0;
    while comments < 2 {
        match idle.item(until) {
            Item::Decoded(Decoded::Comment(_)) => comments += 1,
            Item::Decoded(Decoded::Retry(_)) => {}
            other => panic!("{other:?} in an idle stream"),
        }
    }
}

fn last_id(events: &[Seen]) -> &str {
    events.last().map_or("", |event| &event.id)
}

const NAMES: [&str; 6] = ["mix", "gap", "message", "a:b", "two words", "größe"];

const DATA: [&str; 36] = [
    "plain",
    "",
    // Spaces, of which a reader takes the first away and no other.
    " ",
    "  ",
    " one before",
    "  two before",
    "one after ",
    "\tin tabs\t",
    // Lines, empty ones among them.
    "two\nlines",
    "an empty one\n\nin the middle",
    "two empty ones\n\n\nin the middle",
    "\none before",
    "\n\ntwo before",
    "one after\n",
    "two after\n\n",
    "\n",
    "\n\n",
    "lines\n with\n  spaces \n",
    // Other line ends, which become LF.
    "cr\rcr\r\rcr\r",
    "crlf\r\ncrlf\r\n\r\ncrlf\r\n",
    "\r\n",
    "lf, cr\n\rand crlf, cr\r\n\r",
    // What is no line end here, and is one to Python's `str.splitlines`.
    "\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}",
    // Text.
    "größe, 日本語, 🎉, \u{1d11e}, e\u{301}",
    "\u{feff}a byte order mark, \u{feff} and again\n\u{feff}",
    "nul: \0",
    r#"{"json": "{\"in\": [\"json\", null]}", "line": "\n"}"#,
    // What looks like fields.
    ":comment",
    "id: 7",
    "event: x",
    "data: x",
    "data:",
    "retry: 1",
    "a: b: c",
    "x\n\nid: 7\nevent: x\ndata: x\n\n: x\n\n",
    "[DONE]",
];

each_framework!(
    curl_sees_what_was_published,
    reqwest_sees_what_was_published,
    eventsource_sees_what_was_published,
    undici_sees_what_was_published,
    fetch_event_source_sees_what_was_published,
    httpx_sse_sees_what_was_published,
    sseclient_py_sees_what_was_published,
    eventsource_sees_every_event_once,
    undici_sees_every_event_once,
    fetch_event_source_sees_every_event_once,
);
