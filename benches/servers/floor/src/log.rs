//! [`Log`]: what was published, and who follows it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The latest records of each topic, encoded, and the keys of the clients that follow it.
pub(crate) struct Log {
    epoch: u128,
    last: u64,
    history: usize,
    topics: HashMap<String, Topic>,
}

#[derive(Default)]
struct Topic {
    followers: Vec<usize>,
    records: VecDeque<(u64, Vec<u8>)>,
    /// What the last client that returned had missed, and after which number: those that return
    /// together have missed the same.
    missed: Option<(u64, Rc<[u8]>)>,
}

impl Log {
    pub(crate) fn new(history: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            epoch: now.unwrap_or_default().as_micros(),
            last: 0,
            history,
            topics: HashMap::new(),
        }
    }

    /// Records kept per topic.
    pub(crate) fn history(&self) -> usize {
        self.history
    }

    /// Encodes all as one chunk. Returns it, and whom to send it to.
    pub(crate) fn publish<'a>(
        &mut self,
        topic: &str,
        events: impl Iterator<Item = &'a str>,
    ) -> (Rc<[u8]>, &[usize]) {
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.missed = None;
        let mut block = Vec::new();
        for data in events {
            self.last += 1;
            let record = format!("id: {}-{}\ndata: {data}\n\n", self.epoch, self.last);
            block.extend_from_slice(record.as_bytes());
            if topic.records.len() == self.history {
                topic.records.pop_front();
            }
            topic.records.push_back((self.last, record.into_bytes()));
        }
        (chunk(&block), &topic.followers)
    }

    /// Adds a follower. Returns what it has missed as one chunk, if it has missed anything.
    pub(crate) fn follow(
        &mut self,
        topic: &str,
        key: usize,
        last_event_id: Option<&str>,
    ) -> Option<Rc<[u8]>> {
        let epoch = self.epoch;
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.followers.push(key);
        let seen = last_event_id?
            .split_once('-')
            .filter(|(of, _)| of.parse() == Ok(epoch))
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(0);
        topic.after(seen)
    }

    /// Removes a follower.
    pub(crate) fn leave(&mut self, topic: &str, key: usize) {
        if let Some(topic) = self.topics.get_mut(topic) {
            if let Some(at) = topic.followers.iter().position(|&other| other == key) {
                topic.followers.swap_remove(at);
            }
        }
    }
}

impl Topic {
    fn after(&mut self, seen: u64) -> Option<Rc<[u8]>> {
        let first = self.records.partition_point(|(number, _)| *number <= seen);
        if first == self.records.len() {
            return None;
        }
        let is_known = self
            .missed
            .as_ref()
            .is_some_and(|(after, _)| *after == seen);
        if !is_known {
            let missed = self.records.range(first..).map(|(_, record)| &record[..]);
            let missed: Vec<&[u8]> = missed.collect();
            self.missed = Some((seen, chunk(&missed.concat())));
        }
        self.missed.as_ref().map(|(_, missed)| Rc::clone(missed))
    }
}

/// The bytes as a chunk of HTTP/1.1's chunked encoding. They are not empty: that would be the end.
pub(crate) fn chunk(bytes: &[u8]) -> Rc<[u8]> {
    if bytes.is_empty() {
        return Rc::default();
    }
    let size = format!("{:X}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("it is text")
    }

    #[test]
    fn a_burst_is_one_chunk() {
        let mut log = Log::new(10);
        let epoch = log.epoch;
        assert_eq!(log.follow("a", 7, None), None);
        let (chunk, followers) = log.publish("a", ["x", "y"].into_iter());
        let expect = format!("id: {epoch}-1\ndata: x\n\nid: {epoch}-2\ndata: y\n\n");
        assert_eq!(text(&chunk), format!("{:X}\r\n{expect}\r\n", expect.len()));
        assert_eq!(followers, [7]);
        log.leave("a", 7);
        assert!(log.publish("a", ["z"].into_iter()).1.is_empty());
    }

    #[test]
    fn who_returns_is_given_what_was_missed() {
        let mut log = Log::new(2);
        let epoch = log.epoch;
        log.publish("a", ["1", "2", "3", "4"].into_iter());
        let last = |number: u64| Some(format!("{epoch}-{number}"));
        for (seen, missed) in [(0, "3 4"), (2, "3 4"), (3, "4"), (4, "")] {
            for _ in 0..2 {
                let found = log.follow("a", 1, last(seen).as_deref());
                let found = found.map(|chunk| text(&chunk)).unwrap_or_default();
                let data = found.lines().filter_map(|line| line.strip_prefix("data: "));
                assert_eq!(data.collect::<Vec<_>>().join(" "), missed, "after {seen}");
            }
        }
        log.publish("a", ["5"].into_iter());
        let found = log.follow("a", 1, last(3).as_deref()).expect("two are new");
        assert!(
            text(&found).contains("data: 5\n"),
            "the old answer is forgotten"
        );
    }
}
