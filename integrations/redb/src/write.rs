//! [`write`]: what one transaction does. It stores appends, and evicts what is over the limits.

use std::collections::HashSet;

use fanfare_core::history::{Append, Retention, REMEMBERED_KEYS};
use fanfare_core::{Record, Topic};
use redb::{ReadableTable, Table, WriteTransaction};

use crate::store::{
    decode, encode, write_meta, Problem, State, Window, INDEX, KEYS, ORDER, TOPICS,
};

/// How many records one transaction evicts at most, besides one for each that it stores: whoever waits
/// for it is not to wait for all that a lowered limit leaves to be evicted.
const MAX_EVICTED: usize = 4_096;

/// What a log may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of each topic.
    pub(crate) retention: Retention,
    pub(crate) topics: usize,
}

impl Limits {
    /// Before this time everything is too old.
    pub(crate) fn oldest(&self, now: u64) -> Option<u64> {
        let age = self.retention.max_age()?.as_millis();
        Some(now.saturating_sub(u64::try_from(age).unwrap_or(u64::MAX)))
    }

    /// Whether a topic has more than it may. Its newest record is evicted by age alone.
    pub(crate) fn are_exceeded_by(&self, window: &Window) -> bool {
        let (records, bytes) = (self.retention.max_records(), self.retention.max_bytes());
        let is_over = window.records > records as u64 || window.bytes > bytes as u64;
        is_over && window.records > 1
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    At(u64),
    TooManyTopics,
}

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct Written {
    /// In the order of the appends.
    pub(crate) places: Vec<Placed>,
    pub(crate) records: Vec<Record>,
    /// Whether there is more to evict.
    pub(crate) has_more: bool,
}

/// Stores appends at a time, in milliseconds since 1970.
pub(crate) fn write(
    transaction: &WriteTransaction,
    state: &mut State,
    limits: &Limits,
    appends: &[&Append],
    time: u64,
) -> Result<Written, Problem> {
    state.meta.time = state.meta.time.max(time);
    let mut writing = Writing {
        tables: Tables::open(transaction)?,
        state: &mut *state,
        limits,
        records: Vec::with_capacity(appends.len()),
        touched: HashSet::new(),
        evictions_left: appends.len() + MAX_EVICTED,
    };
    let places = appends.iter().map(|append| writing.store(append));
    let places = places.collect::<Result<_, Problem>>()?;
    writing.trim()?;
    writing.expire()?;
    let has_more = writing.evictions_left == 0;
    let (records, touched) = writing.end();
    write_topics(transaction, state, touched)?;
    write_meta(transaction, &state.meta)?;
    Ok(Written {
        places,
        records,
        has_more,
    })
}

struct Writing<'a, 'txn> {
    tables: Tables<'txn>,
    state: &'a mut State,
    limits: &'a Limits,
    records: Vec<Record>,
    /// Topics of which something has changed.
    touched: HashSet<Topic>,
    evictions_left: usize,
}

impl Writing<'_, '_> {
    fn store(&mut self, append: &Append) -> Result<Placed, Problem> {
        let stored = append.chosen_key().and_then(|key| self.state.keys.get(key));
        if let Some(place) = stored {
            return Ok(Placed::At(*place));
        }
        let topic = append.topic();
        if !self.make_topic(topic) {
            return Ok(Placed::TooManyTopics);
        }
        let place = self.state.meta.give();
        if let Some(key) = append.chosen_key() {
            self.remember(key, place)?;
        }
        self.insert(place, append)?;
        if !self.touched.contains(topic) {
            self.touched.insert(topic.clone());
        }
        Ok(Placed::At(place))
    }

    /// `false`: there is no such topic, and no room for it.
    fn make_topic(&mut self, topic: &Topic) -> bool {
        if self.state.windows.contains_key(topic) {
            return true;
        }
        if self.state.windows.len() >= self.limits.topics {
            return false;
        }
        let window = Window {
            number: self.state.number(),
            evicted: self.state.meta.forgotten,
            ..Window::default()
        };
        self.state.windows.insert(topic.clone(), window);
        true
    }

    fn remember(&mut self, key: &str, place: u64) -> Result<(), Problem> {
        self.tables.keys.insert(place, key)?;
        self.state.keys.insert(key.into(), place);
        self.state.key_places.push_back(place);
        while self.state.key_places.len() > REMEMBERED_KEYS {
            let Some(oldest) = self.state.key_places.pop_front() else {
                break;
            };
            if let Some(key) = self.tables.keys.remove(oldest)? {
                self.state.keys.remove(key.value());
            }
        }
        Ok(())
    }

