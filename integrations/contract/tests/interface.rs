//! One interface, whatever the framework: tables of requests and of what every demo answers to them,
//! in status, headers and body.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use fanfare_contract::{each_framework, Demo, End, Head, Piece, Request, DEADLINE};
use serde_json::{json, Value};

/// What each framework adds by itself. All other headers are the application's, and the same.
const FRAMEWORKS_OWN: [&str; 9] = [
    "connection",
    // `identity`, which keeps actix-web's own middleware from compressing streams.
    "content-encoding",
    "content-length",
    "date",
    "permissions-policy",
    "server",
    "transfer-encoding",
    "x-content-type-options",
    "x-frame-options",
];

const GET_ROUTES: [&str; 9] = [
    "/",
    "/events",
    "/events/a,b",
    "/poll",
    "/long-poll?wait=0",
    "/stats",
    "/metrics",
    "/debug",
    "/debug/streams",
];
const POST_ROUTES: [&str; 3] = ["/publish/a", "/echo", "/tickets"];
const DELETE_ROUTES: [&str; 1] = ["/streams"];

/// What is expected of an answer.
#[derive(Clone, Copy)]
enum Expect<'a> {
    /// 200 and the page.
    Page,
    /// 200 and a stream of events.
    Stream,
    /// 200 and what Prometheus reads.
    Metrics,
    /// JSON that is no error.
    Json(u16),
    /// JSON with one member, `error`.
    Error(u16, &'a str),
    /// 405, and the methods that are allowed instead.
    NotAllowed(&'a str),
    /// The answer to `OPTIONS`.
    Preflight,
}

const NOTHING_HERE: Expect<'_> = Expect::Error(404, "there is nothing here");
const TOO_LARGE: Expect<'_> = Expect::Error(413, "an event's data is at most 1 MiB");
const NOT_UTF_8: Expect<'_> = Expect::Error(400, "an event's data is UTF-8");
const PATH_NOT_UTF_8: Expect<'_> = Expect::Error(400, "a path is UTF-8");
const QUERY_NOT_UTF_8: Expect<'_> = Expect::Error(400, "a query is UTF-8");
const BAD_WAIT: Expect<'_> = Expect::Error(400, "`wait` is a number of seconds");
const EMPTY_SEGMENT: Expect<'_> = Expect::Error(400, "a topic needs text in each of its segments");

impl Expect<'_> {
    fn status(self) -> u16 {
        match self {
            Self::Page | Self::Stream | Self::Metrics | Self::Preflight => 200,
            Self::NotAllowed(_) => 405,
            Self::Json(status) | Self::Error(status, _) => status,
        }
    }

    /// The application's headers, in alphabetical order, without white space in their values.
    fn headers(self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("access-control-allow-origin", "*")];
        match self {
            Self::Page => headers.push(("content-type", "text/html;charset=utf-8")),
            Self::Metrics => {
                headers.push(("content-type", "text/plain;version=0.0.4;charset=utf-8"));
            }
            Self::Stream => headers.extend([
                ("cache-control", "no-cache,no-transform"),
                ("content-type", "text/event-stream"),
                ("x-accel-buffering", "no"),
            ]),
            Self::Json(_) | Self::Error(..) | Self::NotAllowed(_) => headers.extend([
                ("cache-control", "no-store"),
                ("content-type", "application/json"),
            ]),
            Self::Preflight => headers.extend([
                (
                    "access-control-allow-headers",
                    "authorization,cache-control,content-type,last-event-id",
                ),
                ("access-control-allow-methods", "GET,POST,DELETE"),
            ]),
        }
        let mut headers: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        if let Self::NotAllowed(methods) = self {
            headers.push(("allow", methods.replace(' ', "")));
        }
        headers.sort();
        headers
    }

    fn error(self) -> Option<String> {
        match self {
            Self::Error(_, words) => Some(words.to_owned()),
            Self::NotAllowed(methods) => Some(format!("only {methods} can be used here")),
            _ => None,
        }
    }
}

/// The application's headers of an answer, as [`Expect::headers`] has them.
fn headers(head: &Head) -> Vec<(&str, String)> {
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .filter(|(name, _)| !FRAMEWORKS_OWN.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value).replace(' ', "");
            (name.as_str(), value)
        })
        .collect();
    headers.sort();
    headers
}

/// Requests with what is expected of each, and all that was not so.
struct Table {
    demo: Demo,
    wrong: Vec<String>,
}

