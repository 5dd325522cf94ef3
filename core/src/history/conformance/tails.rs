//! Checks of the tail: every record, in order, from a place that it says.

use std::task::Context;
use std::thread;

use super::probe::{
    append, append_from_threads, append_many, event_of, ids, last_of, nobody, read_all, read_whole,
    same, Follower,
};
use super::{ensure, Failure, Fixture, Outcome};
use crate::history::{History, Retention};
use crate::id::{EventId, LastEventId};
use crate::topic::Topics;

pub(super) fn a_tail_says_where_it_starts<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut early = Follower::open(&history, None)?;
    let before = append_many(&history, "a", 0..5)?;
    let mut late = Follower::open(&history, None)?;
    ensure(late.start == before[4], || {
        format!(
            "a tail from now starts at {}, not {}",
            late.start, before[4]
        )
    })?;
    let after = append_many(&history, "b", 5..10)?;
    late.until(after[4])?;
    same(&ids(&late.seen), &after, "a tail from now")?;
    early.until(after[4])?;
    let all = [before, after].concat();
    same(&ids(&early.seen), &all, "a tail of an empty history")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_tail_from_an_id_brings_what_follows<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut all = append_many(&history, "a", 0..5)?;
    all.extend(append_many(&history, "b", 5..10)?);
    let mut tails = Vec::new();
    for (place, id) in all.iter().enumerate() {
        let tail = Follower::open(&history, Some(*id))?;
        ensure(tail.start == *id, || {
            format!("a tail from {id} starts at {}", tail.start)
        })?;
        tails.push((tail, place));
    }
    all.push(append(&history, event_of("a", 10))?);
    for (mut tail, place) in tails {
        tail.until(last_of(&all)?)?;
        same(&ids(&tail.seen), &all[place + 1..], "a tail from an id")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn a_tail_from_an_evicted_place_says_so<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5));
    let all = append_many(&history, "a", 0..12)?;
    let mut tail = Follower::open(&history, Some(all[2]))?;
    ensure(tail.start >= all[6] && tail.start <= all[11], || {
        let (asked, start, gone) = (all[2], tail.start, all[6]);
        format!("a tail from {asked} starts at {start}, where {gone} was evicted last")
    })?;
    tail.until(all[11])?;
    let from = all.partition_point(|id| *id <= tail.start);
    same(
        &ids(&tail.seen),
        &all[from..],
        "a tail from an evicted place",
    )?;
    Ok(Outcome::Passed)
}

pub(super) fn a_tail_from_elsewhere_says_where_it_starts<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let all = append_many(&history, "a", 0..5)?;
    let newest = all[4];
    let elsewhere = [
        EventId::new(0, 1),
        EventId::new(newest.major, newest.minor + 1_000),
        EventId::new(newest.major.saturating_add(1_000_000), 3),
    ];
    for id in elsewhere {
        let mut tail = Follower::open(&history, Some(id))?;
        ensure(tail.start <= newest, || {
            format!("a tail from {id} starts at {}, ahead of all", tail.start)
        })?;
        tail.until(newest)?;
        let from = all.partition_point(|id| *id <= tail.start);
        same(&ids(&tail.seen), &all[from..], "a tail from elsewhere")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn tails_bring_every_record_in_order<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(10_000));
    let first = append(&history, event_of("a", "first"))?;
    let follow = |after: Option<EventId>| {
        let mut tail = Follower::open(&history, after)?;
        // To the record that closes it all; see below.
        loop {
            match tail.next()? {
                Some(record) if record.topic().as_str() == "end" => {
                    return Ok((tail.start, ids(&tail.seen)))
                }
                Some(_) => {}
                None => return Err(Failure::new("a tail ends while its history is open")),
            }
        }
    };
    let followed = thread::scope(|scope| {
        let mut tails = vec![
            scope.spawn(|| follow(None)),
            scope.spawn(|| follow(Some(first))),
        ];
        let appended = append_from_threads(&history, 4, 100).and_then(|ids| {
            tails.push(scope.spawn(|| follow(None)));
            tails.push(scope.spawn(|| follow(Some(first))));
            append_from_threads(&history, 4, 100)?;
            Ok(ids)
        });
        // Until every tail has started, a last record may be one that it never hears of.
        let mut ends = Vec::new();
        while appended.is_ok() && tails.iter().any(|tail| !tail.is_finished()) {
            ends.push(append(&history, event_of("end", ends.len()))?);
            thread::yield_now();
        }
        let ended = tails
            .into_iter()
            .map(|tail| tail.join().map_err(|_| Failure::new("a panic"))?);
        let ended = ended.collect::<Result<Vec<_>, Failure>>();
        appended?;
        ended
    })?;
    for (start, seen) in followed {
        let all = read_all(&history, &Topics::all(), &start.into(), 1_000)?.1;
        let upto = all.partition_point(|record| Some(&record.id()) <= seen.last());
        same(&seen, &ids(&all[..upto]), "a tail beside many appends")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn a_tail_brings_what_replay_does<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().bytes(16 << 20));
    let first = append(&history, event_of("a", "first"))?;
    let mut tail = Follower::open(&history, Some(first))?;
    let texts = ["", "x", "a\nb\r\nc", "größe 🦀"].map(str::to_owned);
    let mut last = first;
    for text in texts.into_iter().chain(["x".repeat(300_000)]) {
        last = append(&history, event_of("a", &text))?;
        // Each as it comes, and not from a page alone.
        tail.until(last)?;
    }
    tail.until(last)?;
    let records = read_whole(&history, &Topics::all(), &first.into())?;
    ensure(tail.seen == records, || {
        "a tail brings other records than replay".to_owned()
    })?;
    Ok(Outcome::Passed)
}

pub(super) fn tails_may_be_dropped<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let first = append(&history, event_of("a", "first"))?;
    let (topics, none) = (Topics::all(), LastEventId::none());
    let nobody = nobody();
    let mut cx = Context::from_waker(&nobody);
    let mut kept = Follower::open(&history, Some(first))?;
    for n in 0..200 {
        let mut tail = history.tail((n % 2 == 0).then_some(first));
        for _ in 0..n % 5 {
            let _ = tail.as_mut().poll_next(&mut cx);
        }
        if n % 3 == 0 {
            append(&history, event_of("a", n))?;
        }
        let mut page = history.replay(&topics, &none, 10);
        if n % 2 == 0 {
            let _ = page.as_mut().poll(&mut cx);
        }
    }
    let last = append(&history, event_of("a", "last"))?;
    kept.until(last)?;
    let records = read_whole(&history, &topics, &first.into())?;
    same(&ids(&kept.seen), &ids(&records), "beside dropped tails")?;
    Ok(Outcome::Passed)
}