    fn insert(&mut self, place: u64, append: &Append) -> Result<(), Problem> {
        let (topic, block) = (append.topic(), append.block());
        let Some(window) = self.state.windows.get_mut(topic) else {
            return Err(Problem::damaged("a record has a topic that is not known"));
        };
        let length = block.len() as u64;
        window.records += 1;
        window.bytes += length;
        self.tables.index.insert((window.number, place), length)?;
        let value = encode(self.state.meta.time, topic, block);
        self.tables.order.insert(place, &*value)?;
        let record = Record::from_block(self.state.meta.id(place), topic.clone(), block);
        self.records.push(record);
        Ok(())
    }

    /// Evicts what topics have too much of: those that were just stored in, and those that are on the
    /// list from before.
    fn trim(&mut self) -> Result<(), Problem> {
        let windows = &self.state.windows;
        let is_over = |topic: &&Topic| {
            let window = windows.get(*topic);
            window.is_some_and(|window| self.limits.are_exceeded_by(window))
        };
        let over = self.touched.iter().filter(is_over).cloned();
        self.state.overfull.extend(over);
        while let Some(topic) = self.state.overfull.pop_front() {
            if !self.trim_topic(&topic)? {
                // Behind the others, which so have their turn.
                self.state.overfull.push_back(topic);
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false`: there is more to evict than this transaction may.
    fn trim_topic(&mut self, topic: &Topic) -> Result<bool, Problem> {
        loop {
            let window = self.state.windows.get(topic);
            if !window.is_some_and(|window| self.limits.are_exceeded_by(window)) {
                return Ok(true);
            }
            if !self.evict_oldest(topic)? {
                return Ok(false);
            }
        }
    }

    /// Evicts what is too old.
    fn expire(&mut self) -> Result<(), Problem> {
        let Some(oldest) = self.limits.oldest(self.state.meta.time) else {
            return Ok(());
        };
        loop {
            let topic = match self.tables.order.first()? {
                None => return Ok(()),
                Some((_, value)) => {
                    let (time, topic, _) = decode(value.value())?;
                    if time >= oldest {
                        return Ok(());
                    }
                    topic
                }
            };
            if !self.evict_oldest(&topic)? {
                return Ok(());
            }
        }
    }

    /// Evicts a topic's oldest record. `false`: this transaction has evicted enough.
    fn evict_oldest(&mut self, topic: &Topic) -> Result<bool, Problem> {
        if self.evictions_left == 0 {
            return Ok(false);
        }
        self.evictions_left -= 1;
        let Some(window) = self.state.windows.get_mut(topic) else {
            return Err(Problem::damaged("a record has a topic that is not known"));
        };
        let evicted = self.tables.remove_oldest(window)?;
        self.state.meta.evict(evicted);
        if !self.touched.contains(topic) {
            self.touched.insert(topic.clone());
        }
        Ok(true)
    }

    fn end(self) -> (Vec<Record>, HashSet<Topic>) {
        (self.records, self.touched)
    }
}

/// The tables that a record is in.
struct Tables<'txn> {
    order: Table<'txn, u64, &'static [u8]>,
    index: Table<'txn, (u32, u64), u64>,
    keys: Table<'txn, u64, &'static str>,
}

impl<'txn> Tables<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, Problem> {
        Ok(Self {
            order: transaction.open_table(ORDER)?,
            index: transaction.open_table(INDEX)?,
            keys: transaction.open_table(KEYS)?,
        })
    }

    /// Removes a topic's oldest record and returns its place.
    fn remove_oldest(&mut self, window: &mut Window) -> Result<u64, Problem> {
        let number = window.number;
        let oldest = {
            let mut range = self.index.range((number, 0)..=(number, u64::MAX))?;
            let entry = range.next().transpose()?;
            entry.map(|(key, length)| (key.value().1, length.value()))
        };
        let Some((place, length)) = oldest else {
            return Err(Problem::damaged("a record is missing from its topic"));
        };
        self.index.remove((number, place))?;
        self.order.remove(place)?;
        window.records = window.records.saturating_sub(1);
        window.bytes = window.bytes.saturating_sub(length);
        window.evicted = place;
        Ok(place)
    }
}

/// Writes what changed of the topics; those without records are forgotten.
fn write_topics(
    transaction: &WriteTransaction,
    state: &mut State,
    touched: HashSet<Topic>,
) -> Result<(), Problem> {
    let mut topics = transaction.open_table(TOPICS)?;
    for topic in touched {
        let Some(window) = state.windows.get(&topic).copied() else {
            continue;
        };
        if window.records > 0 {
            topics.insert(topic.as_str(), window.row())?;
            continue;
        }
        topics.remove(topic.as_str())?;
        state.windows.remove(&topic);
        state.free_numbers.push(window.number);
        state.meta.forgotten = state.meta.forgotten.max(window.evicted);
    }
    Ok(())
}
