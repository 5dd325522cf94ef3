//! Checks of what an append promises: an id, an order, the bytes.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Duration;

use super::probe::{
    append, append_from_threads, append_many, event_of, grows, ids, nobody, read_whole, record_of,
    same, topic,
};
use super::{ensure, Failure, Fixture, Outcome};
use crate::event::Event;
use crate::history::{Append, History, Retention};
use crate::id::LastEventId;
use crate::record::Record;
use crate::topic::{Topic, Topics};

pub(super) fn append_then_replay<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    for n in 0..20 {
        let event = event_of("a", n);
        let id = append(&history, event.clone())?;
        let records = read_whole(&history, &Topics::all(), &LastEventId::none())?;
        ensure(records.last() == Some(&record_of(id, &event)), || {
            format!("{id} was stored, and replay ends with {:?}", records.last())
        })?;
        ensure(records.len() == n + 1, || {
            format!("{} appends, {} records", n + 1, records.len())
        })?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn ids_grow_over_all_topics<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut order = Vec::new();
    for n in 0..60 {
        order.push(append(&history, event_of(["a", "b", "c.d"][n % 3], n))?);
    }
    ensure(grows(&order), || format!("ids do not grow: {order:?}"))?;
    Ok(Outcome::Passed)
}

pub(super) fn ids_grow_over_concurrent_appends<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let threads = append_from_threads(&history, 8, 60)?;
    let mut expected = BTreeMap::new();
    for stored in threads {
        let own: Vec<_> = stored.iter().map(|(id, _)| *id).collect();
        ensure(grows(&own), || {
            format!("an append began after another had its id, and has a smaller one: {own:?}")
        })?;
        for (id, event) in stored {
            let twice = expected.insert(id, record_of(id, &event));
            ensure(twice.is_none(), || format!("{id} was handed out twice"))?;
        }
    }
    let records = read_whole(&history, &Topics::all(), &LastEventId::none())?;
    let order: Vec<_> = expected.keys().copied().collect();
    same(&ids(&records), &order, "after concurrent appends")?;
    ensure(records.iter().eq(expected.values()), || {
        "an id came back with another event than it was handed out for".to_owned()
    })?;
    Ok(Outcome::Passed)
}

pub(super) fn every_block_comes_back_byte_for_byte<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().bytes(16 << 20));
    let second = Duration::from_secs(1);
    let events = [
        Event::new(),
        Event::data(""),
        Event::data("x"),
        Event::data("a\nb\r\nc\rd\n"),
        Event::data("\n\n\n"),
        Event::data(": no comment\nretry: 5\nid: 7-7\nevent: e"),
        Event::data("größe 🦀 \u{2028}\u{feff}\0\u{7f}"),
        Event::data("x").name("quote").retry(second).comment("c"),
        Event::new().retry(second),
        Event::new().comment("only a comment\nof two lines"),
        Event::data("x").comment("id: 1\n\ndata: c"),
        Event::data("x".repeat(300_000)),
        Event::data("\n".repeat(20_000)),
    ];
    let long = format!("ö.{}", "x".repeat(252));
    for name in ["a", "a b.c'\"\\", "größe.🦀", &long] {
        let topic: Topic = topic(name)?;
        let mut expected = Vec::new();
        for event in &events {
            let event = Append::new(topic.clone(), event);
            let id = append(&history, event.clone())?;
            expected.push(record_of(id, &event));
        }
        let records = read_whole(&history, &Topics::from(&topic), &LastEventId::none())?;
        same(&ids(&records), &ids(&expected), "every kind of event")?;
        for (found, expected) in records.iter().zip(&expected) {
            ensure(found == expected, || differ(found, expected))?;
        }
    }
    Ok(Outcome::Passed)
}

fn differ(found: &Record, expected: &Record) -> String {
    let cut = |record: &Record| record.bytes().slice(..record.bytes().len().min(100));
    format!(
        "a block came back as {:?}, not as {:?}",
        cut(found),
        cut(expected)
    )
}

pub(super) fn dropped_appends_happen_once_or_not<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(10_000).bytes(16 << 20));
    let (mut ready, mut answered) = (Vec::new(), Vec::new());
    let nobody = nobody();
    for n in 0..500 {
        let mut future = history.append(event_of("a", n));
        let mut cx = Context::from_waker(&nobody);
        // After no poll, after one, after two, and never.
        let id = (0..n % 3).find_map(|_| match future.as_mut().poll(&mut cx) {
            Poll::Ready(id) => Some(id),
            Poll::Pending => None,
        });
        drop(future);
        if id.is_some() || n % 7 == 0 {
            answered.extend(append_many(&history, "b", n..n + 1)?);
        }
        ready.extend(id.transpose()?);
    }
    let records = read_whole(&history, &Topics::from("a"), &LastEventId::none())?;
    let stored = ids(&records);
    let missing = ready.iter().find(|id| !stored.contains(id));
    ensure(missing.is_none(), || {
        format!("an append was answered with {missing:?}, which is not there")
    })?;
    let mut texts: Vec<_> = records.iter().filter_map(Record::message).collect();
    texts.sort_by(|one, other| one.data.cmp(&other.data));
    let twice = texts.windows(2).find(|pair| pair[0].data == pair[1].data);
    ensure(twice.is_none(), || {
        format!("a dropped append happened twice: {twice:?}")
    })?;
    let records = read_whole(&history, &Topics::from("b"), &LastEventId::none())?;
    same(&ids(&records), &answered, "those that were not dropped")?;
    Ok(Outcome::Passed)
}
