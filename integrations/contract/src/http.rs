//! A raw HTTP/1.1 client: it sends the bytes it is given, and shows the bytes that come back as they
//! came, chunk by chunk, with the way they ended.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket as Unconnected, Type};

use crate::socket::Socket;
use crate::DEADLINE;

/// A request, written as it is given: nothing is checked, encoded or left out.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// A request with any method.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `GET` request.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` request with a body.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let length = body.len().to_string();
        Self {
            body,
            ..Self::new("POST", target).header("Content-Length", length)
        }
    }

    /// A `POST` request of which only the beginning is sent: the whole says that it is longer.
    pub fn post_in_part(target: &str, length: u64, beginning: &[u8]) -> Self {
        Self {
            body: beginning.to_vec(),
            ..Self::new("POST", target).header("Content-Length", length.to_string())
        }
    }

    /// A `POST` request with a body of chunks, which does not say how long it is.
    pub fn post_in_chunks(target: &str, chunks: &[&[u8]]) -> Self {
        let mut body = Vec::new();
        for chunk in chunks {
            let size = format!("{:x}\r\n", chunk.len());
            body.extend_from_slice(&[size.as_bytes(), chunk, b"\r\n"].concat());
        }
        body.extend_from_slice(b"0\r\n\r\n");
        Self {
            body,
            ..Self::new("POST", target).header("Transfer-Encoding", "chunked")
        }
    }

    /// Adds a header, whatever bytes its value has.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .extend_from_slice(&[name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// Sends the request on a connection of its own and waits for the answer's head.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    #[track_caller]
    pub fn send(&self, addr: SocketAddr) -> Response {
        Connection::open(addr).send(self)
    }

    /// As [`send`](Self::send), to a server that may be gone, or go before it has answered: then there
    /// is no answer.
    #[must_use]
    pub fn try_send(&self, addr: SocketAddr) -> Option<Response> {
        Connection::try_open(addr)?.try_send(self)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Socket,
    /// What has been read and not been used.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens at the address.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Self {
        Self::over(Socket::Plain(connect(addr)))
    }

    /// Connects from an address of this machine, of which loopback has many: 127.0.0.1 to
    /// 127.255.255.254.
    ///
    /// # Panics
    ///
    /// If nobody listens at the address, or the other is not this machine's.
    #[track_caller]
    pub fn open_from(client: impl Into<IpAddr>, addr: SocketAddr) -> Self {
        let client = SocketAddr::new(client.into(), 0);
        let connect = || {
            let socket = Unconnected::new(Domain::for_address(addr), Type::STREAM, None)?;
            socket.bind(&client.into())?;
            socket.connect_timeout(&addr.into(), DEADLINE)?;
            socket.set_tcp_nodelay(true)?;
            io::Result::Ok(TcpStream::from(socket))
        };
        let stream = connect().unwrap_or_else(|error| panic!("from {client} to {addr}: {error}"));
        Self::over(Socket::Plain(stream))
    }

    /// Connects, if somebody listens at the address.
    #[must_use]
    pub fn try_open(addr: SocketAddr) -> Option<Self> {
        let stream = try_connect(addr).ok()?;
        Some(Self::over(Socket::Plain(stream)))
    }

    /// Connects to a server that speaks TLS, whatever certificate it shows.
    ///
    /// # Panics
    ///
    /// If nobody listens at the address.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub fn open_with_tls(addr: SocketAddr) -> Self {
        let stream = crate::tls::over(connect(addr), addr);
        Self::over(Socket::Tls(Box::new(stream)))
    }

    fn over(stream: Socket) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    #[track_caller]
    pub fn send(mut self, request: &Request) -> Response {
        let (sent, head) = self.ask(request);
        let Some(head) = head else {
            let Request { method, target, .. } = request;
            panic!(
                "no answer to {method} {target} (sending it: {sent:?}); got {:?}",
                self.text()
            );
        };
        self.answered(request, head)
    }

    /// As [`send`](Self::send), to a server that may go before it has answered: then there is no
    /// answer.
    #[must_use]
    pub fn try_send(mut self, request: &Request) -> Option<Response> {
        let (_, head) = self.ask(request);
        head.map(|head| self.answered(request, head))
    }

    /// Sends a request and reads the answer's head. Returns how sending it went, too.
    fn ask(&mut self, request: &Request) -> (io::Result<()>, Option<Head>) {
        let Request {
            method,
            target,
            headers,
            body,
        } = request;
        let start = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        let bytes = [start.as_bytes(), headers, b"\r\n", body].concat();
        // A server may answer and close before it has read everything: the answer decides.
        let sent = self.stream.write_all(&bytes);
        (sent, self.read_head())
    }

    fn answered(self, request: &Request, head: Head) -> Response {
        let framing = Framing::of(&request.method, &head);
        Response {
            head,
            body: Body {
                connection: self,
                framing,
            },
        }
    }

    /// Says that nothing more will be sent, as a client that is half closed does.
    ///
    /// # Panics
    ///
    /// If the connection is gone.
    #[track_caller]
    pub fn close_writing(&self) {
        self.stream
            .tcp()
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Sends bytes that are no part of a request; not over TLS.
    ///
    /// # Panics
    ///
    /// If the connection is gone.
    pub fn send_more(&self, bytes: &[u8]) {
        let mut tcp = self.stream.tcp();
        tcp.write_all(bytes).expect("the connection is open");
    }

    /// Dies without a word: from now on everything the server sends is lost on its way here, and
    /// nothing is answered, not even by a reset.
    ///
    /// A filter on the socket drops every packet before TCP sees it, which is what a cable that is
    /// cut looks like to the server. (A machine that comes back without its sockets, and then resets
    /// them, is not simulated.)
    ///
    /// # Panics
    ///
    /// If the system refuses the filter, or is not Linux.
    #[track_caller]
    pub fn vanish(&self) {
        #[cfg(target_os = "linux")]
        {
            // BPF_RET | BPF_K: of every packet, keep 0 bytes.
            let drop_all = [socket2::SockFilter::new(0x06, 0, 0, 0)];
            SockRef::from(self.stream.tcp())
                .attach_filter(&drop_all)
                .expect("a socket takes a filter, for which nobody needs privileges");
        }
        #[cfg(not(target_os = "linux"))]
        panic!("only on Linux is it known how a client can die without a word");
    }

    /// Has the connection end by a reset when it is dropped, as that of a process that is killed may.
    ///
    /// # Panics
    ///
    /// If the system does not let a socket close so.
    #[track_caller]
    pub fn reset_when_dropped(&self) {
        SockRef::from(self.stream.tcp())
            .set_linger(Some(Duration::ZERO))
            .expect("a socket may close without waiting");
    }

    fn read_head(&mut self) -> Option<Head> {
        let until = Instant::now() + DEADLINE;
        let length = loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            let Fill::More = self.fill(until) else {
                return None;
            };
        };
        let bytes: Vec<u8> = self.buffer.drain(..length).collect();
        Head::parse(&bytes)
    }

    /// Waits for more bytes, or takes those that are there if the time is over.
    fn fill(&mut self, until: Instant) -> Fill {
        let left = until.saturating_duration_since(Instant::now());
        let mut bytes = [0; 64 * 1024];
        let read = if left.is_zero() {
            // The shortest limit is one that the system rounds up to milliseconds.
            self.set_nonblocking(true);
            let read = self.stream.read(&mut bytes);
            self.set_nonblocking(false);
            read
        } else {
            // Zero would mean no limit.
            let limit = left.max(Duration::from_millis(1));
            let limited = self.stream.tcp().set_read_timeout(Some(limit));
            limited.expect("the limit is not zero");
            self.stream.read(&mut bytes)
        };
        match read {
            Ok(0) => Fill::Closed,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                Fill::More
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Fill::Quiet,
                _ => Fill::Closed,
            },
        }
    }

    fn set_nonblocking(&self, is_nonblocking: bool) {
        let set = self.stream.tcp().set_nonblocking(is_nonblocking);
        set.expect("a socket may be either");
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

#[track_caller]
fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap_or_else(|error| panic!("no connection to {addr}: {error}"))
}

fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

enum Fill {
    More,
    Quiet,
    Closed,
}

/// The status line and the headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The three digits.
    pub status: u16,
    /// Names in lower case and values as they came, in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let status = std::str::from_utf8(lines.next()?)
            .ok()?
            .strip_prefix("HTTP/1.1 ")?;
        let headers = lines.take_while(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Some(Self {
            status: status.get(..3)?.parse().ok()?,
            headers: headers.collect::<Option<_>>()?,
        })
    }

    /// All values of a header, in order, as text.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(header, _)| header == name);
        values
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The first value of a header, as text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// What follows them.
    pub body: Body,
}

impl Response {
    /// Reads the whole body as text.
    ///
    /// # Panics
    ///
    /// If it does not end, or is cut.
    #[track_caller]
    pub fn text(mut self) -> String {
        match self.body.rest() {
            (bytes, Piece::End(End::Clean)) => String::from_utf8_lossy(&bytes).into_owned(),
            (bytes, other) => panic!("a body ended with {other:?} after {} bytes", bytes.len()),
        }
    }

    /// As [`text`](Self::text), from a server that may go before it has sent all of it: then there is
    /// none.
    #[must_use]
    pub fn try_text(mut self) -> Option<String> {
        match self.body.rest() {
            (bytes, Piece::End(End::Clean)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        }
    }

    /// Reads the whole body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in: {text}"))
    }
}

/// A body, read as it comes.
#[derive(Debug)]
pub struct Body {
    connection: Connection,
    framing: Framing,
}

/// What reading a body found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One chunk, with the boundaries that the server gave it; from a body that is not chunked,
    /// what was there to read.
    Chunk(Vec<u8>),
    /// Nothing more will come.
    End(End),
    /// Nothing came in time.
    Quiet,
}

/// A body that comes in pieces, whatever the protocol.
pub trait Pieces {
    /// Waits up to `limit` for the next piece.
    fn next(&mut self, limit: Duration) -> Piece;
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As HTTP asks: with the terminating chunk, or with the last byte of its length.
    Clean,
    /// With the connection, in the middle of the body.
    Cut,
}

