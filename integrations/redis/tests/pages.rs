//! How large a page is, and what a client is told that reads page after page.

mod support;

use fanfare_core::history::{Append, History, Retention, MAX_PAGE_BYTES};
use fanfare_core::{Event, EventId, Gap, LastEventId, Record, Topic, Topics};
use fanfare_redis::RedisHistory;
use futures_lite::future::{block_on, poll_once};
use support::{builder_at, event, Server};

/// Appends as many as can be under way at once, and waits for all of them.
fn append_together(history: &RedisHistory, appends: impl Iterator<Item = Append>) -> Vec<EventId> {
    let mut waiting: Vec<_> = appends.map(|append| history.append(append)).collect();
    let begun = waiting.iter_mut().map(|append| block_on(poll_once(append)));
    let begun: Vec<_> = begun.collect();
    let answers = begun.into_iter().zip(waiting);
    let answers = answers.map(|(early, append)| early.unwrap_or_else(|| block_on(append)));
    answers.map(|id| id.expect("stored")).collect()
}

/// Reads to the end, and returns what was told and what was brought. No page is too large.
fn read_all(history: &RedisHistory, topics: &str, limit: usize) -> (Vec<Gap>, Vec<EventId>) {
    let topics = Topics::try_from(topics.to_owned()).expect("a selection");
    let (mut gaps, mut ids, mut after) = (Vec::new(), Vec::new(), LastEventId::none());
    loop {
        let page = block_on(history.replay(&topics, &after, limit)).expect("read");
        let bytes: usize = page.records.iter().map(|r| r.bytes().len()).sum();
        assert!(page.records.len() <= limit);
        assert!(
            bytes <= MAX_PAGE_BYTES || page.records.len() == 1,
            "{topics}: {bytes} bytes of {} records",
            page.records.len()
        );
        gaps.extend(page.gap);
        ids.extend(page.records.iter().map(Record::id));
        if after == page.last.into() {
            return (gaps, ids);
        }
        after = page.last.into();
    }
}

#[test]
fn no_page_is_larger_than_a_page_may_be() {
    let server = Server::start();
    let retention = Retention::new().records(1_000).bytes(64 << 20);
    let builder = builder_at(&server, "s").retention(retention);
    let history = builder.build().expect("builds");
    let all = append_together(
        &history,
        (0..500).map(|n| event("a", format!("{n:016000}"))),
    );
    let one_too_large = event("a", "x".repeat(MAX_PAGE_BYTES + 1));
    let all = [
        &all[..],
        &append_together(&history, [one_too_large].into_iter()),
    ]
    .concat();
    for topics in ["a", "a,b", "*", "all"] {
        for limit in [7, 1_000] {
            let (gaps, ids) = read_all(&history, topics, limit);
            assert_eq!((gaps, ids), (vec![], all.clone()), "{topics}, {limit}");
        }
    }
}

#[test]
fn no_page_of_many_topics_is_larger_than_a_page_may_be() {
    const TOPICS: usize = 300;
    let server = Server::start();
    let history = builder_at(&server, "s").build().expect("builds");
    let names: Vec<_> = (0..TOPICS).map(|n| format!("t.{n}")).collect();
    let appends = |data: &str, topics: usize| {
        let one = |name: &String| {
            let topic = Topic::new(name).expect("a topic");
            Append::new(topic, &Event::data(data))
        };
        let all: Vec<_> = names[..topics].iter().map(one).collect();
        all.into_iter()
    };
    let mut all = append_together(&history, appends(&"x".repeat(60_000), TOPICS));
    // Some topics have more than one record.
    all.extend(append_together(&history, appends("small", 10)));
    let (named, expect) = (names[..60].join(","), 60 + 10);
    for (topics, expect) in [
        (named.as_str(), expect),
        ("t.*", all.len()),
        ("all", all.len()),
    ] {
        let (gaps, ids) = read_all(&history, topics, 800);
        assert_eq!(gaps, []);
        assert!(ids.is_sorted());
        assert_eq!(ids.len(), expect, "{topics:.20}");
    }
}

#[test]
fn who_names_no_place_is_told_of_no_gap_however_much_was_evicted() {
    let server = Server::start();
    let builder = builder_at(&server, "s").retention(Retention::new().records(5));
    let history = builder.build().expect("builds");
    let all = append_together(&history, (0..5_000).map(|n| event("a", n)));
    for topics in ["a", "a,b", "a,*", "*", "all"] {
        for limit in [2, 1_000] {
            let (gaps, ids) = read_all(&history, topics, limit);
            assert_eq!(gaps, [], "{topics}");
            assert_eq!(ids, all[all.len() - 5..], "{topics}");
        }
    }
}
