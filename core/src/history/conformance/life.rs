//! Checks of what outlives a history's end.

use std::thread;

use super::probe::{
    append, append_many, event_of, ids, is_closed, last_of, read_all, read_whole, same, Follower,
};
use super::{block_on, ensure, Failure, Fixture, Outcome};
use crate::history::{History, Retention};
use crate::id::LastEventId;
use crate::topic::Topics;

pub(super) fn records_outlive_reopening<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let retention = Retention::new().bytes(16 << 20);
    let mut history = fixture.open(retention);
    let none = LastEventId::none();
    for round in 0..3 {
        append_many(&history, "a", 0..10)?;
        append_many(&history, "b.c", 0..10)?;
        append(&history, event_of("a", &"x".repeat(100_000)))?;
        let before = read_whole(&history, &Topics::all(), &none)?;
        let Some(again) = fixture.reopen(history, retention) else {
            return Ok(Outcome::Skipped);
        };
        history = again;
        for topics in ["a", "b.*", "all"].map(Topics::from) {
            let expected = before.iter().filter(|r| topics.matches(r.topic()));
            let expected: Vec<_> = expected.cloned().collect();
            let after = read_whole(&history, &topics, &none)?;
            same(&ids(&after), &ids(&expected), "after reopening")?;
            ensure(after == expected, || {
                format!("reopened {round} times, records differ")
            })?;
            // A client that was there before misses nothing.
            let place = expected[7].id();
            let missed = read_whole(&history, &topics, &place.into())?;
            same(&ids(&missed), &ids(&expected[8..]), "a returning client")?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn ids_grow_over_reopening<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let mut history = fixture.open(Retention::new().records(2));
    let mut last = append(&history, event_of("a", "first"))?;
    for n in 0..5 {
        let Some(again) = fixture.reopen(history, Retention::new().records(2)) else {
            return Ok(Outcome::Skipped);
        };
        history = again;
        let mut tail = Follower::open(&history, None)?;
        let next = append_many(&history, "a", 0..n + 1)?;
        ensure(next[0] > last, || {
            format!(
                "{} was handed out after {last}, which is of before",
                next[0]
            )
        })?;
        last = last_of(&next)?;
        tail.until(last)?;
        same(&ids(&tail.seen), &next, "a tail after reopening")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn gaps_are_exact_after_reopening<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let retention = Retention::new().records(5);
    let history = fixture.open(retention);
    let quiet = append_many(&history, "quiet", 0..3)?;
    let loud = append_many(&history, "loud", 0..12)?;
    let Some(history) = fixture.reopen(history, retention) else {
        return Ok(Outcome::Skipped);
    };
    let records = read_whole(&history, &"quiet".into(), &quiet[0].into())?;
    same(&ids(&records), &quiet[1..], "a quiet topic after reopening")?;
    let records = read_whole(&history, &"loud".into(), &loud[6].into())?;
    same(&ids(&records), &loud[7..], "after the last evicted place")?;
    for topics in ["loud", "loud,quiet", "all"].map(Topics::from) {
        let (gap, _) = read_all(&history, &topics, &loud[5].into(), 10)?;
        ensure(gap.as_ref().is_some_and(|gap| gap.to == loud[6]), || {
            format!("{topics} after an evicted place, reopened: {gap:?}")
        })?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn what_is_closed_refuses<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    append_many(&history, "a", 0..3)?;
    if !fixture.close(&history) {
        return Ok(Outcome::Skipped);
    }
    for _ in 0..2 {
        let answer = block_on(history.append(event_of("a", 3)))?;
        ensure(is_closed(&answer), || {
            format!("an append to a closed history: {answer:?}")
        })?;
        let (topics, none) = (Topics::all(), LastEventId::none());
        let page = block_on(history.replay(&topics, &none, 10))?;
        ensure(page.is_ok() || is_closed(&page), || {
            format!("a replay of a closed history: {page:?}")
        })?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn closing_ends_tails<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut unread = Follower::open(&history, None)?;
    let all = append_many(&history, "a", 0..3)?;
    let mut waiting = Follower::open(&history, None)?;
    let was_closed = thread::scope(|scope| {
        let waits = scope.spawn(|| waiting.next());
        let was_closed = fixture.close(&history);
        if !was_closed {
            // What the tail waits for instead.
            append(&history, event_of("a", 3))?;
        }
        let record = waits.join().map_err(|_| Failure::new("a panic"))??;
        ensure(record.is_none() == was_closed, || {
            format!("closed, a tail brings {record:?}")
        })?;
        Ok::<_, Failure>(was_closed)
    })?;
    if !was_closed {
        return Ok(Outcome::Skipped);
    }
    while unread.next()?.is_some() {}
    same(&ids(&unread.seen), &all, "a tail that had not read all")?;
    Ok(Outcome::Passed)
}
