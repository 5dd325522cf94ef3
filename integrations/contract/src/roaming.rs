//! Clients that move between servers, and the account of what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use fanfare_core::{Decoded, Decoder};
use serde_json::Value;

use crate::{Body, Piece, Place, Request};

/// A client that takes its place in the log from one server to another, as a browser does behind a
/// load balancer. It keeps what it was told, and nothing of the bytes.
#[derive(Debug)]
pub struct Roaming {
    target: String,
    /// Where it began.
    start: Place,
    /// What it says that it saw.
    last_event_id: String,
    stream: Option<(Body, Decoder)>,
    told: Vec<Told>,
    /// How often it was given a stream.
    pub connections: usize,
    /// How often a stream ended that it had not left itself.
    pub ends: usize,
    /// When it was told to come back, the last time that it was told.
    pub retry: Option<Duration>,
}

/// How many chunks a client reads at once.
const CHUNKS: usize = 64;

/// What a client was told.
#[derive(Debug)]
enum Told {
    /// An event, whose data is a number.
    Event(Place, u32),
    Gap(Box<Gap>),
    /// Nothing: it went to another server.
    Moved,
}

#[derive(Debug)]
struct Gap {
    reason: String,
    from: Place,
    to: Place,
}

impl Gap {
    /// Whether a place is one of those that it says may be missing.
    fn holds(&self, place: Place) -> bool {
        self.from < place && place <= self.to
    }
}

impl Roaming {
    /// A client of the stream at `target` that has seen everything up to an id.
    ///
    /// # Panics
    ///
    /// If that is no id.
    #[must_use]
    #[track_caller]
    pub fn new(target: &str, last_event_id: &str) -> Self {
        Self {
            target: target.to_owned(),
            start: Place::of(last_event_id),
            last_event_id: last_event_id.to_owned(),
            stream: None,
            told: Vec::new(),
            connections: 0,
            ends: 0,
            retry: None,
        }
    }

    /// Leaves where it is and goes to a server. Returns whether that gave it a stream: it may be gone,
    /// or be a proxy that finds nobody behind it.
    pub fn go_to(&mut self, addr: SocketAddr) -> bool {
        self.stream = None;
        let request = Request::get(&self.target).header("Last-Event-ID", &self.last_event_id);
        let response = match request.try_send(addr) {
            Some(response) if response.head.status == 200 => response,
            None => return false,
            Some(response) if response.head.status >= 500 => return false,
            Some(response) => panic!("{}: {:?}", self.target, response.head),
        };
        let decoder = Decoder::new().with_last_event_id(&*self.last_event_id);
        self.stream = Some((response.body, decoder));
        self.connections += 1;
        self.told.push(Told::Moved);
        true
    }

    /// Leaves where it is.
    pub fn leave(&mut self) {
        self.stream = None;
    }

    /// Whether it has a stream.
    #[must_use]
    pub fn has_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The last place that it was sent.
    #[must_use]
    #[track_caller]
    pub fn place(&self) -> Place {
        Place::of(&self.last_event_id)
    }

    /// How many gaps it was told of.
    #[must_use]
    pub fn gaps(&self) -> usize {
        let gaps = self.told.iter();
        gaps.filter(|told| matches!(told, Told::Gap(_))).count()
    }

    /// Reads what has come, or some of it, waiting up to `limit` for the first. Returns whether anything
    /// has.
    ///
    /// # Panics
    ///
    /// If it is not what a demo sends.
    #[track_caller]
    pub fn read(&mut self, limit: Duration) -> bool {
        let mut limit = limit;
        let mut has_come = false;
        // Others have their turn, however much there is.
        for _ in 0..CHUNKS {
            let Some((body, decoder)) = &mut self.stream else {
                break;
            };
            match body.next(limit) {
                Piece::Chunk(chunk) => {
                    decoder.feed(&chunk).expect("a stream of events");
                    for decoded in decoder {
                        match decoded {
                            Decoded::Event(message) if message.name == "gap" => {
                                self.told.push(Told::gap(&message.data));
                            }
                            Decoded::Event(message) => {
                                self.last_event_id = message.last_event_id.to_string();
                                // The demo's own news has no number.
                                if let Ok(number) = message.data.parse() {
                                    let place = Place::of(&self.last_event_id);
                                    self.told.push(Told::Event(place, number));
                                }
                            }
                            Decoded::Retry(retry) => self.retry = Some(retry),
                            _ => {}
                        }
                    }
                    has_come = true;
                    limit = Duration::ZERO;
                }
                Piece::End(_) => {
                    self.stream = None;
                    self.ends += 1;
                }
                Piece::Quiet => break,
            }
        }
        has_come
    }
}

