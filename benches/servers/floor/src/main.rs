//! The floor: what it costs at the least to write the same bytes to the same sockets.
//!
//! One thread, one loop over what `epoll` reports, no task and no waker: an event is encoded and
//! framed once, as the chunk that the others' HTTP makes of it, and written to one socket after the
//! other. It is honest about what it serves (topics, resume, who disconnects), and about nothing
//! else: it has one thread whatever `--workers` says.

#![forbid(unsafe_code)]

mod client;
mod log;
mod request;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::time::Instant;

use bench_server_shared::{about, parameter, say_listening, timed, Flags, Parser, KEEP_ALIVE};
use clap::ValueEnum;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::log::Log;
use crate::request::Request;

/// There is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A bare loop that writes framed bytes to every socket
    Floor,
}

/// As many connections may wait to be accepted as with `fanfare::axum::bind`.
const BACKLOG: i32 = 4_096;

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let Flags { settings, .. } = Flags::<Kind>::parse();
    let listener = bind(settings.port)?;
    let address = listener.local_addr()?;
    let mut server = Server::new(listener, settings.history)?;
    say_listening(address)?;
    server.run()
}

fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(StdListener::from(socket)))
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    clients: Slab<Client>,
    log: Log,
    /// Clients to close once the loop over them is done.
    gone: Vec<usize>,
}

impl Server {
    fn new(mut listener: TcpListener, history: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            clients: Slab::new(),
            log: Log::new(history),
            gone: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let mut last_beat = Instant::now();
        loop {
            let rest = KEEP_ALIVE.saturating_sub(last_beat.elapsed());
            match self.poll.poll(&mut events, Some(rest)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(client) => self.serve(client),
                }
            }
            if last_beat.elapsed() >= KEEP_ALIVE {
                last_beat = Instant::now();
                self.keep_alive();
            }
            while let Some(client) = self.gone.pop() {
                self.close(client);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nodelay(true)?;
                    let entry = self.clients.vacant_entry();
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let token = Token(entry.key());
                    self.poll
                        .registry()
                        .register(&mut socket, token, interest)?;
                    entry.insert(Client::new(socket));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // That one has left already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Something can be read from, or written to, this client.
    fn serve(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let mut is_open = client.flush().is_ok() && client.read().is_ok();
        while is_open {
            let Some(client) = self.clients.get_mut(key) else {
                return;
            };
            is_open = match client.next_request() {
                Ok(Some(request)) => self.answer(key, &request).is_ok() && !request.is_last,
                Ok(None) => return,
                Err(_) => false,
            };
        }
        self.gone.push(key);
    }

    fn answer(&mut self, key: usize, request: &Request) -> io::Result<()> {
        let (status, body) = match (request.method.as_str(), request.path()) {
            ("GET", "/events") => return self.open(key, request),
            ("GET", "/subscribers") => {
                let streams = self.clients.iter().filter(|(_, client)| client.is_stream());
                (200, streams.count().to_string())
            }
            ("GET", "/about") => (200, about(env!("CARGO_PKG_NAME"), &["mio"])),
            ("POST", path) => match path.strip_prefix("/publish/") {
                Some(topic) => (200, timed(|| self.publish(topic, &request.body))),
                None => (404, String::new()),
            },
            _ => (404, String::new()),
        };
        self.clients[key].send(request::response(status, &body))
    }

    /// Opens a stream, behind what it has missed.
    fn open(&mut self, key: usize, request: &Request) -> io::Result<()> {
        let topics = parameter(request.query(), "topics").unwrap_or_default();
        let client = &mut self.clients[key];
        client.open(topics.split(',').map(str::to_owned).collect())?;
        for topic in topics.split(',') {
            if let Some(missed) = self
                .log
                .follow(topic, key, request.last_event_id.as_deref())
            {
                client.send(missed)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, topic: &str, body: &str) {
        let limit = self.log.history();
        let (chunk, followers) = self.log.publish(topic, body.lines());
        for &key in followers {
            let client = &mut self.clients[key];
            // Nobody is waited for, and nobody may hold more than the history does.
            if client.send(chunk.clone()).is_err() || client.pending() > limit {
                self.gone.push(key);
            }
        }
    }

    fn keep_alive(&mut self) {
        let comment = log::chunk(b":\n");
        for (key, client) in &mut self.clients {
            if client.is_quiet() && client.send(comment.clone()).is_err() {
                self.gone.push(key);
            }
        }
    }

    fn close(&mut self, key: usize) {
        // It may be noticed twice that one is gone.
        if let Some(mut client) = self.clients.try_remove(key) {
            for topic in client.topics() {
                self.log.leave(&topic, key);
            }
            client.deregister(self.poll.registry());
        }
    }
}
