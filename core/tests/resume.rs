//! A client that returns gets exactly what it missed, or is told where the hole is.

mod support;

use std::time::Duration;

use fanfare_core::timer::ManualTimer;
use fanfare_core::{Broadcaster, Event, EventId, LastEventId, Record, Retention};
use support::{
    brief, next_now, numbers, place, publish, publish_many, replay, words, Client, Seen,
};

/// A window of 5: part-full, exactly full, wrapped once, wrapped often.
const WINDOW: usize = 5;
const FILLS: [u64; 5] = [0, 3, 5, 6, 17];

fn hub() -> Broadcaster {
    Broadcaster::builder().history(WINDOW).build()
}

fn filled(published: u64) -> Broadcaster {
    let hub = hub();
    publish_many(&hub, "a", published);
    hub
}

/// The newest place that a window of 5 has lost.
fn evicted(published: u64) -> u64 {
    published.saturating_sub(WINDOW as u64)
}

/// The client reads what is there, falls asleep, and is woken by what is published next.
#[track_caller]
fn live_events_flow(hub: &Broadcaster, client: &mut Client, topic: &'static str) {
    client.was_woken();
    let id = publish(hub, topic);
    assert!(client.was_woken(), "it sleeps until an event is published");
    assert_eq!(client.drain_brief(), format!("#{}", id.minor));
}

#[test]
fn every_position_in_every_window_is_resumed_strictly_after() {
    for published in FILLS {
        for at in 0..=published {
            let hub = filled(published);
            let expect = if at < evicted(published) {
                let gap = format!("gap:expired>{}", evicted(published));
                words(&[&gap, &numbers(evicted(published) + 1, published)])
            } else {
                numbers(at + 1, published)
            };
            let mut client = Client::open(hub.subscribe("a").after(place(&hub, at)));
            assert_eq!(client.drain_brief(), expect, "after {at} of {published}");
            live_events_flow(&hub, &mut client, "a");
        }
    }
}

#[test]
fn an_expired_gap_names_both_of_its_ends() {
    let hub = filled(17);
    let mut client = Client::open(hub.subscribe("a").after(place(&hub, 4)));
    let Some(Seen::Gap { reason, from, to }) = client.drain().into_iter().next() else {
        panic!("the gap comes first");
    };
    assert_eq!(reason, "expired");
    assert_eq!(from, Some(place(&hub, 4).to_string()));
    assert_eq!(to, place(&hub, 12));
}

#[test]
fn an_id_that_is_no_place_in_this_log_gets_one_gap_and_all_that_is_retained() {
    for published in FILLS {
        let epoch = hub_epoch(&filled(published));
        for (reason, header) in [
            ("unparsable", b"x".to_vec()),
            ("unparsable", b"17".to_vec()),
            ("unparsable", b"-".to_vec()),
            ("unparsable", vec![b'7'; 60_000]),
            ("unparsable", b"7-\xff4".to_vec()),
            ("unparsable", vec![0xff; 60_000]),
            ("unparsable", b"a\rb\nid: 9".to_vec()),
            ("epoch", b"0-0".to_vec()),
            ("epoch", b"7-4".to_vec()),
            ("epoch", format!("{}-1", epoch - 1).into_bytes()),
            ("epoch", format!("{}-{}", u64::MAX, u64::MAX).into_bytes()),
        ] {
            let hub = filled(published);
            let last = LastEventId::from_request(Some(&header), None);
            check_foreign(&hub, published, reason, &last);
        }
        for ahead in [published + 1, published + 2, u64::MAX] {
            let hub = filled(published);
            let last = place(&hub, ahead).into();
            check_foreign(&hub, published, "ahead", &last);
        }
    }
}

fn hub_epoch(hub: &Broadcaster) -> u64 {
    hub.stats().last.major
}

fn check_foreign(hub: &Broadcaster, published: u64, reason: &str, last: &LastEventId) {
    let mut client = Client::open(hub.subscribe("a").after(last));
    let seen = client.drain();
    let evicted = evicted(published);
    let gap = format!("gap:{reason}>{evicted}");
    let expect = words(&[&gap, &numbers(evicted + 1, published)]);
    assert_eq!(brief(&seen), expect, "{last:?} of {published}");
    let Some(Seen::Gap { from, .. }) = seen.first() else {
        panic!("checked above");
    };
    let sent = last.as_str().expect("something was sent");
    let echo: String = sent.chars().take(128).collect();
    assert_eq!(from.as_deref(), Some(&*echo), "what was asked for, cut");
    live_events_flow(hub, &mut client, "a");
}