impl Told {
    #[track_caller]
    fn gap(data: &str) -> Self {
        let gap: Value = serde_json::from_str(data).expect("a gap's data is JSON");
        let text = |member: &str| gap[member].as_str().unwrap_or_default().to_owned();
        Self::Gap(Box::new(Gap {
            reason: text("reason"),
            from: Place::of(&text("from")),
            to: Place::of(&text("to")),
        }))
    }
}

/// What was published: every number by its place.
#[derive(Debug, Default)]
pub struct Log(BTreeMap<Place, u32>);

impl Log {
    /// Notes that a number has a place.
    ///
    /// # Panics
    ///
    /// If the place has another: no id is given twice.
    #[track_caller]
    pub fn note(&mut self, place: Place, number: u32) {
        let before = self.0.insert(place, number);
        assert!(
            before.is_none_or(|before| before == number),
            "{place} is the id of {before:?} and of {number}"
        );
    }

    /// Notes what a client was sent, which it cannot have been if it was not stored: events, too,
    /// whose publisher never heard of it.
    ///
    /// # Panics
    ///
    /// As [`note`](Self::note).
    #[track_caller]
    pub fn note_seen_by(&mut self, client: &Roaming) {
        for told in &client.told {
            if let Told::Event(place, number) = told {
                self.note(*place, *number);
            }
        }
    }

    /// The places, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.0.keys().copied()
    }

    /// The numbers, in the order of their places.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.values().copied()
    }

    /// Draws up the account of a client that follows the numbers that `follows` says. Every one of
    /// them that it was not sent must be within a gap, behind its `from` and up to its `to`, that it was
    /// told of before what came after it.
    ///
    /// # Errors
    ///
    /// What it was told that is not so, or not told that is.
    pub fn account(
        &self,
        client: &Roaming,
        follows: impl Fn(u32) -> bool,
    ) -> Result<Account, String> {
        let expected = self.0.iter().map(|(place, number)| (*place, *number));
        let expected: Vec<(Place, u32)> = expected
            .filter(|(place, number)| *place > client.start && follows(*number))
            .collect();
        let mut account = Account::default();
        let mut missed = Vec::new();
        let (mut next, mut last) = (0, client.start);
        let mut gaps = Vec::<&Gap>::new();
        let mut miss = |skipped: &[(Place, u32)], gaps: &[&Gap], before: &str| {
            for (place, number) in skipped {
                // One of the newest, as a rule.
                if !gaps.iter().rev().any(|gap| gap.holds(*place)) {
                    return Err(format!(
                        "{number} at {place} is missing without a word, {before}"
                    ));
                }
                missed.push(*place);
            }
            Ok(())
        };
        // Of all gaps, those that the stream went on behind; and those of which that is open.
        let (mut passed, mut ahead) = (Vec::<&Gap>::new(), Vec::<&Gap>::new());
        for told in &client.told {
            match told {
                Told::Event(place, number) => {
                    let rest = &expected[next..];
                    let Ok(found) = rest.binary_search(&(*place, *number)) else {
                        return Err(format!(
                            "{number} at {place} came twice, out of order, or from elsewhere, after {last}"
                        ));
                    };
                    miss(
                        &rest[..found],
                        &gaps,
                        &format!("between {last} and {place}"),
                    )?;
                    next += found + 1;
                    last = *place;
                    passed.extend(ahead.iter().filter(|gap| gap.to <= last));
                    ahead.retain(|gap| gap.to > last);
                }
                Told::Gap(gap) => {
                    if gap.from < last {
                        return Err(format!("{gap:?} was told after {last}"));
                    }
                    gaps.push(gap);
                    account.gaps += 1;
                    account.reasons.insert(gap.reason.clone());
                    ahead.push(&**gap);
                }
                Told::Moved => ahead.clear(),
            }
        }
        miss(&expected[next..], &gaps, &format!("after {last}"))?;
        account.events = expected.len() - missed.len();
        account.missed = missed;
        // A gap ends at the last that is missing, and so at one that is. Who moved meanwhile may have been
        // sent it all the same, by a server that still had it.
        account.needless = passed
            .iter()
            .filter(|gap| account.missed.binary_search(&gap.to).is_err())
            .map(|gap| format!("{gap:?}"))
            .collect();
        Ok(account)
    }
}

