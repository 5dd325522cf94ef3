//! Clients that leave, and clients that fall behind: the server lets go of the first, and tells the
//! second what they missed.

use std::iter;
use std::time::Instant;

use fanfare_contract::{
    each_framework, keep_alives_for_who_had_sent_more, notices_disconnects_at_once, wait_for, Demo,
    End, Events, Place, Request, DEADLINE,
};
use fanfare_core::Decoded;

/// A demo whose keep-alives, where the framework needs one to notice that a client has gone, come
/// soon; elsewhere they do not come at all.
fn demo(framework: &str) -> Demo {
    let at_once = notices_disconnects_at_once(framework);
    let keep_alive = if at_once { "3600" } else { "0.2" };
    Demo::start(
        framework,
        &["--metrics-every", "0", "--keep-alive", keep_alive],
    )
}

#[track_caller]
fn is_empty_again(demo: &Demo) {
    wait_for("the stream to end", || {
        (demo.stats()["subscribers"] == 0).then_some(())
    });
}

fn who_disconnects_is_no_longer_counted(framework: &str) {
    let demo = demo(framework);
    let events = Events::open(demo.addr(), &Request::get("/events")).opened();
    assert_eq!(demo.stats()["subscribers"], 1);
    drop(events);
    is_empty_again(&demo);
}

fn who_closes_only_its_half_has_left_too(framework: &str) {
    let demo = demo(framework);
    let events = Events::open(demo.addr(), &Request::get("/events")).opened();
    events.connection().close_writing();
    is_empty_again(&demo);
}

/// Who has sent bytes behind the request keeps hyper from reading on, and so from the end of the
/// connection. It is what is sent to the client that fails, from the second on.
fn who_had_sent_more_than_a_request_is_missed_all_the_same(framework: &str) {
    // Long enough that a busy server has dropped a stream before the next.
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "2"]);
    let mut staying = Events::open(demo.addr(), &Request::get("/events")).opened();
    let leaving = Events::open(demo.addr(), &Request::get("/events")).opened();
    leaving.connection().send_more(b"GET /stats HTTP/1.1\r\n");
    // From here on every keep-alive of the one is one of the other.
    staying.item(Instant::now() + DEADLINE);
    drop(leaving);

    let mut keep_alives = 0;
    wait_for("the stream to end", || {
        // Counted before the server is asked, so that only a server that is late is found late.
        keep_alives += iter::from_fn(|| staying.try_item()).count();
        let is_gone = demo.stats()["subscribers"] == 1;
        let limit = keep_alives_for_who_had_sent_more(framework);
        assert!(
            is_gone || keep_alives <= limit,
            "counted after {keep_alives} keep-alives"
        );
        is_gone.then_some(())
    });
    println!("{framework}: gone after {keep_alives} keep-alives");
}

/// One event of many, which together are more than the sockets' buffers and the history hold.
const LARGE: usize = 1 << 20;
const MANY: usize = 32;

/// Has a client on the topic `bulk` fall behind. Returns it and the ids of all that it should have
/// been sent.
fn lagging(demo: &Demo) -> (Events, Vec<String>) {
    let events = Events::open(demo.addr(), &Request::get("/events/bulk")).opened();
    let data = vec![b'x'; LARGE];
    let ids = (0..MANY).map(|_| demo.publish("bulk", &data)).collect();
    (events, ids)
}

/// Reads events up to a gap. Returns their ids, and where the gap begins and ends.
fn up_to_the_gap(events: &mut Events) -> (Vec<String>, String, String) {
    let mut received = Vec::new();
    loop {
        let event = events.event();
        if event.name != "gap" {
            received.push(event.last_event_id.to_string());
            continue;
        }
        let gap: serde_json::Value = serde_json::from_str(&event.data).expect("a gap is JSON");
        assert_eq!(gap["reason"], "lagged", "{gap}");
        let end = |name: &str| gap[name].as_str().expect("a gap has two ends").to_owned();
        return (received, end("from"), end("to"));
    }
}

fn who_falls_behind_is_told_what_is_missing(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "3600"]);
    let (mut events, ids) = lagging(&demo);

    let (mut received, from, to) = up_to_the_gap(&mut events);
    assert_eq!(received.last(), Some(&from));
    let to = Place::of(&to);
    let missed = ids
        .iter()
        .filter(|id| Place::of(id) > Place::of(&from) && Place::of(id) <= to);
    let missed: Vec<String> = missed.cloned().collect();
    assert!(!missed.is_empty(), "a gap in which there is nothing");
    received.extend(missed);
    while received.len() < ids.len() {
        received.push(events.event().last_event_id.to_string());
    }
    assert_eq!(received, ids);
}

fn who_falls_behind_can_be_disconnected(framework: &str) {
    let flags = ["--keep-alive", "3600", "--lag", "disconnect"];
    let demo = Demo::start(framework, &[&["--metrics-every", "0"], &flags[..]].concat());
    let (mut events, _) = lagging(&demo);

    let (received, from, _) = up_to_the_gap(&mut events);
    assert_eq!(received.last(), Some(&from));
    let (rest, end) = events.rest();
    assert_eq!(end, End::Clean);
    assert!(matches!(rest[..], [Decoded::Retry(_)]), "{rest:?}");
}

fn who_reads_slowly_holds_nobody_up(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "3600"]);
    let (_stalled, _) = lagging(&demo);
    let mut reading = Events::open(demo.addr(), &Request::get("/events/bulk")).opened();
    let id = demo.publish("bulk", "small");
    assert_eq!(*reading.event().last_event_id, id);
}

each_framework!(
    who_disconnects_is_no_longer_counted,
    who_closes_only_its_half_has_left_too,
    who_had_sent_more_than_a_request_is_missed_all_the_same,
    who_falls_behind_is_told_what_is_missing,
    who_falls_behind_can_be_disconnected,
    who_reads_slowly_holds_nobody_up,
);
