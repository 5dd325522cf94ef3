//! The bookkeeping: what was published, what each client has received, and whether the two agree.

use std::error::Error;
use std::fmt;

use crate::payload::{decimal, Payload};
use crate::wire::event_stream::Block;
use crate::wire::Malformed;

/// How many events each topic has had.
#[derive(Debug)]
pub struct Published {
    numbers: Vec<u64>,
}

impl Published {
    /// Nothing yet, in any of so many topics.
    #[must_use]
    pub fn new(topics: usize) -> Self {
        Self {
            numbers: vec![0; topics],
        }
    }

    /// Counts an event, and says which of its topic it is.
    ///
    /// # Panics
    ///
    /// There is no such topic.
    pub fn next(&mut self, topic: u32) -> u64 {
        let number = &mut self.numbers[topic as usize];
        *number += 1;
        *number
    }

    /// The newest event of a topic; 0 if it has had none, or is not known.
    #[must_use]
    pub fn newest(&self, topic: u32) -> u64 {
        self.numbers.get(topic as usize).copied().unwrap_or(0)
    }
}

/// What one client must receive next.
#[derive(Debug)]
pub struct Reader {
    topics: Vec<Place>,
}

/// Where a client is in one topic.
#[derive(Debug)]
struct Place {
    topic: u32,
    /// The number that must come next.
    next: u64,
    /// The last id that came with an event of this topic.
    id: Option<(u64, u64)>,
    /// A gap has been announced, so the next number may be a later one.
    may_skip: bool,
}

/// What an event has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An event.
    Event {
        /// What it holds.
        payload: Payload,
        /// How many before it are gone, as a gap event had announced.
        skipped: u64,
    },
    /// A gap event.
    Gap,
}

impl Reader {
    /// Of a client that must be sent all that follows these events of these topics.
    #[must_use]
    pub fn after(topics: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let topics = topics.into_iter().map(|(topic, last)| Place {
            topic,
            next: last + 1,
            id: None,
            may_skip: false,
        });
        Self {
            topics: topics.collect(),
        }
    }

    /// The topics, and the number that must come next in each.
    pub fn next(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.topics.iter().map(|place| (place.topic, place.next))
    }

    /// Takes the next event of the client's stream.
    ///
    /// # Errors
    ///
    /// It is not the one that had to come.
    pub fn take(&mut self, event: Block<'_>, published: &Published) -> Result<News, Fault> {
        match event.name {
            // What an event without a name is called.
            None | Some(b"message") => {
                self.take_data(event.id.unwrap_or_default(), event.data, published)
            }
            Some(b"gap") if event.id.is_none() => {
                for place in &mut self.topics {
                    place.may_skip = true;
                }
                Ok(News::Gap)
            }
            Some(name) => Err(Malformed::new("an event of another name", name).into()),
        }
    }

    /// Takes the next event, whatever has carried it.
    ///
    /// # Errors
    ///
    /// It is not the one that had to come.
    pub fn take_data(
        &mut self,
        id: &[u8],
        data: &[u8],
        published: &Published,
    ) -> Result<News, Fault> {
        let payload = Payload::parse(data).ok_or_else(|| Malformed::new("data", data))?;
        let id = parse_id(id).ok_or_else(|| Malformed::new("an id", id))?;
        let Payload { topic, number, .. } = payload;
        let of_topic = |place: &&mut Place| place.topic == topic;
        let Some(place) = self.topics.iter_mut().find(of_topic) else {
            return Err(Fault::NotSubscribed { topic, number });
        };
        if number > published.newest(topic) {
            return Err(Fault::NotPublished { topic, number });
        }
        if number < place.next {
            return Err(Fault::Doubled { topic, number });
        }
        if number > place.next && !place.may_skip {
            let expected = place.next;
            return Err(Fault::Lost {
                topic,
                expected,
                number,
            });
        }
        if place.id.is_some_and(|last| id <= last) {
            return Err(Fault::IdGoesBack { topic, number });
        }
        let skipped = number - place.next;
        *place = Place {
            topic,
            next: number + 1,
            id: Some(id),
            may_skip: false,
        };
        Ok(News::Event { payload, skipped })
    }
}

/// An id is a number, or two with a `-` between them, or a `:` as nchan has it.
fn parse_id(id: &[u8]) -> Option<(u64, u64)> {
    match id.iter().position(|byte| b"-:".contains(byte)) {
        Some(middle) => Some((decimal(&id[..middle])?, decimal(&id[middle + 1..])?)),
        None => Some((0, decimal(id)?)),
    }
}