/// What a client was sent and what it was told that it was not.
#[derive(Debug, Default)]
pub struct Account {
    /// How many events it was sent, each once and in order.
    pub events: usize,
    /// How many gaps it was told of.
    pub gaps: usize,
    /// For which reasons.
    pub reasons: BTreeSet<String>,
    /// What it was not sent, in order; each within a gap.
    pub missed: Vec<Place>,
    /// The gaps that do not end with something that it was not sent.
    pub needless: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(minor: u64) -> Place {
        Place { major: 1, minor }
    }

    fn gap(from: u64, to: u64) -> Told {
        Told::gap(&format!(
            r#"{{"reason": "expired", "from": "1-{from}", "to": "1-{to}"}}"#
        ))
    }

    fn event(minor: u64) -> Told {
        Told::Event(place(minor), minor as u32)
    }

    /// The account of a client of five events.
    fn account(told: Vec<Told>) -> Result<Account, String> {
        let mut log = Log::default();
        (1..=5).for_each(|minor| log.note(place(minor), minor as u32));
        let client = Roaming {
            told,
            ..Roaming::new("/", "1-0")
        };
        log.account(&client, |_| true)
    }

    #[test]
    fn who_saw_everything_missed_nothing() {
        let account = account((1..=5).map(event).collect()).expect("it is all there");
        assert_eq!((account.events, account.gaps), (5, 0));
    }

    #[test]
    fn a_gap_says_what_is_missing() {
        let told = vec![event(1), gap(1, 3), event(2), event(4), event(5)];
        let account = account(told).expect("the third is in the gap");
        assert_eq!(account.missed, [place(3)]);
        assert_eq!((account.events, account.needless.len()), (4, 0));
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let silent = vec![event(1), event(3), event(4), event(5)];
        let twice = vec![event(1), event(1)];
        let out_of_order = vec![event(2), event(1)];
        let too_short = vec![event(1), gap(1, 3), event(5)];
        let at_the_end = (1..=4).map(event).collect();
        let too_late = vec![event(1), event(3), gap(3, 3), event(4), event(5)];
        for told in [silent, twice, out_of_order, too_short, at_the_end, too_late] {
            account(told).expect_err("something is wrong");
        }
        let needless = vec![event(1), gap(1, 1), event(2), event(3), event(4), event(5)];
        assert_eq!(account(needless).expect("all is there").needless.len(), 1);
    }

    #[test]
    fn a_gap_that_begins_too_late_is_found() {
        // The second is missing, and the gap says that only the third may be.
        let behind = vec![event(1), gap(2, 3), event(4), event(5)];
        // As if an earlier gap, of which nothing was missing, had been one with the later.
        let between = vec![gap(0, 1), event(1), gap(3, 4), event(5)];
        // The first is missing, and so is the id that the client came with.
        let at_the_start = vec![gap(1, 3), event(4), event(5)];
        for told in [behind, between, at_the_start] {
            account(told).expect_err("something is missing without a word");
        }
        let right = vec![
            event(1),
            gap(1, 2),
            Told::Moved,
            gap(2, 3),
            event(4),
            event(5),
        ];
        let account = account(right).expect("each is in a gap");
        assert_eq!(account.missed, [place(2), place(3)]);
    }
}
