//! `Memory` does what every history must; and histories that do not are found out, each by the
//! check that is meant for its fault.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::task::{Context, Poll};

use fanfare_core::history::conformance::{self, Fixture};
use fanfare_core::history::{
    Append, BoxFuture, BoxStream, History, HistoryError, Memory, Page, Retention, TailItem,
};
use fanfare_core::{Event, EventId, LastEventId, Record, Topics};
use futures_core::Stream;

struct InMemory;

impl Fixture for InMemory {
    type History = Memory;

    fn open(&self, retention: Retention) -> Memory {
        Memory::new(retention)
    }
}

#[test]
fn memory_does_what_every_history_must() {
    conformance::run(&InMemory);
}

/// What a [`Broken`] history does wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    LosesARecord,
    DoublesARecord,
    SwapsTwoRecords,
    MakesNoProgress,
    ForgetsGaps,
    MistakesTheReason,
    EvictsOtherTopics,
    RetainsOneTooMany,
    ForgetsKeys,
    ChangesABlock,
    RepeatsAnId,
    TailLosesARecord,
    TailDoublesARecord,
    TailIsSilentAboutItsStart,
    Panics,
    TailEndsAtOnce,
}

/// `Memory`, but for one fault.
#[derive(Debug)]
struct Broken {
    memory: Memory,
    fault: Fault,
    retention: Retention,
    appended: AtomicU64,
    keys: Mutex<HashMap<String, ()>>,
}

impl Fixture for Fault {
    type History = Broken;

    fn open(&self, retention: Retention) -> Broken {
        let actual = match self {
            Self::RetainsOneTooMany => retention.records(retention.max_records() + 1),
            _ => retention,
        };
        Broken {
            memory: Memory::new(actual),
            fault: *self,
            retention,
            appended: AtomicU64::new(0),
            keys: Mutex::default(),
        }
    }
}

impl Broken {
    fn spoil(&self, page: &mut Page, all: &[Record]) {
        match self.fault {
            Fault::LosesARecord if page.records.len() > 3 => drop(page.records.remove(1)),
            Fault::DoublesARecord if page.records.len() > 3 => {
                page.records.insert(1, page.records[1].clone());
            }
            Fault::SwapsTwoRecords if page.records.len() > 3 => page.records.swap(1, 2),
            Fault::ForgetsGaps => page.gap = None,
            Fault::MistakesTheReason => {
                if let Some(gap) = &mut page.gap {
                    gap.reason = fanfare_core::GapReason::Lagged;
                }
            }
            Fault::EvictsOtherTopics => {
                let window = self.retention.max_records();
                let first = all.iter().rev().nth(window).map(Record::id);
                page.records.retain(|record| Some(record.id()) > first);
            }
            Fault::ChangesABlock => {
                let blank = |record: &Record| {
                    let event = Event::data("changed");
                    let block = Append::new(record.topic().clone(), &event);
                    Record::from_block(record.id(), record.topic().clone(), block.block())
                };
                if let Some(record) = page.records.get_mut(2) {
                    *record = blank(record);
                }
            }
            _ => {}
        }
    }
}

impl History for Broken {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async move {
            let count = self.appended.fetch_add(1, Ordering::Relaxed);
            let bare = match append.chosen_key() {
                Some(key) if self.fault == Fault::ForgetsKeys => {
                    self.keys
                        .lock()
                        .expect("not poisoned")
                        .insert(key.to_owned(), ());
                    append.clone().key(format!("{key} {count}"))
                }
                _ => append,
            };
            let id = self.memory.append(bare).await?;
            match self.fault {
                Fault::RepeatsAnId if count == 7 => Ok(EventId::new(id.major, id.minor - 1)),
                Fault::Panics if count == 3 => panic!("a history of somebody's"),
                _ => Ok(id),
            }
        })
    }

    fn replay<'a>(
        &'a self,
        topics: &'a Topics,
        after: &'a LastEventId,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, HistoryError>> {
        Box::pin(async move {
            let (everything, none) = (Topics::all(), LastEventId::none());
            let all = self
                .memory
                .replay(&everything, &none, 10_000)
                .await?
                .records;
            let mut page = self.memory.replay(topics, after, limit).await?;
            self.spoil(&mut page, &all);
            if let (Fault::MakesNoProgress, Some(id)) = (self.fault, after.id()) {
                page.last = page.records.last().map_or(page.last, |_| id.max(page.last));
                page.records.truncate(1);
            }
            Ok(page)
        })
    }

    fn tail(&self, after: Option<EventId>) -> BoxStream<'_, TailItem> {
        Box::pin(BrokenTail {
            tail: self.memory.tail(after),
            fault: self.fault,
            count: 0,
            again: None,
        })
    }
}