impl Table {
    fn new(framework: &str) -> Self {
        let quiet = ["--metrics-every", "0", "--keep-alive", "3600"];
        Self {
            demo: Demo::start(framework, &quiet),
            wrong: Vec::new(),
        }
    }

    /// Sends the request. Returns the JSON, if that was expected.
    fn row(&mut self, title: &str, request: &Request, expect: Expect<'_>) -> Value {
        let answer = request.send(self.demo.addr());
        self.head(title, &answer.head, expect);
        match expect {
            Expect::Json(_) | Expect::Error(..) | Expect::NotAllowed(_) => {
                let body = answer.text();
                let json = serde_json::from_str(&body).unwrap_or(Value::Null);
                let is_expected = match expect.error() {
                    Some(words) => json == json!({ "error": words }),
                    None => json.is_object() && json["error"].is_null(),
                };
                if !is_expected {
                    self.wrong.push(format!("{title}: {body}"));
                }
                json
            }
            Expect::Page => {
                if !answer.text().starts_with("<!doctype html>") {
                    self.wrong.push(format!("{title}: not the page"));
                }
                Value::Null
            }
            Expect::Preflight => {
                let body = answer.text();
                if !body.is_empty() {
                    self.wrong.push(format!("{title}: {body}"));
                }
                Value::Null
            }
            Expect::Metrics => {
                if !answer.text().contains("# TYPE fanfare_subscribers gauge\n") {
                    self.wrong.push(format!("{title}: not the metrics"));
                }
                Value::Null
            }
            Expect::Stream => Value::Null,
        }
    }

    fn get(&mut self, target: &str, expect: Expect<'_>) -> Value {
        self.row(&format!("GET {target}"), &Request::get(target), expect)
    }

    fn post(&mut self, target: &str, body: impl AsRef<[u8]>, expect: Expect<'_>) -> Value {
        let title = format!("POST {target}");
        self.row(&title, &Request::post(target, body), expect)
    }

    fn head(&mut self, title: &str, head: &Head, expect: Expect<'_>) {
        if head.status != expect.status() {
            self.wrong.push(format!("{title}: status {}", head.status));
        }
        let mut headers = headers(head);
        if matches!(expect, Expect::Preflight) {
            // axum adds it.
            headers.retain(|(name, _)| *name != "allow");
        }
        if headers != expect.headers() {
            self.wrong.push(format!("{title}: headers {headers:?}"));
        }
    }

    #[track_caller]
    fn check(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

fn what_get_answers(route: &str) -> Expect<'static> {
    match route {
        "/" | "/debug" => Expect::Page,
        "/metrics" => Expect::Metrics,
        _ if route.starts_with("/events") => Expect::Stream,
        _ => Expect::Json(200),
    }
}

fn every_route_answers_get_and_head_alike(framework: &str) {
    let mut table = Table::new(framework);
    for route in GET_ROUTES {
        let expect = what_get_answers(route);
        table.get(route, expect);

        let title = format!("HEAD {route}");
        let mut answer = Request::new("HEAD", route).send(table.demo.addr());
        table.head(&title, &answer.head, expect);
        // Had there been a body, the next answer would not begin where it is looked for.
        assert_eq!(answer.body.next(DEADLINE), Piece::End(End::Clean));
        let again = answer.body.into_connection().send(&Request::get("/stats"));
        table.head(
            &format!("{title}, and after it"),
            &again.head,
            Expect::Json(200),
        );
    }
    table.check();
}

fn every_route_names_the_methods_it_takes(framework: &str) {
    let mut table = Table::new(framework);
    let get = GET_ROUTES.map(|route| (route, "GET, HEAD, OPTIONS"));
    let post = POST_ROUTES.map(|route| (route, "POST, OPTIONS"));
    let delete = DELETE_ROUTES.map(|route| (route, "DELETE, OPTIONS"));
    for (route, allowed) in get.into_iter().chain(post).chain(delete) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !allowed.contains(method) {
                let request = Request::new(method, route).header("Content-Length", "0");
                let title = format!("{method} {route}");
                table.row(&title, &request, Expect::NotAllowed(allowed));
            }
        }
    }
    for (route, allowed) in post.into_iter().chain(delete) {
        let answer = Request::new("HEAD", route).send(table.demo.addr());
        let expect = Expect::NotAllowed(allowed);
        table.head(&format!("HEAD {route}"), &answer.head, expect);
    }
    table.check();
}

