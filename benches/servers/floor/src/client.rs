//! [`Client`]: one connection.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::rc::Rc;

use fanfare::response::HEADERS;
use mio::net::TcpStream;
use mio::Registry;

use crate::request::{date, Request};

/// One connection: requests come, answers go; after a request for events, only events go.
pub(crate) struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    /// What the socket has not taken yet.
    output: VecDeque<Rc<[u8]>>,
    /// How much of the first it has taken.
    written: usize,
    /// What it follows, once it is a stream.
    topics: Option<Vec<String>>,
    /// Whether something was sent since it was last asked.
    sent: bool,
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            input: Vec::new(),
            output: VecDeque::new(),
            written: 0,
            topics: None,
            sent: false,
        }
    }

    /// Reads all there is. The client's end of the stream is an error.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1_024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole request, if there is one.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Request>> {
        let Some((request, len)) = Request::parse(&self.input)? else {
            return Ok(None);
        };
        self.input.drain(..len);
        if self.input.is_empty() {
            // A stream waits for hours: it holds no buffer meanwhile.
            self.input = Vec::new();
        }
        Ok(Some(request))
    }

    /// Sends the head of a stream; chunks follow.
    pub(crate) fn open(&mut self, topics: Vec<String>) -> io::Result<()> {
        self.topics = Some(topics);
        let mut head = String::from("HTTP/1.1 200 OK\r\n");
        for (name, value) in HEADERS {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("transfer-encoding: chunked\r\ndate: {}\r\n\r\n", date());
        self.send(head.into_bytes().into())
    }

    /// Writes what the socket takes, and keeps the rest.
    pub(crate) fn send(&mut self, bytes: Rc<[u8]>) -> io::Result<()> {
        self.sent = true;
        self.output.push_back(bytes);
        if self.output.len() > 1 {
            // It has taken no more before; the loop learns when it does.
            return Ok(());
        }
        self.flush()
    }

    /// Writes what the socket takes of what is kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.output.front() {
            match self.socket.write(&first[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.written == first.len() {
                self.output.pop_front();
                self.written = 0;
            }
        }
        Ok(())
    }

    /// How many pieces the socket has not taken.
    pub(crate) fn pending(&self) -> usize {
        self.output.len()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.topics.is_some()
    }

    pub(crate) fn topics(&mut self) -> Vec<String> {
        self.topics.take().unwrap_or_default()
    }

    /// Whether it is a stream to which nothing was sent since this was last asked.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let was_sent = std::mem::take(&mut self.sent);
        self.is_stream() && !was_sent
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // What is closed right afterwards leaves the registry anyway.
        let _ = registry.deregister(&mut self.socket);
    }
}
