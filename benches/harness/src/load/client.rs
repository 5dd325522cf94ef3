//! [`Client`]: one connection of the load, and what must come over it.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use super::{Failure, Tally};
use crate::clock;
use crate::verify::{Fault, News, Published, Reader};
use crate::wire::event_stream::EventStream;
use crate::wire::http::{self, Body};
use crate::wire::websocket::{Handshake, Messages};
use crate::wire::Malformed;

/// How a client gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-sent events.
    EventStream,
    /// A WebSocket.
    WebSocket,
    /// Requests that are answered when there is something.
    LongPoll,
    /// Requests at fixed times.
    Poll,
}

/// What one client asks for.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// By which transport.
    pub transport: Transport,
    /// The topics.
    pub topics: Vec<u32>,
    /// The id and the number of the event that it saw last, if it returns. It then has one topic.
    pub after: Option<(String, u64)>,
    /// Whether it reads what it is sent.
    pub reads: bool,
    /// Whether a gap event may tell it that something is gone.
    pub may_skip: bool,
    /// Buffers smaller than the system's.
    pub buffers: Option<Buffers>,
}

/// What a connection can hold, for clients that are to block the server soon.
#[derive(Clone, Copy, Debug)]
pub struct Buffers {
    /// The client's receive buffer, in bytes.
    pub receive: usize,
    /// The largest segment that the client takes, in bytes. The server's send buffer grows with it, and
    /// loopback's own are 64 KiB.
    pub segment: u32,
}

impl Subscription {
    /// Server-sent events of these topics, from now on.
    #[must_use]
    pub fn to(topics: Vec<u32>) -> Self {
        Self {
            transport: Transport::EventStream,
            topics,
            after: None,
            reads: true,
            may_skip: false,
            buffers: None,
        }
    }
}

/// The name of a topic.
pub(super) fn topic_name(topic: u32) -> String {
    format!("t{topic}")
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) subscription: Subscription,
    pub(super) reader: Reader,
    /// The id of the first event that it has received.
    pub(super) first_id: Option<String>,
    /// The id after which it polls next, once the first answer has come.
    polled: Option<Option<String>>,
    /// Whether it is under way until it is answered.
    pub(super) is_patient: bool,
    /// Whether its first request has been sent.
    has_asked: bool,
    /// Whether the answer to that has begun.
    is_answering: bool,
    state: State,
    content: Content,
}

#[derive(Debug)]
enum State {
    /// This request is to be sent.
    Sending(Vec<u8>),
    /// So much of a response's head has arrived.
    Head(Vec<u8>),
    /// The head has been read.
    Body(Body),
    /// Everything that was asked for has been answered.
    Answered,
}

/// What is in the body.
#[derive(Debug)]
enum Content {
    Events(EventStream),
    Messages { accept: String, messages: Messages },
    Page(Vec<u8>),
}

/// What polling is answered with.
#[derive(Deserialize)]
struct Page {
    events: Vec<PageEvent>,
    last: Option<String>,
}

#[derive(Deserialize)]
struct PageEvent {
    id: String,
    data: String,
}

/// What has come of a client's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for more.
    Waits,
    /// The first answer has come to who polls: it says where to begin.
    Begun,
    /// What it polled for has been answered.
    Answered,
}

/// What a client finds that reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// Everything.
    Complete,
    /// Less, and the server says so.
    Told {
        /// How many events are gone.
        skipped: u64,
    },
    /// Less, and the server does not say so.
    NotTold,
    /// The end of the stream.
    Closed,
}

impl Client {
    /// Begins to connect.
    pub(super) fn connect(
        address: SocketAddr,
        subscription: Subscription,
        published: &Published,
    ) -> io::Result<Self> {
        let stream = match subscription.buffers {
            None => TcpStream::connect(address)?,
            // They decide what the connection offers, so they are set before.
            Some(Buffers { receive, segment }) => {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                socket.set_recv_buffer_size(receive)?;
                socket.set_tcp_mss(segment)?;
                socket.set_nonblocking(true)?;
                match socket.connect(&address.into()) {
                    Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
                    _ => TcpStream::from_std(socket.into()),
                }
            }
        };
        let newest = |&topic: &u32| (topic, published.newest(topic));
        let reader = match &subscription.after {
            Some((_, number)) => Reader::after(subscription.topics.iter().map(|&t| (t, *number))),
            None => Reader::after(subscription.topics.iter().map(newest)),
        };
        let (request, content) = first_request(&subscription);
        Ok(Self {
            stream,
            subscription,
            reader,
            first_id: None,
            polled: None,
            is_patient: false,
            has_asked: false,
            is_answering: false,
            state: State::Sending(request),
            content,
        })
    }