fn every_address_answers_options(framework: &str) {
    let mut table = Table::new(framework);
    for target in GET_ROUTES
        .into_iter()
        .chain(POST_ROUTES)
        .chain(DELETE_ROUTES)
        .chain(["/nothing-here"])
    {
        let plain = Request::new("OPTIONS", target);
        let preflight = plain
            .clone()
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "last-event-id");
        table.row(&format!("OPTIONS {target}"), &plain, Expect::Preflight);
        table.row(
            &format!("preflight {target}"),
            &preflight,
            Expect::Preflight,
        );
    }
    table.check();
}

fn unknown_routes_are_404(framework: &str) {
    let mut table = Table::new(framework);
    for target in [
        "/nothing-here",
        "/nothing%20here?a=b",
        "/events/",
        "/events/a/",
        "/events/a/b",
        "/poll/",
        "/long-poll/",
        "/stats/",
        "/debug/",
        "/debug/other",
        "//stats",
        "/events//a",
        "/Stats",
        "/publish",
        "/publish/",
        "/%ff",
    ] {
        table.get(target, NOTHING_HERE);
    }
    for target in [
        "/nothing-here",
        "/publish",
        "/publish/",
        "/publish/a/b",
        "/echo/",
    ] {
        table.post(target, "x", NOTHING_HERE);
    }
    table.check();
}

fn bad_input_is_refused_in_the_same_words(framework: &str) {
    let mut table = Table::new(framework);
    for target in ["/events/%ff", "/events/a%ff,b"] {
        table.get(target, PATH_NOT_UTF_8);
    }
    table.post("/publish/%ff", "x", PATH_NOT_UTF_8);
    table.get("/events/a,,b", EMPTY_SEGMENT);
    table.get("/poll?topics=", EMPTY_SEGMENT);
    table.get("/poll?topics", EMPTY_SEGMENT);
    table.get("/long-poll?topics=a..b", EMPTY_SEGMENT);
    for route in ["/poll", "/long-poll"] {
        let twice = |name| format!("`{name}` stands twice in the query");
        table.get(
            &format!("{route}?topics=a&topics=b"),
            Expect::Error(400, &twice("topics")),
        );
        table.get(
            &format!("{route}?after=1-1&after=2-2"),
            Expect::Error(400, &twice("after")),
        );
        table.get(&format!("{route}?topics=%ff"), QUERY_NOT_UTF_8);
    }
    for wait in ["abc", "", "-1", "NaN", "inf", "1e400", "5s", "%ff"] {
        table.get(&format!("/long-poll?wait={wait}"), BAD_WAIT);
    }
    table.get("/long-poll?wait", BAD_WAIT);

    let long = "t".repeat(1_000);
    let too_long = Expect::Error(400, "a topic has at most 255 bytes");
    table.get(&format!("/events/{long}"), too_long);
    table.get(&format!("/poll?topics={long}"), too_long);
    table.post(&format!("/publish/{long}"), "x", too_long);
    table.post(
        "/publish/all",
        "x",
        Expect::Error(400, "all, * and > only have a meaning in a selection"),
    );
    table.post(
        "/publish/a%0Ab",
        "x",
        Expect::Error(400, "a topic cannot hold the character at byte 1"),
    );
    table.post(
        "/publish/a?event=b%0Ac",
        "x",
        Expect::Error(400, "an event name cannot hold '\\n', found at byte 1"),
    );
    table.post("/publish/a?event=%ff", "x", QUERY_NOT_UTF_8);
    table.post(
        "/publish/a?event=a&event=b",
        "x",
        Expect::Error(400, "`event` stands twice in the query"),
    );
    for target in ["/publish/gap", "/publish/a?event=gap"] {
        let words = "an event called `gap` is the server's own: give it another name";
        table.post(target, "x", Expect::Error(400, words));
    }
    table.post("/tickets?topics=a,,b", "", EMPTY_SEGMENT);
    table.post("/tickets?topics=%ff", "", QUERY_NOT_UTF_8);
    let twice = Expect::Error(400, "`client` stands twice in the query");
    let no_address = Expect::Error(400, "`client` is an IP address");
    for (query, expect) in [
        ("", no_address),
        ("?client", no_address),
        ("?client=localhost", no_address),
        ("?client=127.0.0.1:80", no_address),
        ("?client=%ff", QUERY_NOT_UTF_8),
        ("?client=::1&client=::1", twice),
    ] {
        let target = format!("/streams{query}");
        let request = Request::new("DELETE", &target);
        table.row(&format!("DELETE {target}"), &request, expect);
    }
    table.post("/publish/a", b"\xff\xfe", NOT_UTF_8);
    for target in ["/publish/a", "/echo"] {
        table.post(target, vec![b'x'; (1 << 20) + 1], TOO_LARGE);
    }
    for body in ["", "{}", "[1]", "[{\"unknown\": 1}]"] {
        let words = "the body is a JSON array of events";
        table.post("/echo", body, Expect::Error(400, words));
    }
    let too_many = Expect::Error(400, "at most 1000 events are sent back");
    table.post("/echo", echoes(1_000), Expect::Stream);
    table.post("/echo", echoes(1_001), too_many);
    table.post("/echo", echoes(300_000), too_many);
    let published = table.get("/stats", Expect::Json(200))["published"].clone();
    assert_eq!(published, 0);
    table.check();
}

