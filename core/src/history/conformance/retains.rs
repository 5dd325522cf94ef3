//! Checks of what is retained, per topic.

use std::thread;
use std::time::{Duration, Instant};

use super::probe::{append, append_many, event_of, ids, read_all, read_whole, same};
use super::{ensure, Failure, Fixture, Outcome, PATIENCE};
use crate::history::Retention;
use crate::id::LastEventId;
use crate::topic::Topics;

pub(super) fn a_topic_retains_so_many_records<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    for limit in [1, 2, 10] {
        let history = fixture.open(Retention::new().records(limit));
        let mut all = Vec::new();
        for n in 0..25 {
            all.push(append(&history, event_of("a", n))?);
            let records = read_whole(&history, &Topics::from("a"), &LastEventId::none())?;
            let kept = &all[all.len().saturating_sub(limit)..];
            same(&ids(&records), kept, &format!("a topic of {limit} records"))?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn a_topic_retains_so_many_bytes<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    const LIMIT: usize = 10_000;
    let history = fixture.open(Retention::new().bytes(LIMIT));
    let topics = Topics::from("a");
    for n in 0..60 {
        append(&history, event_of("a", &"x".repeat(400 + n)))?;
    }
    let (_, records) = read_all(&history, &topics, &LastEventId::none(), 1_000)?;
    // Whether the line of the id counts is the backend's.
    let id_line = |id: crate::EventId| format!("id: {id}\n").len();
    let held: usize = records
        .iter()
        .map(|record| record.bytes().len() - id_line(record.id()))
        .sum();
    ensure((LIMIT / 2..=LIMIT).contains(&held), || {
        format!("{held} bytes are retained where {LIMIT} may be")
    })?;
    let large = append(&history, event_of("a", &"x".repeat(3 * LIMIT)))?;
    let (_, records) = read_all(&history, &topics, &LastEventId::none(), 1_000)?;
    same(&ids(&records), &[large], "the newest, whatever its size")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_topic_retains_nothing_too_old<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let none = LastEventId::none();
    let kept = fixture.open(Retention::new().age(Duration::from_secs(3_600)));
    let all = append_many(&kept, "a", 0..10)?;
    let history = fixture.open(Retention::new().age(Duration::from_millis(200)));
    let old = append_many(&history, "a", 0..10)?;
    let deadline = Instant::now() + PATIENCE;
    while !read_all(&history, &Topics::all(), &none, 100)?.1.is_empty() {
        ensure(Instant::now() < deadline, || {
            "records of 200 ms are there after a minute".to_owned()
        })?;
        thread::sleep(Duration::from_millis(5));
    }
    for topics in ["a", "all"].map(Topics::from) {
        let (gap, _) = read_all(&history, &topics, &old[3].into(), 100)?;
        ensure(gap.is_some(), || {
            format!("{topics} after {}: no gap where age has evicted", old[3])
        })?;
        read_whole(&history, &topics, &old[9].into())?;
    }
    let records = read_whole(&kept, &Topics::all(), &none)?;
    same(&ids(&records), &all, "records that are young enough")?;
    Ok(Outcome::Passed)
}

pub(super) fn a_loud_topic_evicts_only_itself<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(5).bytes(2_000));
    let quiet = append_many(&history, "quiet", 0..5)?;
    append_many(&history, "loud", 0..100)?;
    for n in 0..10 {
        append(&history, event_of("large", &"x".repeat(1_000 + n)))?;
    }
    let records = read_whole(&history, &Topics::from("quiet"), &LastEventId::none())?;
    same(&ids(&records), &quiet, "a quiet topic beside loud ones")?;
    let records = read_whole(&history, &Topics::from("quiet"), &quiet[0].into())?;
    same(&ids(&records), &quiet[1..], "a quiet topic's client")?;
    Ok(Outcome::Passed)
}
