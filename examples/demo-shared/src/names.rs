//! [`Names`]: which event names there are, so that pages can listen for them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare::{Broadcaster, Event, LastEventId, PublishError, Record};
use serde_json::{json, Value};

/// The topic, and the event name, under which new names are announced.
pub(crate) const TOPIC: &str = "topics";

/// The most names that are known. Whoever publishes chooses them, and every page is told all of them.
const MAX_NAMES: usize = 1_000;

/// The longest name that is known, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The most announcements that are read at once.
const PAGE_RECORDS: usize = 1_000;

/// The event names that have been announced.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Mutex<BTreeSet<String>>,
    /// Up to where announcements have been read.
    after: Mutex<LastEventId>,
}

impl Names {
    /// Announces a name if it is new and there is room for it.
    pub(crate) async fn announce(&self, hub: &Broadcaster, name: &str) -> Result<(), PublishError> {
        if is_room_for(&self.known(), name) {
            let announcement = Event::data(json!({ "name": name }).to_string()).name(TOPIC);
            hub.publish(TOPIC, announcement).await?;
            // It counts as announced once it has been: two who publish it first both announce it, and
            // nobody's event comes before.
            self.add(name);
        }
        Ok(())
    }

    /// Learns which names others have announced: other processes, and this one before it was started
    /// again.
    pub(crate) async fn learn(&self, hub: &Broadcaster) {
        loop {
            let after = self.after().clone();
            // What cannot be read now is read the next time.
            let Ok(page) = hub.replay(TOPIC, &after, PAGE_RECORDS).await else {
                return;
            };
            for name in page.records.iter().filter_map(announced_name) {
                self.add(&name);
            }
            *self.after() = page.last.into();
            if page.records.is_empty() {
                return;
            }
        }
    }

    /// All of them, as of now.
    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.known().clone()
    }

    /// Whatever the announcement claims: it may be anybody's, who publishes to the topic.
    fn add(&self, name: &str) {
        let mut known = self.known();
        if is_room_for(&known, name) {
            known.insert(name.to_owned());
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after(&self) -> MutexGuard<'_, LastEventId> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a name is new and may be known.
fn is_room_for(known: &BTreeSet<String>, name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && known.len() < MAX_NAMES && !known.contains(name)
}

/// The name that a record of the topic [`TOPIC`] announces.
fn announced_name(record: &Record) -> Option<String> {
    let announced: Value = serde_json::from_str(&record.message()?.data).ok()?;
    Some(announced["name"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use fanfare::Retention;
    use futures_lite::future::block_on;

    use super::*;

    fn hub() -> Broadcaster {
        let retention = Retention::new().records(10_000).bytes(16 << 20);
        Broadcaster::builder().history(retention).build()
    }

    #[test]
    fn a_name_is_announced_once_and_learnt_elsewhere() {
        let hub = hub();
        let (here, elsewhere) = (Names::default(), Names::default());
        for name in ["a", "b", "a"] {
            block_on(here.announce(&hub, name)).expect("the broadcaster is open");
        }
        assert_eq!(hub.stats().published, 2);

        block_on(elsewhere.learn(&hub));

        assert_eq!(elsewhere.all(), here.all());
        assert_eq!(elsewhere.all().len(), 2);
    }

    #[test]
    fn event_names_are_bounded_whoever_claims_them() {
        let hub = hub();
        let claim = |name: String| {
            let claim = Event::data(json!({ "name": name }).to_string());
            hub.try_publish(TOPIC, claim).expect("there is room");
        };
        claim("x".repeat(MAX_NAME_BYTES + 1));
        claim("x".repeat(1 << 20));
        (0..MAX_NAMES + 500).for_each(|n| claim(format!("{n:0>MAX_NAME_BYTES$}")));
        let names = Names::default();

        block_on(names.learn(&hub));
        block_on(names.announce(&hub, "one more")).expect("the broadcaster is open");

        let all = names.all();
        assert_eq!(all.len(), MAX_NAMES);
        assert!(all.iter().all(|name| name.len() == MAX_NAME_BYTES));
        // Nothing was announced that could not be known.
        assert_eq!(hub.stats().published, MAX_NAMES as u64 + 502);
    }
}
