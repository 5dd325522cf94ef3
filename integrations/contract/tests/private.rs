//! Private streams: any stream of events becomes the answer to one request.

use fanfare_contract::{each_framework, Demo, Request, Response};
use serde_json::{json, Value};

/// What a private stream begins with, so that the client sees it open.
const OPENING: &str = ":\n";

/// The encoder's own vectors: what an event is on the wire, or that there is no such event.
fn vectors() -> Vec<Value> {
    let text = include_str!("../../../core/tests/vectors/encoder.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn echo(demo: &Demo, events: &[Value]) -> Response {
    Request::post("/echo", json!(events).to_string()).send(demo.addr())
}

fn vectors_are_on_the_wire_byte_for_byte(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let (mut accepted, mut all, mut refused) = (Vec::new(), String::from(OPENING), 0);
    for vector in vectors() {
        let (name, event) = (&vector["name"], &vector["event"]);
        let answer = echo(&demo, std::slice::from_ref(event));
        if let Some(wire) = vector["wire"].as_str() {
            assert_eq!(answer.head.status, 200, "{name}");
            assert_eq!(answer.text(), format!("{OPENING}{wire}"), "{name}");
            accepted.push(event.clone());
            all.push_str(wire);
        } else {
            assert_eq!(answer.head.status, 400, "{name}");
            assert!(answer.json()["error"].is_string(), "{name}");
            refused += 1;
        }
    }
    assert!(accepted.len() >= 25 && refused > 0);
    assert_eq!(echo(&demo, &accepted).text(), all);
}

fn a_private_stream_has_the_headers_of_a_shared_one(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0"]);
    let mut heads = [
        Request::get("/events").send(demo.addr()).head,
        echo(&demo, &[json!({ "data": "x" })]).head,
        echo(&demo, &[]).head,
    ];
    for head in &mut heads {
        assert_eq!(head.status, 200);
        // The clock may tick in between.
        head.headers.retain(|(name, _)| name != "date");
        head.headers.sort();
    }
    assert_eq!(heads[1].headers, heads[0].headers);
    assert_eq!(heads[2].headers, heads[0].headers);
}

each_framework!(
    vectors_are_on_the_wire_byte_for_byte,
    a_private_stream_has_the_headers_of_a_shared_one,
);