#[derive(Debug)]
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
    Ended(End),
}

impl Framing {
    fn of(method: &str, head: &Head) -> Self {
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            Self::Ended(End::Clean)
        } else if head.get("transfer-encoding").as_deref() == Some("chunked") {
            Self::Chunked
        } else {
            let length = head
                .get("content-length")
                .and_then(|length| length.parse().ok());
            length.map_or(Self::UntilClose, Self::Length)
        }
    }
}

impl Body {
    /// Waits up to `limit` for the next piece.
    pub fn next(&mut self, limit: Duration) -> Piece {
        let until = Instant::now() + limit;
        loop {
            if let Some(piece) = self.take() {
                return piece;
            }
            match self.connection.fill(until) {
                Fill::More => {}
                Fill::Quiet if Instant::now() < until => {}
                Fill::Quiet => return Piece::Quiet,
                Fill::Closed => {
                    let is_whole = matches!(self.framing, Framing::UntilClose);
                    self.framing = Framing::Ended(if is_whole { End::Clean } else { End::Cut });
                }
            }
        }
    }

    /// All that comes in time, and what came instead of more.
    fn rest(&mut self) -> (Vec<u8>, Piece) {
        let mut bytes = Vec::new();
        loop {
            match self.next(DEADLINE) {
                Piece::Chunk(chunk) => bytes.extend_from_slice(&chunk),
                other => return (bytes, other),
            }
        }
    }

    /// The connection that it comes on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, for another request.
    ///
    /// # Panics
    ///
    /// If the body has not come to a clean end.
    #[must_use]
    #[track_caller]
    pub fn into_connection(self) -> Connection {
        assert!(
            matches!(self.framing, Framing::Ended(End::Clean)),
            "the body has not ended"
        );
        self.connection
    }

    /// Takes a piece from what has been read, if it is there whole.
    fn take(&mut self) -> Option<Piece> {
        let buffer = &mut self.connection.buffer;
        match &mut self.framing {
            Framing::Ended(end) => Some(Piece::End(*end)),
            Framing::UntilClose if buffer.is_empty() => None,
            Framing::UntilClose => Some(Piece::Chunk(std::mem::take(buffer))),
            Framing::Length(0) => {
                self.framing = Framing::Ended(End::Clean);
                Some(Piece::End(End::Clean))
            }
            Framing::Length(_) if buffer.is_empty() => None,
            Framing::Length(left) => {
                let taken = buffer.len().min(*left);
                *left -= taken;
                Some(Piece::Chunk(buffer.drain(..taken).collect()))
            }
            Framing::Chunked => {
                let line = buffer.windows(2).position(|two| two == b"\r\n")?;
                let size = std::str::from_utf8(&buffer[..line]).ok();
                let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
                    self.framing = Framing::Ended(End::Cut);
                    return Some(Piece::End(End::Cut));
                };
                let end = line + 2 + size;
                if buffer.len() < end + 2 {
                    return None;
                }
                let chunk = buffer[line + 2..end].to_vec();
                buffer.drain(..end + 2);
                if size > 0 {
                    return Some(Piece::Chunk(chunk));
                }
                self.framing = Framing::Ended(End::Clean);
                Some(Piece::End(End::Clean))
            }
        }
    }
}

impl Pieces for Body {
    fn next(&mut self, limit: Duration) -> Piece {
        Self::next(self, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers one connection with the given pieces, each a write of its own, and closes.
    fn serve<const N: usize>(pieces: [&'static [u8]; N]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound listener");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            for piece in pieces {
                stream.write_all(piece).expect("the client reads");
                stream.flush().expect("the client reads");
            }
        });
        addr
    }

    #[test]
    fn chunks_keep_their_boundaries_and_their_end() {
        let addr = serve([
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: \xff\r\n\r\n2\r\nab\r\n1",
            b"0\r\n0123456789abcdef\r\n0\r\n\r\n",
        ]);

        let mut response = Request::get("/").send(addr);

        assert_eq!(response.head.status, 200);
        assert_eq!(response.head.headers[1], ("x-a".to_owned(), vec![0xff]));
        assert_eq!(response.body.next(DEADLINE), Piece::Chunk(b"ab".to_vec()));
        assert_eq!(
            response.body.next(DEADLINE),
            Piece::Chunk(b"0123456789abcdef".to_vec())
        );
        assert_eq!(response.body.next(DEADLINE), Piece::End(End::Clean));
    }

    #[test]
    fn a_chunked_body_without_its_last_chunk_was_cut() {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
        let mut response = Request::get("/").send(serve([head]));

        assert_eq!(response.body.next(DEADLINE), Piece::Chunk(b"ab".to_vec()));
        assert_eq!(response.body.next(DEADLINE), Piece::End(End::Cut));
    }

    #[test]
    fn a_body_with_a_length_ends_there() {
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(Request::post("/", "x").send(serve([answer])).text(), "{}");
    }
}
