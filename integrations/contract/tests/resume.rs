//! `Last-Event-ID` over the socket: whatever a client says it saw, the answer is 200, and what
//! follows is complete, or begins with a gap event that says what is missing.

use fanfare_contract::{
    each_framework, hands_on_headers_of_any_bytes, Demo, Events, Place, Request,
};
use serde_json::{json, Value};

/// How many records the demo keeps, and how many more are published.
const KEPT: usize = 3;
const EVICTED: usize = 3;

/// A demo whose topic `orders` has lost its first events.
struct Scene {
    demo: Demo,
    /// The ids of all events, the lost ones first.
    ids: Vec<String>,
}

impl Scene {
    fn set(framework: &str) -> Self {
        let history = KEPT.to_string();
        let demo = Demo::start(framework, &["--metrics-every", "0", "--history", &history]);
        let ids = (0..EVICTED + KEPT).map(|n| demo.publish("orders", format!("event {n}")));
        let ids = ids.collect();
        Self { demo, ids }
    }

    fn newest(&self) -> &str {
        &self.ids[EVICTED + KEPT - 1]
    }

    fn newest_place(&self) -> Place {
        Place::of(self.newest())
    }

    fn retained(&self) -> &[String] {
        &self.ids[EVICTED..]
    }

    /// Opens the stream of the topic, with a `Last-Event-ID` if there is one.
    #[track_caller]
    fn resume(&self, last_event_id: Option<&[u8]>) -> Events {
        let mut request = Request::get("/events/orders");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        Events::open(self.demo.addr(), &request)
    }

    /// Publishes one more event and checks that the stream brings exactly `expect` and then that.
    #[track_caller]
    fn continues_with(&self, events: &mut Events, expect: &[String]) {
        let live = self.demo.publish("orders", "live");
        let received = events.up_to(&live);
        let (last, before) = received.split_last().expect("it ends with the live event");
        assert_eq!((&*last.name, &*last.data), ("orders", "live"));
        let ids: Vec<&str> = before.iter().map(|event| &*event.last_event_id).collect();
        assert_eq!(ids, expect);
    }

    /// Checks that the stream opens with a gap for this reason, and is complete behind it.
    /// Returns the gap.
    #[track_caller]
    fn continues_after_a_gap(&self, events: &mut Events, reason: &str) -> Value {
        let gap = events.gap();
        assert_eq!(gap["reason"], reason, "{gap}");
        let to = Place::of(
            gap["to"]
                .as_str()
                .expect("a gap says where the stream continues"),
        );
        assert!(to <= self.newest_place(), "{gap} skips what is retained");
        let retained: Vec<String> = self
            .retained()
            .iter()
            .filter(|id| Place::of(id) > to)
            .cloned()
            .collect();
        self.continues_with(events, &retained);
        gap
    }

    /// Checks the answer to an id that is not one of ours.
    #[track_caller]
    fn is_unparsable(&self, id: &[u8]) {
        let mut events = self.resume(Some(id));
        let gap = self.continues_after_a_gap(&mut events, "unparsable");
        assert!(
            gap.to_string().len() < 1_000,
            "a gap repeats all that a client sends"
        );
    }
}

fn without_an_id_the_stream_is_live(framework: &str) {
    let scene = Scene::set(framework);
    scene.continues_with(&mut scene.resume(None), &[]);
}

fn an_empty_id_is_no_id(framework: &str) {
    let scene = Scene::set(framework);
    scene.continues_with(&mut scene.resume(Some(b"")), &[]);
}

fn who_saw_everything_receives_only_what_is_new(framework: &str) {
    let scene = Scene::set(framework);
    scene.continues_with(&mut scene.resume(Some(scene.newest().as_bytes())), &[]);
}

fn who_saw_the_last_event_that_is_gone_misses_nothing(framework: &str) {
    let scene = Scene::set(framework);
    let last_evicted = &scene.ids[EVICTED - 1];
    let mut events = scene.resume(Some(last_evicted.as_bytes()));
    scene.continues_with(&mut events, scene.retained());
}

fn every_retained_place_continues_behind_it(framework: &str) {
    let scene = Scene::set(framework);
    let mut streams: Vec<Events> = scene
        .retained()
        .iter()
        .map(|id| scene.resume(Some(id.as_bytes())))
        .collect();
    let live = scene.demo.publish("orders", "live");
    for (index, stream) in streams.iter_mut().enumerate() {
        let received = stream.up_to(&live);
        let ids: Vec<&str> = received.iter().map(|event| &*event.last_event_id).collect();
        let expect = [&scene.retained()[index + 1..], std::slice::from_ref(&live)].concat();
        assert_eq!(ids, expect, "after {}", scene.retained()[index]);
    }
}