/// So many events that are empty, and short.
fn echoes(count: usize) -> String {
    format!("[{}]", vec!["{}"; count].join(","))
}

fn odd_input_is_understood_alike(framework: &str) {
    let mut table = Table::new(framework);
    // What is published where, and what it is called then.
    for (target, topic, event) in [
        ("/publish/a", "a", "a"),
        ("/publish/a?", "a", "a"),
        ("/publish/a?event", "a", "message"),
        ("/publish/a?event=", "a", "message"),
        ("/publish/a?event=b", "a", "b"),
        ("/publish/a?event=b+c%2Bd%20e", "a", "b c+d e"),
        ("/publish/a?%65vent=b", "a", "b"),
        ("/publish/a?event=b=c", "a", "b=c"),
        ("/publish/a?&other=1&other=2&event=b&", "a", "b"),
        ("/publish/%61", "a", "a"),
        ("/publish/a+b", "a+b", "a+b"),
        ("/publish/a%20b", "a b", "a b"),
        ("/publish/a%2Fb", "a/b", "a/b"),
        ("/publish/a%3Fb", "a?b", "a?b"),
        ("/publish/100%25", "100%", "100%"),
        ("/publish/100%2525", "100%25", "100%25"),
        ("/publish/gr%C3%B6%C3%9Fe", "größe", "größe"),
        ("/publish/%EF%BF%BD", "\u{fffd}", "\u{fffd}"),
        ("/publish/gap?event=b", "gap", "b"),
    ] {
        let id = table.post(target, "x", Expect::Json(202))["id"].clone();
        let polled = table.get("/poll", Expect::Json(200));
        let expect = json!({ "id": id, "topic": topic, "event": event, "data": "x" });
        let last = polled["events"].as_array().and_then(|events| events.last());
        if last != Some(&expect) {
            table.wrong.push(format!("POST {target}: {last:?}"));
        }
    }
    let long = "t".repeat(255);
    table.post(&format!("/publish/{long}"), "x", Expect::Json(202));
    for topics in [
        "%61",
        "a+b",
        "a%2Cb",
        "a%2Fb",
        "gr%C3%B6%C3%9Fe",
        "*",
        "%2A",
        "%3E",
        &long,
    ] {
        table.get(&format!("/events/{topics}"), Expect::Stream);
    }
    for (topics, count) in [
        ("%61", 10),
        ("a%2Bb", 1),
        ("a+b", 1),
        ("a%2Cgr%C3%B6%C3%9Fe", 11),
    ] {
        let target = format!("/poll?topics={topics}");
        let events = table.get(&target, Expect::Json(200))["events"].clone();
        if events.as_array().map(Vec::len) != Some(count) {
            table.wrong.push(format!("GET {target}: {events}"));
        }
    }
    // An id that cannot be used is a gap, and never an error.
    for after in ["nonsense", "%ff", "%00", "1", "1-2-3", "-1", "a+b"] {
        for route in ["/poll?", "/long-poll?wait=0&"] {
            let target = format!("{route}after={after}");
            let gap = table.get(&target, Expect::Json(200))["gap"].clone();
            if gap["reason"] != "unparsable" {
                table.wrong.push(format!("GET {target}: {gap}"));
            }
        }
    }
    for target in ["/poll?after=", "/poll?after", "/poll?wait=abc"] {
        let gap = table.get(target, Expect::Json(200))["gap"].clone();
        if !gap.is_null() {
            table.wrong.push(format!("GET {target}: {gap}"));
        }
    }
    table.check();
}

