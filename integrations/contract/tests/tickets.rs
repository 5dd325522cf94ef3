//! Tickets: what opens a stream once, and what does not, all told the same; and no log has a secret.

use std::thread;
use std::time::Duration;

use fanfare_contract::{each_framework, Demo, Events, Request, Response};
use serde_json::Value;

const TOKEN: &str = "open-sesame";

/// Far more than it takes, far less than a supervisor's patience.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// A demo whose framework logs requests as well: what is in no log is so for all that write to it.
fn guarded(framework: &str, flags: &[&str]) -> Demo {
    let own = ["--metrics-every", "0", "--token", TOKEN];
    Demo::start_with_request_log(framework, &[&own, flags].concat())
}

/// Ends the demo. All that it wrote must have these requests and reasons in it, and none of these secrets,
/// whole or in part.
#[track_caller]
fn has_logged(mut demo: Demo, requests: &[&str], reasons: &[&str], secrets: &[&str]) {
    demo.terminate();
    assert_eq!(demo.wait_exit(EXIT_LIMIT).code(), Some(0));
    let output = demo.output();
    for said in requests.iter().chain(reasons) {
        assert!(output.contains(said), "`{said}` is not in: {output}");
    }
    for secret in secrets.iter().chain(&[TOKEN]) {
        // Each half of a ticket is one: it is signed at its end, and says at its beginning for whom it is.
        let (one, other) = secret.split_at(secret.len() / 2);
        for part in [one, other].iter().filter(|part| part.len() >= PART) {
            assert!(
                !output.contains(*part),
                "{part} of {secret} is in: {output}"
            );
        }
        assert!(!output.contains(secret), "{secret} is in: {output}");
    }
}

/// Shorter parts of a secret could be anything.
const PART: usize = 16;

fn with_token(request: Request) -> Request {
    request.header("Authorization", format!("Bearer {TOKEN}"))
}

/// A ticket for these topics.
fn ticket(demo: &Demo, topics: &str) -> String {
    let request = Request::post(&format!("/tickets?topics={topics}"), "");
    let answer = with_token(request).send(demo.addr());
    assert_eq!(answer.head.status, 200);
    let answer = answer.json();
    assert!(answer["expires_in"]
        .as_f64()
        .is_some_and(|seconds| seconds > 0.0));
    let ticket = answer["ticket"].as_str();
    ticket
        .unwrap_or_else(|| panic!("no ticket in {answer}"))
        .to_owned()
}

fn present(demo: &Demo, topics: &str, ticket: &str) -> Response {
    Request::get(&format!("/events/{topics}?ticket={ticket}")).send(demo.addr())
}

/// All of an answer but the time.
fn told(answer: Response) -> (u16, Vec<(String, Vec<u8>)>, Value) {
    let mut headers = answer.head.headers.clone();
    headers.retain(|(name, _)| name != "date");
    headers.sort();
    (answer.head.status, headers, answer.json())
}

fn a_ticket_opens_one_stream(framework: &str) {
    let demo = guarded(framework, &[]);
    let narrow = ticket(&demo, "news,orders.%3E");
    let mut events = Events::of(present(&demo, "orders.eu", &narrow)).opened();
    let all = ticket(&demo, "all");
    let wide = Request::get(&format!("/events?x=1&ticket={all}&lastEventId=0-0"));
    let mut after = Events::open(demo.addr(), &wide);

    let publish = with_token(Request::post("/publish/orders.eu", "one"));
    let id = publish.send(demo.addr()).json()["id"].clone();

    assert_eq!(
        events.event().last_event_id.to_string(),
        id.as_str().expect("an id")
    );
    // What else stood in the query is understood.
    assert_eq!(after.gap()["from"], "0-0");
    assert_eq!(present(&demo, "orders.eu", &narrow).head.status, 401);
    // It is for streams of events alone.
    let other = ticket(&demo, "all");
    let poll = Request::get(&format!("/poll?ticket={other}")).send(demo.addr());
    assert_eq!(poll.head.status, 401);
    assert_eq!(present(&demo, "news", &other).head.status, 200);

    drop((events, after));
    has_logged(
        demo,
        &[
            "/events/orders.eu",
            "/publish/orders.eu",
            "/tickets",
            "/poll",
        ],
        &["the ticket has been used"],
        &[&narrow, &all, &other],
    );
}

