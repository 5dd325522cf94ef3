//! Checks of what a client is told that cannot be given everything.

use super::probe::{
    append, append_many, event_of, gap_after, ids, last_of, read_all, read_whole, same,
};
use super::{ensure, Failure, Fixture, Outcome};
use crate::gap::{Gap, GapReason};
use crate::history::Retention;
use crate::id::{EventId, LastEventId};
use crate::topic::Topics;

fn last(text: &str) -> LastEventId {
    LastEventId::from_request(Some(text.as_bytes()), None)
}

/// What a gap says: why, from where as the client wrote it, and no place that is beyond it all.
fn says(gap: &Gap, reason: GapReason, from: &str, newest: EventId) -> Result<(), Failure> {
    ensure(gap.reason == reason, || {
        format!("{gap}, where the reason is {reason}")
    })?;
    ensure(gap.from.as_deref() == Some(from), || {
        format!("{gap}, where the client was at {from}")
    })?;
    ensure(gap.to <= newest, || {
        format!("{gap}, where the newest record is {newest}")
    })
}

pub(super) fn an_evicted_place_is_a_gap<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5));
    let all = append_many(&history, "a", 0..12)?;
    let newest = last_of(&all)?;
    for topics in ["a", "a,b", "*", "all"].map(Topics::from) {
        for gone in &all[..6] {
            let after = LastEventId::from(*gone);
            let (gap, records) = read_all(&history, &topics, &after, 3)?;
            let gap = gap.ok_or_else(|| Failure::new(format!("{topics} after {gone}: no gap")))?;
            says(&gap, GapReason::Expired, &gone.to_string(), newest)?;
            ensure(gap.to == all[6], || {
                format!("{gap}, where {} was evicted last", all[6])
            })?;
            same(&ids(&records), &all[7..], "behind a gap")?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn the_last_evicted_place_is_no_gap<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5));
    let all = append_many(&history, "a", 0..12)?;
    for topics in ["a", "*", "all"].map(Topics::from) {
        for place in 6..12 {
            let records = read_whole(&history, &topics, &all[place].into())?;
            same(&ids(&records), &all[place + 1..], "from a retained place")?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn a_hole_behind_a_quiet_topics_records_is_a_gap<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5));
    let quiet = append(&history, event_of("quiet", 0))?;
    let loud = append_many(&history, "loud", 0..12)?;
    let mut expected = vec![quiet];
    expected.extend_from_slice(&loud[7..]);
    for topics in ["quiet,loud", "*", "all"].map(Topics::from) {
        for (after, skip) in [(LastEventId::none(), 0), (quiet.into(), 1)] {
            let (gap, records) = read_all(&history, &topics, &after, 2)?;
            let is_there = gap.as_ref().is_some_and(|gap| {
                gap.reason == GapReason::Expired && gap.to >= loud[6] && gap.to < loud[7]
            });
            ensure(is_there, || {
                format!(
                    "{topics} after {after:?}, with a hole up to {}: {gap:?}",
                    loud[6]
                )
            })?;
            same(&ids(&records), &expected[skip..], "around a hole")?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn an_id_of_another_log_is_an_epoch_gap<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let other = fixture.open(Retention::new());
    let elsewhere = last_of(&append_many(&other, "a", 0..3)?)?;
    let history = fixture.open(Retention::new());
    let all = append_many(&history, "a", 0..3)?;
    for id in [elsewhere, EventId::new(0, 1), EventId::new(1, 2)] {
        let gap = gap_after(&history, &Topics::from("a"), &id.into())?;
        // An engine whose ids are a clock's cannot tell another log's from its own future.
        let is_known = matches!(gap.reason, GapReason::Epoch | GapReason::Ahead);
        let reason = if is_known && id == elsewhere {
            gap.reason
        } else {
            GapReason::Epoch
        };
        says(&gap, reason, &id.to_string(), last_of(&all)?)?;
        let (_, records) = read_all(&history, &Topics::from("a"), &id.into(), 2)?;
        same(&ids(&records), &all, "for a client of another log")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn an_id_from_the_future_is_ahead<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let all = append_many(&history, "a", 0..3)?;
    let newest = last_of(&all)?;
    for ahead in [1, 1_000_000] {
        let id = EventId::new(newest.major, newest.minor + ahead);
        let gap = gap_after(&history, &Topics::from("a"), &id.into())?;
        says(&gap, GapReason::Ahead, &id.to_string(), newest)?;
        let (_, records) = read_all(&history, &Topics::from("a"), &id.into(), 2)?;
        same(&ids(&records), &all, "for a client from the future")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn text_that_is_no_id_is_unparsable<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let all = append_many(&history, "a", 0..3)?;
    let long = "ö".repeat(1_000);
    for text in ["x", "7", "7-", " 7-1", "7-1-1", "\"", &long] {
        let gap = gap_after(&history, &Topics::from("a"), &last(text))?;
        let echo: String = text.chars().take(128).collect();
        says(&gap, GapReason::Unparsable, &echo, last_of(&all)?)?;
        let (_, records) = read_all(&history, &Topics::from("a"), &last(text), 2)?;
        same(&ids(&records), &all, "for a client that names no place")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn no_id_is_no_gap<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5));
    let nothing = read_whole(&history, &Topics::all(), &LastEventId::none())?;
    ensure(nothing.is_empty(), || {
        format!("a new history holds {nothing:?}")
    })?;
    let all = append_many(&history, "a", 0..12)?;
    for topics in ["a", "*", "all"].map(Topics::from) {
        let records = read_whole(&history, &topics, &LastEventId::none())?;
        same(&ids(&records), &all[7..], "from the oldest")?;
    }
    Ok(Outcome::Passed)
}