fn what_a_client_accepts_or_calls_its_body_is_no_matter(framework: &str) {
    let mut table = Table::new(framework);
    for accept in [
        "",
        "*/*",
        "text/html",
        "application/json;q=0.1",
        "nonsense",
        "größe",
    ] {
        for route in GET_ROUTES {
            let request = Request::get(route).header("Accept", accept);
            let title = format!("GET {route}, Accept: {accept}");
            table.row(&title, &request, what_get_answers(route));
        }
    }
    for kind in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "image/png",
        "nonsense",
    ] {
        let publish = Request::post("/publish/a?event=b", "event=c").header("Content-Type", kind);
        let title = format!("publish, Content-Type: {kind}");
        table.row(&title, &publish, Expect::Json(202));
        let echo = Request::post("/echo", r#"[{"data": "x"}]"#).header("Content-Type", kind);
        table.row(
            &format!("echo, Content-Type: {kind}"),
            &echo,
            Expect::Stream,
        );
    }
    // Rocket takes a form's first field for the method.
    for (target, body, expect) in [
        ("/publish/a", "_method=put", Expect::Json(202)),
        ("/publish/a", "_method=delete&x", Expect::Json(202)),
        (
            "/streams?client=::1",
            "_method=delete",
            Expect::NotAllowed("DELETE, OPTIONS"),
        ),
    ] {
        let form =
            Request::post(target, body).header("Content-Type", "application/x-www-form-urlencoded");
        table.row(&format!("POST {target}: {body}"), &form, expect);
    }
    let polled = table.get("/poll", Expect::Json(200))["events"].clone();
    let last = polled.as_array().and_then(|events| events.last());
    assert_eq!(
        last.map(|event| &event["data"]),
        Some(&json!("_method=delete&x"))
    );
    table.check();
}

fn a_body_may_be_of_unknown_length(framework: &str) {
    let mut table = Table::new(framework);
    table.row(
        "publish",
        &Request::post_in_chunks("/publish/a", &[b" ", b"data"]),
        Expect::Json(202),
    );
    table.row(
        "echo",
        &Request::post_in_chunks("/echo", &[b"[", br#"{"data": "x"}]"#]),
        Expect::Stream,
    );
    for target in ["/publish/a", "/echo"] {
        let large = vec![b'x'; 1 << 20];
        table.row(
            &format!("{target}, too large"),
            &Request::post_in_chunks(target, &[&large, b"x"]),
            TOO_LARGE,
        );
    }
    let polled = table.get("/poll", Expect::Json(200));
    assert_eq!(polled["events"][1]["data"], " data", "{polled}");
    table.check();
}

fn a_body_that_says_that_it_is_too_large_is_refused_unread(framework: &str) {
    let mut table = Table::new(framework);
    // Rocket looks at the first 512 bytes before it routes. Then comes nothing more.
    let beginning = [b'x'; 512];
    for target in ["/publish/a", "/echo"] {
        for length in [(1 << 20) + 1, 1 << 40] {
            let request = Request::post_in_part(target, length, &beginning);
            let title = format!("{target}, {length} bytes");
            table.row(&title, &request, TOO_LARGE);
        }
    }
    table.check();
}

fn a_client_of_http_1_0_polls(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    for (target, status, body) in [
        ("/poll", "200", "\"events\":[]"),
        ("/stats", "200", "\"subscribers\":0"),
        (
            "/nothing-here",
            "404",
            "{\"error\":\"there is nothing here\"}",
        ),
    ] {
        let mut stream = TcpStream::connect(demo.addr()).expect("the demo listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a deadline can be set");
        let request = format!("GET {target} HTTP/1.0\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("the demo reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the answer ends with the connection");
        assert!(answer.starts_with("HTTP/1."), "{target}: {answer}");
        assert_eq!(&answer["HTTP/1.1 ".len()..][..3], status, "{target}");
        assert!(answer.contains(body), "{target}: {answer}");
        assert!(
            !answer.to_lowercase().contains("chunked"),
            "{target}: {answer}"
        );
    }
}

each_framework!(
    every_route_answers_get_and_head_alike,
    every_route_names_the_methods_it_takes,
    every_address_answers_options,
    unknown_routes_are_404,
    bad_input_is_refused_in_the_same_words,
    odd_input_is_understood_alike,
    what_a_client_accepts_or_calls_its_body_is_no_matter,
    a_body_may_be_of_unknown_length,
    a_body_that_says_that_it_is_too_large_is_refused_unread,
    a_client_of_http_1_0_polls,
);