    /// Whether everything that it asked for has been answered.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    /// Whether its first request has been sent.
    #[cfg(test)]
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Whether it is under way no longer: it has asked, or, if it is patient, the server has begun to
    /// answer. Who does not read notices no answer.
    pub(super) fn is_open(&self) -> bool {
        if self.is_patient && self.subscription.reads {
            self.is_answering
        } else {
            self.has_asked
        }
    }

    /// Asks for what has come since: polling again.
    pub(super) fn ask_again(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        let after = self.polled.as_ref().and_then(Option::as_deref);
        let request = poll_request(&self.subscription, after);
        self.state = State::Sending(request);
        tally.requests += 1;
        self.send(tally)?;
        Ok(())
    }

    /// Sends the request, once the connection is there.
    fn send(&mut self, tally: &mut Tally) -> Result<Turn, Failure> {
        let State::Sending(request) = &self.state else {
            return Ok(Turn::Waits);
        };
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.stream.write(request) {
            // A request is far smaller than any send buffer.
            Ok(written) if written == request.len() => {
                if !matches!(self.content, Content::Events(_)) {
                    tally.bytes += written as u64;
                }
                self.state = State::Head(Vec::new());
                self.has_asked = true;
                Ok(Turn::Waits)
            }
            Ok(_) => Err(io::Error::from(ErrorKind::WriteZero).into()),
            Err(error) if is_not_yet(&error) => Ok(Turn::Waits),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what there is to do, with a buffer to read into.
    pub(super) fn ready(
        &mut self,
        buffer: &mut [u8],
        tally: &mut Tally,
        published: &Published,
    ) -> Result<Turn, Failure> {
        if matches!(self.state, State::Sending(_)) {
            return self.send(tally);
        }
        if !self.subscription.reads {
            return Ok(Turn::Waits);
        }
        let had_begun = self.polled.is_some();
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.take(&buffer[..length], clock::now(), tally, published)?;
            // What is behind a short read announces itself.
            if length < buffer.len() {
                break;
            }
        }
        Ok(match self.state {
            State::Answered if had_begun => Turn::Answered,
            State::Answered => Turn::Begun,
            _ => Turn::Waits,
        })
    }

    /// Reads on, for a client that has not read so far, until it is clear whether it was behind.
    /// `tally` is its own.
    pub(super) fn resume(
        &mut self,
        buffer: &mut [u8],
        tally: &mut Tally,
        published: &Published,
    ) -> Result<Option<Resumed>, Failure> {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Ok(Some(Resumed::Closed)),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Some(Resumed::Closed));
                }
                Err(error) => return Err(error.into()),
            };
            match self.take(&buffer[..length], clock::now(), tally, published) {
                Ok(()) => {}
                Err(Fault::Lost { .. }) => return Ok(Some(Resumed::NotTold)),
                Err(Fault::Closed) => return Ok(Some(Resumed::Closed)),
                Err(fault) => return Err(fault.into()),
            }
            if tally.skipped > 0 {
                let skipped = tally.skipped;
                return Ok(Some(Resumed::Told { skipped }));
            }
            let has_all = |(topic, next)| next > published.newest(topic);
            if self.reader.next().all(has_all) {
                return Ok(Some(Resumed::Complete));
            }
        }
    }

    /// Takes bytes that have arrived.
    fn take(
        &mut self,
        bytes: &[u8],
        now: u64,
        tally: &mut Tally,
        published: &Published,
    ) -> Result<(), Fault> {
        let mut joined;
        let bytes = if let State::Head(begin) = &mut self.state {
            joined = std::mem::take(begin);
            joined.extend_from_slice(bytes);
            let Some(head) = http::head(&joined)? else {
                self.state = State::Head(joined);
                return Ok(());
            };
            let is_upgrade = matches!(self.content, Content::Messages { .. });
            if head.status != if is_upgrade { 101 } else { 200 } {
                return Err(Fault::Status(head.status));
            }
            if let Content::Messages { accept, .. } = &self.content {
                if head.accept.as_deref() != Some(accept.as_bytes()) {
                    return Err(Malformed::new("a WebSocket's handshake", &joined).into());
                }
            }
            if matches!(self.content, Content::Page(_)) {
                tally.bytes += head.length as u64;
            }
            self.state = State::Body(head.body);
            self.is_answering = true;
            &joined[head.length..]
        } else {
            bytes
        };
        let State::Body(body) = &mut self.state else {
            return Err(Malformed::new("a response that nobody asked for", bytes).into());
        };
        tally.bytes += bytes.len() as u64;
        let may_skip = self.subscription.may_skip;
        let reader = &mut self.reader;
        let first_id = &mut self.first_id;
        let content = &mut self.content;
        let used = body.read(bytes, |piece| match content {
            Content::Events(stream) => stream.read(piece, |event| {
                let news = reader.take(event, published)?;
                if news == News::Gap && !may_skip {
                    return Err(Fault::Gap);
                }
                tally.take(news, now);
                if first_id.is_none() {
                    let id = event.id.unwrap_or_default();
                    *first_id = Some(String::from_utf8_lossy(id).into_owned());
                }
                Ok(())
            }),
            Content::Messages { messages, .. } => messages.read(piece, |message| {
                let end = memchr::memchr(b'\n', message)
                    .ok_or_else(|| Malformed::new("a message without an id", message))?;
                let (id, data) = (&message[..end], &message[end + 1..]);
                tally.take(reader.take_data(id, data, published)?, now);
                Ok(())
            }),
            Content::Page(page) => {
                page.extend_from_slice(piece);
                Ok::<_, Fault>(())
            }
        })?;
        if used < bytes.len() {
            return Err(Malformed::new("bytes behind the response", &bytes[used..]).into());
        }
        if body.is_at_end() {
            self.end_of_body(now, tally, published)?;
        }
        Ok(())
    }

    fn end_of_body(
        &mut self,
        now: u64,
        tally: &mut Tally,
        published: &Published,
    ) -> Result<(), Fault> {
        let Content::Page(bytes) = &mut self.content else {
            return Err(Fault::Closed);
        };
        let page: Page = serde_json::from_slice(bytes)
            .map_err(|error| Malformed::new(&error.to_string(), bytes))?;
        bytes.clear();
        // The first answer only says where to begin.
        if self.polled.is_some() {
            for PageEvent { id, data } in page.events {
                let news = (self.reader).take_data(id.as_bytes(), data.as_bytes(), published)?;
                tally.take(news, now);
            }
        }
        self.polled = Some(page.last.or(self.polled.take().flatten()));
        self.state = State::Answered;
        Ok(())
    }
}