fn who_saw_less_is_told_that_events_have_expired(framework: &str) {
    let scene = Scene::set(framework);
    let old = &scene.ids[EVICTED - 2];

    let mut events = scene.resume(Some(old.as_bytes()));
    let gap = events.gap();

    let last_evicted = &scene.ids[EVICTED - 1];
    assert_eq!(
        gap,
        json!({ "reason": "expired", "from": old, "to": last_evicted })
    );
    scene.continues_with(&mut events, scene.retained());
}

fn an_id_of_an_earlier_life_is_an_epoch_gap(framework: &str) {
    let scene = Scene::set(framework);
    let newest = scene.newest_place();
    let earlier = Place {
        major: 1,
        minor: newest.minor,
    }
    .to_string();
    let mut events = scene.resume(Some(earlier.as_bytes()));
    let gap = scene.continues_after_a_gap(&mut events, "epoch");
    assert_eq!(gap["from"], earlier);
}

fn an_id_from_the_future_is_a_gap_and_events_flow(framework: &str) {
    for minor in [1_000, u64::MAX] {
        let scene = Scene::set(framework);
        let ahead = Place {
            minor,
            ..scene.newest_place()
        }
        .to_string();
        let mut events = scene.resume(Some(ahead.as_bytes()));
        let gap = scene.continues_after_a_gap(&mut events, "ahead");
        assert_eq!(gap["from"], ahead);
    }
}

fn text_that_is_no_id_is_a_gap(framework: &str) {
    for id in [
        "abc",
        "1",
        "-",
        "1-",
        "-1",
        "1-2-3",
        "18446744073709551616-0",
        "1 - 2",
        "\u{fc}",
    ] {
        Scene::set(framework).is_unparsable(id.as_bytes());
    }
}

fn an_id_of_60000_bytes_is_a_gap(framework: &str) {
    Scene::set(framework).is_unparsable(&[b'7'; 60_000]);
}

fn bytes_that_http_lets_through_are_a_gap(framework: &str) {
    for id in [
        &b"1\t-2"[..],
        b"\x80",
        b"\xff\xfe",
        b"1-2\xc3",
        b"\xc3\x28",
        b"a\"b\\c",
    ] {
        let scene = Scene::set(framework);
        if hands_on_headers_of_any_bytes(framework) || std::str::from_utf8(id).is_ok() {
            scene.is_unparsable(id);
        } else {
            // As if there were none; it cannot have been an id, which is ASCII.
            scene.continues_with(&mut scene.resume(Some(id)), &[]);
        }
    }
}

fn the_query_stands_in_for_the_header(framework: &str) {
    let scene = Scene::set(framework);
    let id = &scene.retained()[0];
    let names = [
        "lastEventId",
        "last-event-id",
        "last_event_id",
        "evs_last_event_id",
    ];
    let open = |name| {
        let target = format!("/events/orders?{name}={id}");
        Events::open(scene.demo.addr(), &Request::get(&target))
    };
    let streams: Vec<_> = names.into_iter().map(|name| (name, open(name))).collect();
    let live = scene.demo.publish("orders", "live");
    for (name, mut stream) in streams {
        let received = stream.up_to(&live);
        let ids: Vec<&str> = received.iter().map(|event| &*event.last_event_id).collect();
        let expect = [&scene.retained()[1..], std::slice::from_ref(&live)].concat();
        assert_eq!(ids, expect, "?{name}=");
    }
}

fn the_header_wins_over_the_query(framework: &str) {
    let scene = Scene::set(framework);
    let target = "/events/orders?lastEventId=nonsense";
    let request = Request::get(target).header("Last-Event-ID", scene.newest());
    let mut events = Events::open(scene.demo.addr(), &request);
    scene.continues_with(&mut events, &[]);
}

each_framework!(
    without_an_id_the_stream_is_live,
    an_empty_id_is_no_id,
    who_saw_everything_receives_only_what_is_new,
    who_saw_the_last_event_that_is_gone_misses_nothing,
    every_retained_place_continues_behind_it,
    who_saw_less_is_told_that_events_have_expired,
    an_id_of_an_earlier_life_is_an_epoch_gap,
    an_id_from_the_future_is_a_gap_and_events_flow,
    text_that_is_no_id_is_a_gap,
    an_id_of_60000_bytes_is_a_gap,
    bytes_that_http_lets_through_are_a_gap,
    the_query_stands_in_for_the_header,
    the_header_wins_over_the_query,
);