struct BrokenTail<'a> {
    tail: BoxStream<'a, TailItem>,
    fault: Fault,
    count: usize,
    again: Option<Record>,
}

impl Stream for BrokenTail<'_> {
    type Item = TailItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TailItem>> {
        if self.fault == Fault::TailEndsAtOnce {
            return Poll::Ready(None);
        }
        if let Some(record) = self.again.take() {
            return Poll::Ready(Some(TailItem::Record(record)));
        }
        loop {
            let polled = self.tail.as_mut().poll_next(cx);
            match (&polled, self.fault) {
                (Poll::Ready(Some(TailItem::Start(_))), Fault::TailIsSilentAboutItsStart) => {
                    continue;
                }
                (Poll::Ready(Some(TailItem::Record(record))), fault) => {
                    self.count += 1;
                    if self.count == 3 && fault == Fault::TailLosesARecord {
                        continue;
                    }
                    if self.count == 3 && fault == Fault::TailDoublesARecord {
                        self.again = Some(record.clone());
                    }
                }
                _ => {}
            }
            return polled;
        }
    }
}

#[test]
fn every_fault_fails_the_check_that_is_meant_for_it() {
    for (fault, meant) in [
        (Fault::LosesARecord, "replay_begins_behind_any_id"),
        (Fault::DoublesARecord, "replay_begins_behind_any_id"),
        (Fault::SwapsTwoRecords, "replay_begins_behind_any_id"),
        (Fault::MakesNoProgress, "pages_lose_and_double_nothing"),
        (Fault::ForgetsGaps, "an_evicted_place_is_a_gap"),
        (Fault::ForgetsGaps, "an_id_of_another_log_is_an_epoch_gap"),
        (Fault::ForgetsGaps, "an_id_from_the_future_is_ahead"),
        (Fault::ForgetsGaps, "text_that_is_no_id_is_unparsable"),
        (
            Fault::ForgetsGaps,
            "a_hole_behind_a_quiet_topics_records_is_a_gap",
        ),
        (Fault::MistakesTheReason, "an_evicted_place_is_a_gap"),
        (Fault::EvictsOtherTopics, "a_loud_topic_evicts_only_itself"),
        (Fault::RetainsOneTooMany, "a_topic_retains_so_many_records"),
        (Fault::ForgetsKeys, "a_key_is_stored_once"),
        (Fault::ForgetsKeys, "a_key_is_stored_once_however_many_ask"),
        (Fault::ChangesABlock, "every_block_comes_back_byte_for_byte"),
        (Fault::RepeatsAnId, "ids_grow_over_all_topics"),
        (Fault::TailLosesARecord, "tails_bring_every_record_in_order"),
        (
            Fault::TailDoublesARecord,
            "tails_bring_every_record_in_order",
        ),
        (
            Fault::TailIsSilentAboutItsStart,
            "a_tail_from_an_id_brings_what_follows",
        ),
        (Fault::Panics, "append_then_replay"),
        (Fault::TailEndsAtOnce, "a_tail_says_where_it_starts"),
    ] {
        let check = conformance::check::<Fault>(meant).expect(meant);
        let outcome = check.run(&fault);
        assert!(outcome.is_err(), "{fault:?} passes {meant}: {outcome:?}");
    }
}