#[test]
fn who_names_no_place_starts_now() {
    for published in FILLS {
        let empty_header = LastEventId::from_request(Some(b""), Some("lastEventId="));
        for last in [LastEventId::none(), empty_header] {
            let hub = filled(published);
            let mut client = Client::open(hub.subscribe("a").after(last));
            assert_eq!(client.drain_brief(), "", "of {published}");
            live_events_flow(&hub, &mut client, "a");
        }
        let hub = filled(published);
        let mut client = Client::open(hub.subscribe("a"));
        assert_eq!(client.drain_brief(), "");
        live_events_flow(&hub, &mut client, "a");
    }
}

#[test]
fn from_oldest_begins_with_what_is_retained_and_without_a_gap() {
    for published in FILLS {
        let hub = filled(published);
        let mut client = Client::open(hub.subscribe("a").from_oldest());
        let expect = numbers(evicted(published) + 1, published);
        assert_eq!(client.drain_brief(), expect, "of {published}");
        live_events_flow(&hub, &mut client, "a");
    }
}

#[test]
fn an_id_from_an_earlier_life_is_recognised_although_the_number_fits() {
    let earlier = filled(17);
    let hub = filled(17);
    let seen = publish(&earlier, "a");
    assert!(place(&hub, 1) > seen, "a later life has greater ids");
    let mut client = Client::open(hub.subscribe("a").after(seen));
    let expect = words(&["gap:epoch>12", &numbers(13, 17)]);
    assert_eq!(client.drain_brief(), expect);
}

#[test]
fn a_loud_topic_costs_a_quiet_ones_client_nothing() {
    let hub = hub();
    publish(&hub, "quiet"); // 1
    publish_many(&hub, "loud", 40); // 2..=41, of which 37..=41 are left
    publish(&hub, "quiet"); // 42
    for (topics, at, expect) in [
        ("quiet", 0, "#1 #42"),
        ("quiet", 1, "#42"),
        ("quiet", 20, "#42"),
        ("quiet", 41, "#42"),
        ("quiet", 42, ""),
        ("loud", 36, "#37 #38 #39 #40 #41"),
        ("loud", 35, "gap:expired>36 #37 #38 #39 #40 #41"),
        ("loud", 41, ""),
        ("loud", 42, ""),
        ("loud,quiet", 36, "#37 #38 #39 #40 #41 #42"),
        // What is left of the quiet one follows the gap in its place.
        ("loud,quiet", 0, "gap:expired>36 #1 #37 #38 #39 #40 #41 #42"),
        ("all", 1, "gap:expired>36 #37 #38 #39 #40 #41 #42"),
        ("all", 41, "#42"),
    ] {
        let mut client = Client::open(hub.subscribe(topics).after(place(&hub, at)));
        assert_eq!(client.drain_brief(), expect, "{topics} after {at}");
    }
}

#[test]
fn every_selection_resumes_its_own_topics_in_publication_order() {
    const TOPICS: [&str; 5] = ["a", "b", "x.1", "x.2", "x.1.deep"];
    let is_in = |selection: &str, topic: &str| match selection {
        "all" | ">" => true,
        "a" => topic == "a",
        "a,b" => matches!(topic, "a" | "b"),
        "*" => !topic.contains('.'),
        "x.*" => matches!(topic, "x.1" | "x.2"),
        "x.>" => topic.starts_with("x."),
        "x.*,b" => matches!(topic, "x.1" | "x.2" | "b"),
        _ => panic!("no expectation for {selection}"),
    };
    for selection in ["all", ">", "a", "a,b", "*", "x.*", "x.>", "x.*,b"] {
        let hub = hub();
        let mut log = Vec::new();
        let mut live = Client::open(hub.subscribe(selection));
        live.drain();
        for n in 0..25 {
            // Every topic in turn, in an order that changes.
            let topic = TOPICS[(n * 7 + n / 5) % TOPICS.len()];
            log.push((publish(&hub, topic).minor, topic));
            let expect = log.last().filter(|(_, topic)| is_in(selection, topic));
            let expect = expect.map_or(String::new(), |(minor, _)| format!("#{minor}"));
            assert_eq!(live.drain_brief(), expect, "{selection}, live");
        }
        for at in 0..=25 {
            let missed = log
                .iter()
                .filter(|(minor, topic)| *minor > at && is_in(selection, topic))
                .map(|(minor, _)| format!("#{minor}"));
            let expect = missed.collect::<Vec<_>>().join(" ");
            let mut client = Client::open(hub.subscribe(selection).after(place(&hub, at)));
            assert_eq!(client.drain_brief(), expect, "{selection} after {at}");
            if at == 0 {
                let mut client = Client::open(hub.subscribe(selection).from_oldest());
                assert_eq!(client.drain_brief(), expect, "{selection} from the oldest");
            }
        }
    }
}

