//! What Rocket costs by itself: a body that copies what everybody is sent, and does nothing else. It has one
//! topic and no limits, nobody is sent what was before, and it says nothing while there is nothing to say.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bench_server_shared::publish_lines;
use bytes::Bytes;
use fanfare::response::HEADERS;
use rocket::response::{self, Responder, Response};
use rocket::tokio::io::{AsyncRead, ReadBuf};
use rocket::Request;

/// As large as Fanfare's.
const MAX_CHUNK_SIZE: usize = 16 * 1024;

/// As long as the server's beginning, which is in Fanfare's ids.
const EPOCH: u64 = 1_000_000_000_000_000;

/// What has been published.
#[derive(Default)]
pub(crate) struct Bare {
    log: Mutex<Log>,
    followers: AtomicUsize,
}

#[derive(Default)]
struct Log {
    /// What was published at once, as it is sent.
    bursts: Vec<Bytes>,
    last_id: u64,
    waiting: Vec<Waker>,
}

impl Bare {
    pub(crate) fn publish(&self, body: &[u8]) -> Result<String, std::str::Utf8Error> {
        let mut log = self.log();
        let mut burst = String::new();
        let published = publish_lines(body, |line| {
            log.last_id += 1;
            burst += &format!("id: {EPOCH}-{}\ndata: {line}\n\n", log.last_id);
        });
        log.bursts.push(burst.into());
        let waiting = std::mem::take(&mut log.waiting);
        drop(log);
        waiting.into_iter().for_each(Waker::wake);
        published
    }

    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        self.followers.fetch_add(1, Ordering::Relaxed);
        Follower {
            next: self.log().bursts.len(),
            rest: Bytes::from_static(b":\n"),
            bare: Arc::clone(self),
        }
    }

    pub(crate) fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream to one client.
pub(crate) struct Follower {
    bare: Arc<Bare>,
    next: usize,
    /// What there was no room for.
    rest: Bytes,
}

impl AsyncRead for Follower {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let mut log = this.bare.log();
            let Some(burst) = log.bursts.get(this.next) else {
                log.waiting.push(cx.waker().clone());
                return Poll::Pending;
            };
            this.rest = burst.clone();
            this.next += 1;
        }
        let length = this.rest.len().min(buffer.remaining());
        buffer.put_slice(&this.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.bare.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'r> Responder<'r, 'static> for Follower {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        for (name, value) in HEADERS {
            response.raw_header(name, value);
        }
        response
            .streamed_body(self)
            .max_chunk_size(MAX_CHUNK_SIZE)
            .ok()
    }
}