/// What a server has done wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What it sent is not what it should look like.
    Malformed(Malformed),
    /// An event came although the one before it had not, and no gap event had said so.
    Lost {
        /// Of this topic.
        topic: u32,
        /// The event that had to come.
        expected: u64,
        /// The one that came.
        number: u64,
    },
    /// An event came again.
    Doubled {
        /// Of this topic.
        topic: u32,
        /// Which.
        number: u64,
    },
    /// An event came that nobody had published.
    NotPublished {
        /// Of this topic.
        topic: u32,
        /// Which.
        number: u64,
    },
    /// A gap event announced that something is gone, to a client that kept up.
    Gap,
    /// An event came of a topic that the client has not asked for.
    NotSubscribed {
        /// Of this topic.
        topic: u32,
        /// Which.
        number: u64,
    },
    /// An event's id is not later than that of the event before it.
    IdGoesBack {
        /// Of this topic.
        topic: u32,
        /// Which.
        number: u64,
    },
    /// The response had this status.
    Status(u16),
    /// The connection was closed.
    Closed,
    /// What was still to come did not.
    Missing {
        /// In this topic, for one.
        topic: u32,
        /// The event that had to come there.
        expected: u64,
        /// How many deliveries did not come, to all clients.
        missing: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "malformed: {malformed}"),
            Self::Lost {
                topic,
                expected,
                number,
            } => write!(
                f,
                "lost: event {expected} of topic {topic}; {number} came in its place"
            ),
            Self::Doubled { topic, number } => {
                write!(f, "sent twice: event {number} of topic {topic}")
            }
            Self::NotPublished { topic, number } => {
                write!(f, "never published: event {number} of topic {topic}")
            }
            Self::Gap => f.write_str("told that it has missed something, though it kept up"),
            Self::NotSubscribed { topic, number } => {
                write!(f, "not asked for: event {number} of topic {topic}")
            }
            Self::IdGoesBack { topic, number } => write!(
                f,
                "the id of event {number} of topic {topic} is not later than the one before"
            ),
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Missing {
                topic,
                expected,
                missing,
            } => write!(
                f,
                "lost: event {expected} of topic {topic} did not come ({missing} deliveries in all)"
            ),
        }
    }
}

impl Error for Fault {}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: u32 = 3;

    fn published() -> Published {
        let mut published = Published::new(TOPICS as usize);
        for topic in 0..TOPICS {
            for _ in 0..5 {
                published.next(topic);
            }
        }
        published
    }

    /// What comes of a stream of (topic, number), where 0 is a gap event.
    fn read(events: &[(u32, u64)]) -> Result<Vec<u64>, Fault> {
        let mut reader = Reader::after([(0, 0), (1, 2)]);
        let mut skips = Vec::new();
        for (id, &(topic, number)) in events.iter().enumerate() {
            let mut data = Vec::new();
            Payload {
                topic,
                number,
                due: 0,
            }
            .write(40, &mut data);
            let id = format!("7-{id}");
            let block = match number {
                0 => Block {
                    name: Some(b"gap"),
                    ..Block::default()
                },
                _ => Block {
                    id: Some(id.as_bytes()),
                    name: None,
                    data: &data,
                },
            };
            match reader.take(block, &published())? {
                News::Event { skipped, .. } => skips.push(skipped),
                News::Gap => {}
            }
        }
        Ok(skips)
    }

    #[test]
    fn each_topic_is_contiguous() {
        assert_eq!(read(&[(0, 1), (1, 3), (1, 4), (0, 2)]), Ok(vec![0; 4]));
    }

    #[test]
    fn a_lost_event_is_noticed_at_the_next() {
        let lost = Fault::Lost {
            topic: 0,
            expected: 2,
            number: 3,
        };
        assert_eq!(read(&[(0, 1), (1, 3), (0, 3)]), Err(lost));
    }

    #[test]
    fn a_doubled_event_is_noticed() {
        let doubled = |topic, number| Err(Fault::Doubled { topic, number });
        assert_eq!(read(&[(0, 1), (0, 1)]), doubled(0, 1));
        assert_eq!(read(&[(1, 2)]), doubled(1, 2));
    }

    #[test]
    fn a_gap_lets_each_topic_skip_once() {
        assert_eq!(
            read(&[(0, 1), (0, 0), (0, 4), (1, 5), (0, 5)]),
            Ok(vec![0, 2, 2, 0])
        );
        let lost = Fault::Lost {
            topic: 0,
            expected: 3,
            number: 5,
        };
        assert_eq!(read(&[(0, 0), (0, 2), (0, 5)]), Err(lost));
    }

    #[test]
    fn events_from_nowhere_are_noticed() {
        let from_the_future = Fault::NotPublished {
            topic: 1,
            number: 6,
        };
        assert_eq!(read(&[(1, 6)]), Err(from_the_future));
        let of_another = Fault::NotSubscribed {
            topic: 2,
            number: 1,
        };
        assert_eq!(read(&[(2, 1)]), Err(of_another));
    }

    #[test]
    fn ids_grow() {
        let mut reader = Reader::after([(0, 0)]);
        let published = published();
        assert!(reader.take_data(b"9-1", b"0 1 0 0 ", &published).is_ok());
        let back = Fault::IdGoesBack {
            topic: 0,
            number: 2,
        };
        assert_eq!(reader.take_data(b"8-2", b"0 2 0 0 ", &published), Err(back));
        assert!(reader.take_data(b"", b"0 2 0 0 ", &published).is_err());
        assert!(reader.take_data(b"10", b"0 2", &published).is_err());
    }
}