#[test]
fn a_topic_that_appears_later_is_followed_by_who_selected_it_before() {
    for selection in ["later", "a,later", "all", "*", "later,x.*"] {
        let hub = hub();
        let mut client = Client::open(hub.subscribe(selection));
        assert_eq!(client.drain_brief(), "");
        live_events_flow(&hub, &mut client, "later");
    }
}

#[test]
fn pages_of_any_size_come_to_the_same_as_a_stream() {
    let hub = hub();
    for _ in 0..4 {
        publish(&hub, "a");
        publish(&hub, "b");
    }
    let whole: Vec<_> = replay(&hub, "all", LastEventId::none(), usize::MAX).records;
    assert_eq!(whole.len(), 8);
    for limit in 1..=9 {
        let (mut records, mut last) = (Vec::new(), LastEventId::none());
        loop {
            let page = replay(&hub, "all", &last, limit);
            assert_eq!(page.gap, None);
            assert!(page.records.len() <= limit);
            if page.records.is_empty() {
                assert_eq!(page.last, place(&hub, 8));
                break;
            }
            records.extend(page.records);
            last = page.last.into();
        }
        assert_eq!(records, whole, "pages of {limit}");
    }
}

#[test]
fn a_page_says_where_to_go_on_and_what_is_missing() {
    let hub = filled(17);
    publish(&hub, "b"); // 18
    for (topics, at, limit, gap, records, last) in [
        ("a", 17, 10, None, "", 18),
        ("a", 15, 10, None, "#16 #17", 18),
        ("a", 12, 2, None, "#13 #14", 14),
        // Exactly as many as there are: nothing of the topic is left up to the end of the log.
        ("a", 12, 5, None, "#13 #14 #15 #16 #17", 18),
        ("a", 11, 2, Some(("expired", 12)), "#13 #14", 14),
        ("a", 19, 2, Some(("ahead", 12)), "#13 #14", 14),
        ("a,b", 16, 1, None, "#17", 17),
        ("b", 0, 10, None, "#18", 18),
        ("unheard-of", 0, 10, None, "", 18),
        ("a", 15, 0, None, "", 15),
    ] {
        let page = replay(&hub, topics, place(&hub, at), limit);
        let case = format!("{limit} of {topics} after {at}");
        let told = page.gap.as_ref().map(|gap| (gap.reason.as_str(), gap.to));
        let expect = gap.map(|(reason, to)| (reason, place(&hub, to)));
        assert_eq!(told, expect, "{case}");
        assert_eq!(in_brief(&page.records), records, "{case}");
        assert_eq!(page.last, place(&hub, last), "{case}");
    }
    let first = replay(&hub, "a", LastEventId::none(), 1);
    assert_eq!(
        first.gap, None,
        "who asks for the oldest has missed nothing"
    );
    assert_eq!(first.records[0].id(), place(&hub, 13));
}

const AGE: Duration = Duration::from_secs(100);
/// The slack that retention allows itself.
const SLACK: Duration = Duration::from_secs(25);

fn aging() -> (Broadcaster, ManualTimer) {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .history(Retention::new().age(AGE))
        .timer(timer.clone())
        .build();
    (hub, timer)
}

#[test]
fn records_are_kept_for_their_age_and_gone_soon_after_it() {
    let (hub, timer) = aging();
    let retained = || brief_page(&hub, "a");
    publish(&hub, "a");
    timer.advance(AGE / 2);
    publish(&hub, "a");
    timer.advance(AGE / 2);
    assert_eq!(retained(), "#1 #2", "not older than the age yet");
    timer.advance(SLACK);
    assert_eq!(retained(), "#2");
    timer.advance(AGE / 2 - SLACK);
    assert_eq!(retained(), "#2", "not older than the age yet");
    timer.advance(SLACK);
    assert_eq!(retained(), "");
}

fn brief_page(hub: &Broadcaster, topic: &'static str) -> String {
    let page = replay(hub, topic, LastEventId::none(), usize::MAX);
    in_brief(&page.records)
}

fn in_brief(records: &[Record]) -> String {
    let ids = records.iter().map(|record| record.id().minor);
    let ids: Vec<_> = ids.map(|minor| format!("#{minor}")).collect();
    ids.join(" ")
}

#[test]
fn a_publisher_that_never_stops_leaves_nothing_that_is_too_old() {
    let (hub, timer) = aging();
    for n in 1..=100 {
        publish(&hub, "a");
        let oldest = replay(&hub, "a", LastEventId::none(), 1).records[0].id();
        // One event a second, so that places are seconds.
        assert!(oldest.minor + AGE.as_secs() + SLACK.as_secs() >= n);
        timer.advance(Duration::from_secs(1));
    }
}

