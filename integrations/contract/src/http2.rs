//! An HTTP/2 client: one connection, with as many streams as the server allows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, Version};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{tls, End, Head, Piece, Pieces, DEADLINE};

/// An HTTP/2 connection over TLS. It is closed when this and all its streams are dropped.
#[derive(Debug)]
pub struct Http2 {
    /// Drives the connection from a thread of its own, so that what the server sends is always
    /// read, and its pings are answered.
    runtime: Arc<Runtime>,
    requests: SendRequest<Bytes>,
    addr: SocketAddr,
}

impl Http2 {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens at the address, or whoever does speaks no TLS or no HTTP/2.
    #[must_use]
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime of one thread can be made");
        let connect = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(tls::config("h2"));
            connector.connect(tls::name(addr), stream).await
        };
        let stream = runtime
            .block_on(async { timeout(DEADLINE, connect).await })
            .unwrap_or_else(|_| panic!("no connection to {addr} in {DEADLINE:?}"))
            .unwrap_or_else(|error| panic!("no connection to {addr}: {error}"));
        let protocol = stream.get_ref().1.alpn_protocol();
        assert_eq!(protocol, Some(&b"h2"[..]), "{addr} speaks no HTTP/2");
        let (requests, connection) = runtime
            .block_on(
                Builder::new()
                    .initial_connection_window_size(WINDOW)
                    .handshake(stream),
            )
            .unwrap_or_else(|error| panic!("{addr} does not begin HTTP/2: {error}"));
        // Should it fail, every stream says so.
        runtime.spawn(connection);
        Self {
            runtime: Arc::new(runtime),
            requests,
            addr,
        }
    }

    /// Opens one more stream, with a `GET` request, and waits for the answer's head.
    ///
    /// # Panics
    ///
    /// If no answer comes.
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Http2Response {
        let request = Request::get(format!("https://{}{target}", self.addr))
            .version(Version::HTTP_2)
            .body(())
            .expect("the target can be one");
        let answer = async {
            // Waits while the server allows no more streams.
            let mut requests = self.requests.clone().ready().await?;
            let (response, request) = requests.send_request(request, true)?;
            Ok::<_, h2::Error>((response.await?, request))
        };
        let (response, request) = self
            .runtime
            .block_on(async { timeout(DEADLINE, answer).await })
            .unwrap_or_else(|_| panic!("no answer to {target} in {DEADLINE:?}"))
            .unwrap_or_else(|error| panic!("no answer to {target}: {error}"));
        let head = head(&response);
        Http2Response {
            head,
            body: Http2Body {
                runtime: Arc::clone(&self.runtime),
                request,
                response: response.into_body(),
            },
        }
    }
}

fn head<B>(response: &Response<B>) -> Head {
    let headers = response.headers().iter();
    Head {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Http2Response {
    /// Status and headers.
    pub head: Head,
    /// What follows them.
    pub body: Http2Body,
}

/// A stream's body, read as it comes. Dropped, it resets the stream.
#[derive(Debug)]
pub struct Http2Body {
    runtime: Arc<Runtime>,
    request: SendStream<Bytes>,
    response: RecvStream,
}

impl Http2Body {
    /// Ends this stream with `RST_STREAM`, as a browser does whose page closes an `EventSource`.
    pub fn reset(mut self) {
        self.request.send_reset(Reason::CANCEL);
    }
}

impl Pieces for Http2Body {
    /// A piece is a `DATA` frame; the end is clean if it was `END_STREAM`.
    fn next(&mut self, limit: Duration) -> Piece {
        let data = async { timeout(limit, self.response.data()).await };
        match self.runtime.block_on(data) {
            Err(_) => Piece::Quiet,
            Ok(None) => Piece::End(End::Clean),
            Ok(Some(Err(error))) => {
                eprintln!("a stream was cut: {error}");
                Piece::End(End::Cut)
            }
            Ok(Some(Ok(data))) => {
                // Lets the server send as much again. Refused only where the stream is over.
                let _ = self.response.flow_control().release_capacity(data.len());
                Piece::Chunk(data.to_vec())
            }
        }
    }
}

/// How much of all streams together may wait to be read, in bytes: a lot, as in browsers, so that
/// one that is not read does not hold up the others. Each stream alone has the 64 KiB of the
/// standard. h2 also allows as many small unread frames as half of this pays for, at 256 bytes
/// each, and takes more for an attack: with its own default, two events each on 100 streams.
const WINDOW: u32 = 16 << 20;