fn whatever_is_wrong_is_told_the_same_and_logged_apart(framework: &str) {
    let demo = guarded(framework, &[]);
    let [used, narrow, flipped, one, other] =
        ["all", "news", "all", "all", "all"].map(|topics| ticket(&demo, topics));
    assert_eq!(present(&demo, "news", &used).head.status, 200);
    // The last bit that counts.
    let at = flipped.len() / 2;
    let letter = if &flipped[at..=at] == "A" { "B" } else { "A" };
    let flipped = [&flipped[..at], letter, &flipped[at + 1..]].concat();
    let wrong = Request::get("/events/news").header("Authorization", "Bearer wrong-secret");

    let answers = [
        ("no token", Request::get("/events/news").send(demo.addr())),
        ("a wrong token", wrong.send(demo.addr())),
        ("used twice", present(&demo, "news", &used)),
        ("other topics", present(&demo, "orders", &narrow)),
        ("all topics", present(&demo, "all", &narrow)),
        ("a flipped bit", present(&demo, "news", &flipped)),
        (
            "two",
            present(&demo, "news", &format!("{one}&ticket={other}")),
        ),
        ("none of ours", present(&demo, "news", "nonsense")),
    ];

    let mut answers = answers
        .map(|(what, answer)| (what, told(answer)))
        .into_iter();
    let (_, first) = answers.next().expect("answers");
    assert_eq!(first.0, 401, "{first:?}");
    for (what, answer) in answers {
        assert_eq!(answer, first, "{what}");
    }
    // What was refused for other topics is still good.
    assert_eq!(present(&demo, "news", &narrow).head.status, 200);

    has_logged(
        demo,
        &["/events/news", "/events/orders", "/events/all", "/tickets"],
        &[
            "there is no token",
            "the token is wrong",
            "the ticket has been used",
            "the ticket is for other topics",
            "the ticket's signature is wrong",
            "the request has several tickets",
            "the text is no ticket",
        ],
        &["wrong-secret", &used, &narrow, &flipped, &one, &other],
    );
}

/// Without Redis a demo signs with a random key, so that one which is started again has another.
fn a_ticket_from_before_a_rotation_is_refused(framework: &str) {
    let mut demo = guarded(framework, &[]);
    let old = ticket(&demo, "news");
    demo.kill_9();
    demo.restart();

    let refused = told(present(&demo, "news", &old));

    assert_eq!(refused.0, 401, "{refused:?}");
    let without = told(Request::get("/events/news").send(demo.addr()));
    assert_eq!(refused, without);
    assert!(!format!("{refused:?}").contains("key"), "{refused:?}");
    let new = ticket(&demo, "news");
    assert_eq!(present(&demo, "news", &new).head.status, 200);
    has_logged(
        demo,
        &["/events/news"],
        &["the ticket is signed with a key that is not taken"],
        &[&old, &new],
    );
}

fn a_ticket_expires(framework: &str) {
    let demo = guarded(framework, &["--ticket-lifetime", "0.001"]);
    let ticket = ticket(&demo, "all");
    // Its time passes.
    thread::sleep(Duration::from_millis(10));
    let late = told(present(&demo, "news", &ticket));
    assert_eq!(late, told(Request::get("/events/news").send(demo.addr())));

    has_logged(
        demo,
        &["/events/news"],
        &["the ticket has expired"],
        &[&ticket],
    );
}

fn tickets_work_without_a_token_too(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let ticket = ticket(&demo, "news");
    assert_eq!(present(&demo, "news", &ticket).head.status, 200);
    // Who shows one is held to it.
    assert_eq!(present(&demo, "news", &ticket).head.status, 401);
    assert_eq!(
        Request::get("/events/news").send(demo.addr()).head.status,
        200
    );
}

each_framework!(
    a_ticket_opens_one_stream,
    whatever_is_wrong_is_told_the_same_and_logged_apart,
    a_ticket_from_before_a_rotation_is_refused,
    a_ticket_expires,
    tickets_work_without_a_token_too,
);
