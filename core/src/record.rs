//! [`Record`]: an event in the log, encoded once.

use bytes::{Buf, Bytes};
use std::io::Write as _;

use crate::decode::{Decoded, Decoder, Message};
use crate::encode::{head_len, tail_len, write_head, write_tail};
use crate::event::Event;
use crate::id::{EventId, MAX_ID_BYTES};
use crate::topic::Topic;

/// An event in the log: encoded once, whoever receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: EventId,
    topic: Topic,
    bytes: Bytes,
}

impl Record {
    /// A record that a history hands out: `bytes` is the whole block, with its `id` field.
    #[must_use]
    pub fn new(id: EventId, topic: Topic, bytes: Bytes) -> Self {
        Self { id, topic, bytes }
    }

    /// A record that a history has kept as an [`Append`](crate::history::Append)'s block: the
    /// line of its id is written into it, where the encoder would have written it.
    #[must_use]
    pub fn from_block(id: EventId, topic: Topic, block: &[u8]) -> Self {
        let (head, tail) = block.split_at(head_of(block));
        let mut bytes = Vec::with_capacity(block.len() + ID_FIELD.len() + MAX_ID_BYTES + 1);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(ID_FIELD);
        // Writing to a `Vec` cannot fail.
        let _ = writeln!(bytes, "{id}");
        bytes.extend_from_slice(tail);
        Self::new(id, topic, bytes.into())
    }

    /// Its place in the log.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// What it is about.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The block as it goes over the wire. Cloning shares it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What a client's parser makes of it; `None` for an event without data.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let limit = self.bytes.len();
        let mut decoder = Decoder::new().max_line(limit).max_event(limit);
        decoder.feed(&self.bytes).ok()?;
        std::iter::from_fn(|| decoder.next()).find_map(|decoded| match decoded {
            Decoded::Event(message) => Some(message),
            _ => None,
        })
    }
}

/// An encoded event that waits for its id.
///
/// The id is known only once the log has taken the event, under its lock. So everything else is
/// encoded before, with room for the id in front, and sealing writes only the id.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Room, then the `event` and `data` fields and the empty line.
    block: Vec<u8>,
    /// How much room there is.
    room: usize,
    /// The fields that stand before the id: comment and retry. Mostly there are none.
    head: Vec<u8>,
}

const ID_FIELD: &[u8] = b"id: ";

/// How many bytes of a block stand before its id: the comment and retry lines.
fn head_of(block: &[u8]) -> usize {
    let lines = block.split_inclusive(|&byte| byte == b'\n');
    let head = lines.take_while(|line| line.starts_with(b":") || line.starts_with(b"retry:"));
    head.map(<[u8]>::len).sum()
}

impl Draft {
    pub(crate) fn new(event: &Event) -> Self {
        let mut head = Vec::with_capacity(head_len(event));
        write_head(event, &mut head);
        let room = head.len() + ID_FIELD.len() + MAX_ID_BYTES + 1;
        let mut block = Vec::with_capacity(room + tail_len(event));
        block.resize(room, 0);
        write_tail(event, &mut block);
        Self { block, room, head }
    }

    /// The length that the record of an event will have without its id, in bytes.
    pub(crate) fn len_of(event: &Event) -> usize {
        head_len(event) + tail_len(event)
    }

    /// The block without an id, which somebody else will write.
    pub(crate) fn into_block(self) -> Bytes {
        let mut block = self.head;
        block.extend_from_slice(&self.block[self.room..]);
        block.into()
    }

    pub(crate) fn seal(mut self, id: EventId) -> Bytes {
        let mut line = [0; MAX_ID_BYTES + 1];
        let mut rest = &mut line[..];
        // Cannot fail: the longest id fits.
        let _ = writeln!(rest, "{id}");
        let unused = rest.len();
        let line = &line[..MAX_ID_BYTES + 1 - unused];

        // From the end of the room to its front.
        let mut at = self.room;
        for part in [line, ID_FIELD, &self.head] {
            at -= part.len();
            self.block[at..at + part.len()].copy_from_slice(part);
        }
        let mut bytes = Bytes::from(self.block);
        bytes.advance(at);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_sealed_draft_reads_as_the_fields_in_their_order() {
        let seal = |event: Event, id| Draft::new(&event).seal(id);
        let id = EventId::new(7, 42);
        assert_eq!(seal(Event::data("x"), id), "id: 7-42\ndata: x\n\n");
        let full = Event::data("a\nb")
            .name("e")
            .retry(Duration::from_secs(1))
            .comment("c");
        assert_eq!(
            seal(full, EventId::new(u64::MAX, u64::MAX)),
            ": c\nretry: 1000\n\
             id: 18446744073709551615-18446744073709551615\n\
             event: e\ndata: a\ndata: b\n\n"
        );
        assert_eq!(seal(Event::new(), id), "id: 7-42\n\n");
    }

    #[test]
    fn a_block_that_was_kept_becomes_the_same_record() {
        let id = EventId::new(7, 42);
        for event in [
            Event::data("x"),
            Event::new(),
            Event::data(": a\nretry: 5").name("e"),
            Event::data("a\nb")
                .name("retry")
                .retry(Duration::from_secs(1))
                .comment("id: 1\n\ndata: c"),
        ] {
            let block = Draft::new(&event).into_block();
            let record = Record::from_block(id, Topic::from_static("t"), &block);
            assert_eq!(record.bytes(), &Draft::new(&event).seal(id));
        }
    }

    #[test]
    fn a_record_reads_back_as_what_was_published() {
        let id = EventId::new(7, 42);
        let bytes = Draft::new(&Event::data("a\nb").name("tick")).seal(id);
        let message = Record::new(id, Topic::from_static("t"), bytes)
            .message()
            .expect("has data");
        assert_eq!((&*message.name, &*message.data), ("tick", "a\nb"));
    }
}
