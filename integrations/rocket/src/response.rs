//! [`Sse`], the response.

use fanfare_core::response::{Answer, HEADERS};
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::Request;

use crate::reader::Reader;

/// The size of the buffer that Rocket reads each stream through, in bytes.
///
/// Rocket hands out what is left of the buffer until nothing is, so an event that reaches over
/// its end goes out in two chunks. With Rocket's own 4 KiB that is every 27th event of 150
/// bytes; with this, every 109th. It costs an active stream as much memory, an idle one only what
/// it has used so far.
const MAX_CHUNK_SIZE: usize = 16 * 1024;

/// A stream of server-sent events as a Rocket response.
///
/// Made of whatever becomes an [`Answer`]: a subscription, a refusal, the stream of a
/// [`channel`](fanfare_core::channel), or any stream of [`Event`](fanfare_core::Event)s. The
/// response has the [`HEADERS`] and sends its first bytes with them.
///
/// ```
/// use async_stream::stream;
/// use fanfare_core::Event;
/// use fanfare_rocket::Sse;
/// use rocket::get;
///
/// #[get("/countdown")]
/// fn countdown() -> Sse {
///     Sse::new(stream! {
///         for n in (0..10).rev() {
///             yield Event::data(n.to_string()).name("tick");
///         }
///     })
/// }
/// ```
///
/// What is ready at once goes out as one chunk of HTTP, of at most 16 KiB. For chunks of another
/// size, change the response:
///
/// ```
/// use fanfare_rocket::Sse;
/// use rocket::response::{self, Responder, Response};
/// use rocket::Request;
///
/// struct Large(Sse);
///
/// impl<'r> Responder<'r, 'static> for Large {
///     fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
///         let response = self.0.respond_to(request)?;
///         Response::build_from(response).max_chunk_size(64 * 1024).ok()
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Sse(Answer);

impl Sse {
    /// The response to a subscription, a refusal, or a stream of events.
    ///
    /// A subscription is opened here; one that is refused is answered as the broadcaster was
    /// told to.
    pub fn new(answer: impl Into<Answer>) -> Self {
        Self(answer.into())
    }
}

impl<'r> Responder<'r, 'static> for Sse {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        response.status(Status::new(self.0.status()));
        if let Some(seconds) = self.0.retry_after() {
            response.raw_header("retry-after", seconds.to_string());
        }
        if self.0.status() == Status::Ok.code {
            for (name, value) in HEADERS {
                response.raw_header(name, value);
            }
        } else {
            response.header(ContentType::Plain);
        }
        response
            .streamed_body(Reader::new(self.0.into_body()))
            .max_chunk_size(MAX_CHUNK_SIZE)
            .ok()
    }
}
