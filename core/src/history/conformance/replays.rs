//! Checks of what a replay brings, in pages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::probe::{
    append, append_from_threads, append_many, append_together, event_of, ids, last_of, read_all,
    read_whole, replay, same,
};
use super::{block_on, ensure, Failure, Fixture, Outcome};
use crate::history::{History, Retention};
use crate::id::{EventId, LastEventId};
use crate::topic::{Topic, Topics};

/// Selections of every kind: named, listed, patterns, all, and of what is not there.
fn selections() -> Vec<Topics> {
    let texts = [
        "a", "b", "a,b", "a,c.d,x", "c.*", "c.>", "*", "*.e,a", "all", "x", "x.>",
    ];
    texts.into_iter().map(Topics::from).collect()
}

/// Forty records of topics in no regular order.
fn forty(history: &impl History) -> Result<Vec<(EventId, Topic)>, Failure> {
    let topics = ["a", "b", "c.d", "c.e", "c.d.f"];
    let stored = (0..40).map(|n| {
        let topic = topics[n * n / 3 % 5];
        Ok((append(history, event_of(topic, n))?, Topic::from(topic)))
    });
    stored.collect()
}

fn expected(stored: &[(EventId, Topic)], topics: &Topics, after: Option<EventId>) -> Vec<EventId> {
    let is_behind = |id: EventId| after.map_or(true, |after| id > after);
    stored
        .iter()
        .filter(|(id, topic)| is_behind(*id) && topics.matches(topic))
        .map(|(id, _)| *id)
        .collect()
}

pub(super) fn replay_begins_behind_any_id<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let stored = forty(&history)?;
    for topics in selections() {
        let places = stored.iter().map(|(id, _)| Some(*id));
        for after in places.chain([None]) {
            let last = after.map_or_else(LastEventId::none, LastEventId::from);
            let records = read_whole(&history, &topics, &last)?;
            let what = format!("{topics} after {after:?}");
            same(&ids(&records), &expected(&stored, &topics, after), &what)?;
            let of_another = records.iter().find(|record| {
                let is_it =
                    |(id, topic): &(EventId, Topic)| *id == record.id() && topic == record.topic();
                !stored.iter().any(is_it)
            });
            ensure(of_another.is_none(), || {
                format!("{what}: {of_another:?} has another topic than it was stored for")
            })?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn pages_lose_and_double_nothing<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let mut stored = forty(&history)?;
    // Some by themselves and some together, so that pages end everywhere in what was stored as one.
    stored.extend(append_together(&history, &["a", "b", "c.d"], 30)?);
    stored.extend(
        append_many(&history, "b", 0..4)?
            .into_iter()
            .map(|id| (id, Topic::from("b"))),
    );
    let count = stored.len();
    for topics in selections() {
        for limit in (1..=count + 1).chain([usize::MAX]) {
            let (_, records) = read_all(&history, &topics, &LastEventId::none(), limit)?;
            let what = format!("{topics} in pages of {limit}");
            same(&ids(&records), &expected(&stored, &topics, None), &what)?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn rare_records_among_many_are_found<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(10_000));
    let mut rare = append_many(&history, "rare.a", 0..1)?;
    append_from_threads(&history, 8, 400)?;
    rare.extend(append_many(&history, "rare.b", 1..2)?);
    append_from_threads(&history, 8, 20)?;
    for topics in ["rare.*", "rare.a,rare.b"].map(Topics::from) {
        for limit in [1, 2, 100] {
            let (_, records) = read_all(&history, &topics, &LastEventId::none(), limit)?;
            let what = format!("{topics} among thousands, in pages of {limit}");
            same(&ids(&records), &rare, &what)?;
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn replay_shows_no_id_before_every_smaller_one<F: Fixture>(
    fixture: &F,
) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new().records(10_000));
    let first = append(&history, event_of("a", "first"))?;
    let is_over = AtomicBool::new(false);
    let follow = |topics: Topics| {
        let (mut seen, mut last) = (Vec::new(), first);
        loop {
            // Looked at before the page, which then is the last that is needed.
            let was_over = is_over.load(Ordering::Acquire);
            let page = replay(&history, &topics, &last.into(), 100)?;
            if was_over && page.records.is_empty() && page.last == last {
                return Ok((topics, seen));
            }
            seen.extend(ids(&page.records));
            last = page.last;
        }
    };
    let read = thread::scope(|scope| {
        let readers = ["all", "b.*", "a"].map(|t| scope.spawn(move || follow(t.into())));
        let appended = append_from_threads(&history, 4, 200);
        is_over.store(true, Ordering::Release);
        let ended = readers.map(|reader| reader.join().map_err(|_| Failure::new("a panic"))?);
        appended?;
        ended.into_iter().collect::<Result<Vec<_>, Failure>>()
    })?;
    for (topics, seen) in read {
        let all = read_whole(&history, &topics, &first.into())?;
        same(&seen, &ids(&all), "a reader that follows by replaying")?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn no_question_is_an_error<F: Fixture>(fixture: &F) -> Result<Outcome, Failure> {
    let history = fixture.open(Retention::new());
    let last = last_of(&append_many(&history, "a", 0..3)?)?;
    let EventId { major, minor } = last;
    let ids = [
        (0, 0),
        (0, u64::MAX),
        (major, 0),
        (major, minor + 1),
        (major, u64::MAX),
        (major.saturating_add(1), 0),
        (u64::MAX, 0),
        (u64::MAX, u64::MAX),
    ];
    let texts = ids.map(|(major, minor)| EventId::new(major, minor).to_string());
    let others = ["-".to_owned(), "\0".to_owned(), "9".repeat(60_000)];
    for text in texts.iter().chain(&others) {
        let after = LastEventId::from_request(Some(text.as_bytes()), None);
        for topics in selections() {
            read_all(&history, &topics, &after, 2)?;
            let none = block_on(history.replay(&topics, &after, 0))??;
            ensure(none.records.is_empty(), || {
                "a page of no records holds one".to_owned()
            })?;
        }
    }
    Ok(Outcome::Passed)
}