impl Tally {
    /// Counts what has arrived at `now`.
    fn take(&mut self, news: News, now: u64) {
        match news {
            News::Event { payload, skipped } => {
                self.received += 1;
                self.skipped += skipped;
                let latency = now.saturating_sub(payload.due);
                self.latency.saturating_record(latency);
                self.slowest = self.slowest.max(latency);
            }
            News::Gap => self.gaps += 1,
        }
    }
}

/// `EINPROGRESS`: what a connect that does not wait returns.
const IN_PROGRESS: i32 = 115;

/// The connection is not there yet, or takes no more for now.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

/// What opens the stream, and how to read what comes.
fn first_request(subscription: &Subscription) -> (Vec<u8>, Content) {
    let topics = topic_list(subscription);
    let after = subscription.after.as_ref().map(|(id, _)| id.as_str());
    match subscription.transport {
        Transport::EventStream => {
            let mut request = format!(
                "GET /events?topics={topics} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                 accept: text/event-stream\r\n"
            );
            if let Some(id) = after {
                // Writing to a string cannot fail.
                let _ = write!(request, "last-event-id: {id}\r\n");
            }
            request.push_str("\r\n");
            (
                request.into_bytes(),
                Content::Events(EventStream::default()),
            )
        }
        Transport::WebSocket => {
            let Handshake { key, accept } = Handshake::new();
            let request = format!(
                "GET /ws?topics={topics} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                 connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: {key}\r\n\r\n"
            );
            let messages = Messages::default();
            (request.into_bytes(), Content::Messages { accept, messages })
        }
        Transport::LongPoll | Transport::Poll => {
            (poll_request(subscription, None), Content::Page(Vec::new()))
        }
    }
}

/// Asks for what follows an id. Without one a long poll does not wait either: its answer says where
/// to begin.
fn poll_request(subscription: &Subscription, after: Option<&str>) -> Vec<u8> {
    let topics = topic_list(subscription);
    let is_long = subscription.transport == Transport::LongPoll;
    let target = match after {
        None => format!("/poll?topics={topics}"),
        Some(id) if is_long => format!("/long-poll?topics={topics}&after={id}&wait=30"),
        Some(id) => format!("/poll?topics={topics}&after={id}"),
    };
    format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n\r\n")
        .into_bytes()
}

fn topic_list(subscription: &Subscription) -> String {
    let names = subscription.topics.iter().map(|&topic| topic_name(topic));
    names.collect::<Vec<_>>().join(",")
}
