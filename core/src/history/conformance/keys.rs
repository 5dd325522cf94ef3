//! Checks of appends that may be repeated.

use std::task::Context;
use std::thread;

use super::probe::{append, append_many, event_of, ids, nobody, read_whole, same};
use super::{ensure, Failure, Fixture, Outcome};
use crate::history::{History, Retention};
use crate::id::LastEventId;
use crate::topic::Topics;

pub(super) fn a_key_is_stored_once<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut stored = Vec::new();
    let texts = ["k", "", "k2", "größe 🦀\0\n", "a,b"];
    for key in texts {
        stored.push(append(&history, event_of("a", 1).key(key))?);
    }
    for n in 0..500 {
        append(&history, event_of("b", n).key(format!("other {n}")))?;
    }
    for (key, id) in texts.into_iter().zip(&stored) {
        let again = append(&history, event_of("a", 2).key(key))?;
        ensure(again == *id, || {
            format!("{key:?} was stored as {id}, and again as {again}")
        })?;
    }
    stored.push(append(&history, event_of("a", 3))?);
    let records = read_whole(&history, &Topics::from("a"), &LastEventId::none())?;
    same(&ids(&records), &stored, "with repeated keys")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_key_is_stored_once_however_many_ask<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let ask = || {
        let stored = (0..50).map(|n| append(&history, event_of("a", n).key(n.to_string())));
        stored.collect::<Result<Vec<_>, Failure>>()
    };
    let answers = thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        let join = |asking: thread::ScopedJoinHandle<'_, Result<_, Failure>>| {
            asking.join().map_err(|_| Failure::new("a panic"))?
        };
        asking.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let records = read_whole(&history, &Topics::all(), &LastEventId::none())?;
    for mut answer in answers {
        answer.sort_unstable();
        same(&answer, &ids(&records), "with each key asked for at once")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn a_key_outlives_its_record<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(1));
    let id = append(&history, event_of("a", 0).key("k"))?;
    let newest = append_many(&history, "a", 1..4)?;
    let again = append(&history, event_of("a", 0).key("k"))?;
    ensure(again == id, || {
        format!("a key of an evicted record, stored as {id}, is stored again as {again}")
    })?;
    let records = read_whole(&history, &Topics::all(), &LastEventId::none())?;
    same(&ids(&records), &newest[2..], "after a repetition")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_dropped_append_can_be_repeated_with_its_key<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut stored = Vec::new();
    let nobody = nobody();
    for n in 0..100 {
        let keyed = || event_of("a", n).key(n.to_string());
        let mut future = history.append(keyed());
        let _ = future.as_mut().poll(&mut Context::from_waker(&nobody));
        drop(future);
        stored.push(append(&history, keyed())?);
    }
    let records = read_whole(&history, &Topics::all(), &LastEventId::none())?;
    same(&ids(&records), &stored, "each dropped and repeated")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_key_outlives_reopening<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let id = append(&history, event_of("a", 0).key("k"))?;
    let Some(history) = fixture.reopen(history, Retention::new()) else {
        return Ok(Outcome::Skipped);
    };
    let again = append(&history, event_of("a", 0).key("k"))?;
    ensure(again == id, || {
        format!("a key was stored as {id}, and after reopening as {again}")
    })?;
    Ok(Outcome::Passed)
}
