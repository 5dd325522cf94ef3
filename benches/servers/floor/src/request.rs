//! [`Request`]: as much of HTTP/1.1 as the load generator speaks.

use std::io;
use std::rc::Rc;
use std::time::SystemTime;

/// A request, whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    target: String,
    pub(crate) last_event_id: Option<String>,
    /// Whether the connection is to be closed behind the answer.
    pub(crate) is_last: bool,
    pub(crate) body: String,
}

impl Request {
    /// Reads one from the beginning of `input`, with its length; `None` if it is not whole yet.
    pub(crate) fn parse(input: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head_len) = head.parse(input).map_err(invalid)? else {
            return Ok(None);
        };
        let header = |name: &str| {
            let mut headers = head.headers.iter();
            headers
                .find(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        let body_len = match header("content-length") {
            Some(len) => len.parse().map_err(invalid)?,
            None => 0,
        };
        let Some(body) = input[head_len..].get(..body_len) else {
            return Ok(None);
        };
        let request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            last_event_id: header("last-event-id"),
            is_last: header("connection").is_some_and(|how| how.eq_ignore_ascii_case("close")),
            body: String::from_utf8(body.to_vec()).map_err(invalid)?,
        };
        Ok(Some((request, head_len + body_len)))
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A whole answer.
pub(crate) fn response(status: u16, body: &str) -> Rc<[u8]> {
    let reason = if status == 200 { "OK" } else { "Not Found" };
    let len = body.len();
    let date = date();
    format!("HTTP/1.1 {status} {reason}\r\ncontent-length: {len}\r\ndate: {date}\r\n\r\n{body}")
        .into_bytes()
        .into()
}

/// The value of the header `date`, which the others send as well.
pub(crate) fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text =
            b"POST /publish/a?b=c HTTP/1.1\r\nContent-Length: 3\r\nLast-Event-ID: 7-1\r\n\r\none";
        for len in 0..text.len() {
            assert!(matches!(Request::parse(&text[..len]), Ok(None)), "{len}");
        }
        let followed = [&text[..], b"GET / "].concat();
        let (request, len) = Request::parse(&followed)
            .expect("it is well-formed")
            .expect("whole");
        assert_eq!(len, text.len());
        assert_eq!((request.path(), request.query()), ("/publish/a", "b=c"));
        assert_eq!(
            (request.method.as_str(), request.body.as_str()),
            ("POST", "one")
        );
        assert_eq!(request.last_event_id.as_deref(), Some("7-1"));
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert!(Request::parse(b"\x16\x03\x01\x02\x00\r\n\r\n").is_err());
        assert!(Request::parse(b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