#[test]
fn a_topic_that_nobody_uses_leaves_no_memory_and_comes_back_without_a_silent_hole() {
    let (hub, timer) = aging();
    publish(&hub, "a"); // 1
    timer.advance(AGE + SLACK);
    assert!(hub.stats().topics.is_empty(), "{:?}", hub.stats().topics);
    publish(&hub, "a"); // 2
    for (topics, at, expect) in [
        ("a", 0, "gap:expired>1 #2"),
        ("a", 1, "#2"),
        ("a", 2, ""),
        ("*", 0, "gap:expired>1 #2"),
        ("all", 1, "#2"),
        // Whether the topic existed before is forgotten too, so who was there may have missed
        // something ...
        ("b", 0, "gap:expired>1"),
        // ... and who came later has not.
        ("b", 1, ""),
    ] {
        let mut client = Client::open(hub.subscribe(topics).after(place(&hub, at)));
        assert_eq!(client.drain_brief(), expect, "{topics} after {at}");
        let of_page = replay(&hub, topics, place(&hub, at), 10).gap.is_some();
        assert_eq!(of_page, expect.contains("gap"), "{topics} after {at}");
    }
    timer.advance(AGE + SLACK);
    assert!(hub.stats().topics.is_empty(), "{:?}", hub.stats().topics);
}

#[test]
fn a_topic_that_was_only_listened_to_leaves_no_memory() {
    for topics in ["a", "a,b", "x.*", "all"] {
        let hub = hub();
        let client = Client::open(hub.subscribe(topics));
        let followed = hub.stats().topics.len();
        assert_eq!(
            followed,
            topics.matches(['a', 'b']).count() * usize::from(topics != "all")
        );
        drop(client);
        assert!(hub.stats().topics.is_empty(), "{topics}");
    }
}

#[test]
fn a_client_keeps_a_topic_whose_history_is_gone() {
    let (hub, timer) = aging();
    let mut client = Client::open(hub.subscribe("a"));
    client.drain();
    publish(&hub, "a");
    assert_eq!(client.drain_brief(), "#1");
    timer.advance(AGE + SLACK);
    let seen = client.drain_brief();
    assert!(!seen.contains(['#', 'g']), "only signs of life: {seen}");
    assert_eq!(hub.stats().topics.len(), 1);
    publish(&hub, "a");
    assert_eq!(client.drain_brief(), "#2");
    drop(client);
    assert_eq!(hub.stats().topics.len(), 1, "its history is still there");
    timer.advance(AGE + SLACK);
    assert!(hub.stats().topics.is_empty());
}

#[test]
fn bytes_bound_a_topic_and_the_newest_stays_whatever_its_size() {
    let hub = Broadcaster::builder()
        .history(Retention::new().bytes(200))
        .build();
    let held = || {
        let (_, topic) = hub.stats().topics[0];
        (topic.records, topic.bytes)
    };
    let publish = |len: usize| {
        let event = Event::data("x".repeat(len));
        hub.try_publish("a", event).expect("published")
    };
    let sizes: Vec<usize> = (0..4)
        .map(|_| {
            let id: EventId = publish(10);
            format!("id: {id}\ndata: {}\n\n", "x".repeat(10)).len()
        })
        .collect();
    assert!(sizes.iter().sum::<usize>() <= 200, "all four fit");
    assert_eq!(held(), (4, sizes.iter().sum()));

    publish(1_000); // 5
    assert_eq!(held().0, 1);
    assert!(held().1 > 1_000);
    let mut client = Client::open(hub.subscribe("a").after(place(&hub, 0)));
    assert_eq!(client.drain_brief(), "gap:expired>4 #5");

    publish(10); // 6
    assert_eq!(held().0, 1, "the large one made way");
    assert!(held().1 <= 200);
    assert_eq!(client.drain_brief(), "#6");
}

#[test]
fn a_returning_client_is_told_how_long_to_wait_before_anything_else() {
    let hub = filled(17);
    let mut subscriber = hub
        .subscribe("a")
        .after(EventId::new(7, 7))
        .open()
        .expect("admitted");
    assert_eq!(next_now(&mut subscriber).expect("open"), "retry: 2000\n");
    let gap = next_now(&mut subscriber).expect("open");
    let to = place(&hub, 12);
    assert_eq!(
        gap,
        format!("event: gap\ndata: {{\"reason\":\"epoch\",\"from\":\"7-7\",\"to\":\"{to}\"}}\n\n")
    );
}
