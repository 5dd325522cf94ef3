//! [`Publisher`]: publishes what is due, over a connection of its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use serde::Deserialize;

use super::client::topic_name;
use super::{Failure, Tally};
use crate::payload::Payload;
use crate::verify::Published;
use crate::wire::http::{self, Body};
use crate::wire::Malformed;

/// What is to be published, and when.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How many requests to publish there are.
    pub ticks: u64,
    /// The time from one to the next, in nanoseconds.
    pub interval: u64,
    /// Events in each.
    pub events: u64,
    /// Bytes of each event's data.
    pub bytes: usize,
    /// How many topics take turns.
    pub topics: u32,
}

impl Schedule {
    /// So many requests per second for so many seconds, of so many events each, in one topic.
    #[must_use]
    pub fn new(per_second: u64, seconds: f64, events: u64, bytes: usize) -> Self {
        Self {
            // At least one, and far from the limits of either type.
            ticks: ((per_second as f64 * seconds) as u64).max(1),
            interval: crate::clock::SECOND / per_second.max(1),
            events,
            bytes,
            topics: 1,
        }
    }

    /// How long it takes if nothing is late.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.ticks * self.interval) as f64 / crate::clock::SECOND as f64
    }

    /// The topic of a tick. Topics take turns, neighbours far apart.
    fn topic(&self, tick: u64) -> u32 {
        const STRIDE: u64 = 7_919;
        let topic = tick * STRIDE % u64::from(self.topics);
        // It is less than `topics`.
        topic as u32
    }
}

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) stream: TcpStream,
    state: State,
    /// What is left of the schedule, and when it began.
    schedule: Option<(Schedule, u64)>,
    tick: u64,
    /// Whether the answer that is being read says how long publishing took. That of nchan, which has
    /// another status, does not.
    says_time: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    /// What is left to be sent of the request.
    Sending(VecDeque<u8>),
    /// So much of the response's head has arrived.
    Head(Vec<u8>),
    Body(Body, Vec<u8>),
}

/// What a publish is answered with.
#[derive(Deserialize)]
struct Answer {
    nanos: u64,
}

impl Publisher {
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            state: State::Idle,
            schedule: None,
            tick: 0,
            says_time: false,
        })
    }

    /// Begins with a schedule.
    pub(super) fn begin(&mut self, schedule: Schedule, now: u64) {
        self.schedule = Some((schedule, now));
        self.tick = 0;
    }

    /// Leaves out what has not been sent of the schedule.
    pub(super) fn stop(&mut self) {
        if let Some((schedule, _)) = &mut self.schedule {
            schedule.ticks = self.tick;
        }
    }

    /// When the next request is due, if it could be sent.
    pub(super) fn due(&self) -> Option<u64> {
        let (schedule, begin) = self.schedule?;
        let is_over = self.tick == schedule.ticks;
        let can_send = matches!(self.state, State::Idle) && !is_over;
        can_send.then_some(begin + self.tick * schedule.interval)
    }

    /// Whether everything has been published and answered.
    pub(super) fn is_done(&self) -> bool {
        let is_over = |(schedule, _): (Schedule, u64)| self.tick == schedule.ticks;
        matches!(self.state, State::Idle) && self.schedule.is_none_or(is_over)
    }

    /// Sends the next request if it is due. One that is late keeps the time at which it was due.
    pub(super) fn publish_due(
        &mut self,
        now: u64,
        published: &mut Published,
        readers: &[u64],
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let (Some(due), Some((schedule, _))) = (self.due(), self.schedule) else {
            return Ok(());
        };
        if now < due {
            return Ok(());
        }
        let topic = schedule.topic(self.tick);
        self.tick += 1;
        let mut body = Vec::new();
        for event in 0..schedule.events {
            // Between lines, not behind: nchan takes a body as it is.
            if event > 0 {
                body.push(b'\n');
            }
            let number = published.next(topic);
            Payload { topic, number, due }.write(schedule.bytes, &mut body);
        }
        tally.expected += schedule.events * readers[topic as usize];
        tally.published += schedule.events;
        tally.publishes += 1;
        let head = format!(
            "POST /publish/{} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\
             content-type: text/plain\r\n\r\n",
            topic_name(topic),
            body.len()
        );
        let mut request = VecDeque::from(head.into_bytes());
        request.extend(body);
        self.state = State::Sending(request);
        self.ready(tally)
    }

    /// Sends what can be sent and reads what can be read.
    pub(super) fn ready(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        if let State::Sending(request) = &mut self.state {
            while !request.is_empty() {
                match self.stream.write(request.as_slices().0) {
                    Ok(written) => drop(request.drain(..written)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            self.state = State::Head(Vec::new());
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::Publisher("closed by the server".to_owned())),
                Ok(length) => self.take(&buffer[..length], tally)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<(), Failure> {
        let wrong = |malformed: Malformed| Failure::Publisher(malformed.to_string());
        let mut joined;
        let bytes = if let State::Head(begin) = &mut self.state {
            joined = std::mem::take(begin);
            joined.extend_from_slice(bytes);
            let Some(head) = http::head(&joined).map_err(wrong)? else {
                self.state = State::Head(joined);
                return Ok(());
            };
            if !(200..300).contains(&head.status) {
                let text = String::from_utf8_lossy(&joined).into_owned();
                return Err(Failure::Publisher(text));
            }
            self.says_time = head.status == 200;
            self.state = State::Body(head.body, Vec::new());
            &joined[head.length..]
        } else {
            bytes
        };
        let State::Body(body, text) = &mut self.state else {
            let unasked = Malformed::new("a response that nobody asked for", bytes);
            return Err(wrong(unasked));
        };
        body.read(bytes, |piece| {
            text.extend_from_slice(piece);
            Ok::<_, Malformed>(())
        })
        .map_err(wrong)?;
        if body.is_at_end() {
            if self.says_time {
                let Answer { nanos } = serde_json::from_slice(text)
                    .map_err(|error| wrong(Malformed::new(&error.to_string(), text)))?;
                tally.publish.saturating_record(nanos);
            }
            self.state = State::Idle;
        }
        Ok(())
    }
}
