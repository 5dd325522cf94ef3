//! Responses of HTTP/1.1: the head, and the framing of the body.

use super::Malformed;

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// How the body is framed.
    pub body: Body,
    /// `Sec-WebSocket-Accept`, where the connection was upgraded.
    pub accept: Option<Vec<u8>>,
    /// How many bytes the head has.
    pub length: usize,
}

/// Where a body's bytes are, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Of this many more bytes.
    Length(u64),
    /// In chunks, each behind its size.
    Chunked(Chunk),
    /// All that follows: an upgraded connection, or a response without either header.
    UntilClose,
}

/// Where in a chunked body one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the size.
    Size {
        /// What its digits say so far.
        size: u64,
        /// How many there were.
        digits: u8,
    },
    /// Behind the size, before the LF.
    SizeEnd {
        /// What it said.
        size: u64,
    },
    /// In the data.
    Data {
        /// How many bytes are left.
        left: u64,
    },
    /// Behind the data, before the CR or the LF.
    DataEnd,
    /// Behind the last chunk.
    Trailer {
        /// Whether the line has been empty so far.
        empty: bool,
    },
}

impl Chunk {
    const BEGIN: Self = Self::Size { size: 0, digits: 0 };
}

/// Reads a head if all of it is there.
///
/// # Errors
///
/// It is not one of HTTP/1.1.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let malformed = |_| Malformed::new("not a response of HTTP/1.1", bytes);
    let length = match response.parse(bytes).map_err(malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let mut body = Body::UntilClose;
    let mut accept = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::new("transfer-encoding", header.value));
            }
            body = Body::Chunked(Chunk::BEGIN);
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let length = crate::payload::decimal(header.value)
                .ok_or_else(|| Malformed::new("content-length", header.value))?;
            body = Body::Length(length);
        } else if header.name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(header.value.to_vec());
        }
    }
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        body,
        accept,
        length,
    }))
}

impl Body {
    /// Whether a response of another request may follow.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        *self == Self::Length(0)
    }

    /// Passes what `bytes` hold of the body to `take`, and says how many of them belonged to it. These
    /// are fewer than all only behind its end.
    ///
    /// # Errors
    ///
    /// The framing is broken, or `take` has failed.
    pub fn read<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_at_end() {
            let used = match self {
                Self::UntilClose => {
                    take(rest)?;
                    rest.len()
                }
                Self::Length(left) => {
                    let data = first(rest, *left);
                    take(data)?;
                    *left -= data.len() as u64;
                    data.len()
                }
                Self::Chunked(Chunk::Data { left }) => {
                    let data = first(rest, *left);
                    take(data)?;
                    *left -= data.len() as u64;
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataEnd);
                    }
                    data.len()
                }
                Self::Chunked(chunk) => {
                    match chunk.after(rest[0]) {
                        Some(Some(next)) => *chunk = next,
                        Some(None) => *self = Self::Length(0),
                        None => return Err(Malformed::new("framing of a chunk", rest).into()),
                    }
                    1
                }
            };
            rest = &rest[used..];
        }
        Ok(bytes.len() - rest.len())
    }
}

impl Chunk {
    /// Where one is behind `byte`, which is not of the data: `None` if it cannot be there,
    /// `Some(None)` if it ends the body.
    fn after(&self, byte: u8) -> Option<Option<Self>> {
        Some(Some(match (self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r' | b';') | (Self::SizeEnd { size }, 0x20..) => {
                Self::SizeEnd { size: *size }
            }
            (Self::Size { size, digits: 1.. } | Self::SizeEnd { size }, b'\n') => match size {
                0 => Self::Trailer { empty: true },
                left => Self::Data { left: *left },
            },
            (Self::SizeEnd { size }, b'\r') => Self::SizeEnd { size: *size },
            // Fifteen digits cannot overflow.
            (
                Self::Size {
                    size,
                    digits: digits @ 0..15,
                },
                digit,
            ) => Self::Size {
                size: size * 16 + u64::from(char::from(digit).to_digit(16)?),
                digits: digits + 1,
            },
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::BEGIN,
            (Self::Trailer { empty }, b'\r') => Self::Trailer { empty: *empty },
            (Self::Trailer { empty: true }, b'\n') => return Some(None),
            (Self::Trailer { .. }, byte) => Self::Trailer {
                empty: byte == b'\n',
            },
            _ => return None,
        }))
    }
}

/// The first `count` bytes, or all if there are fewer.
fn first(bytes: &[u8], count: u64) -> &[u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    &bytes[..bytes.len().min(count)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and how many of the bytes were not of the response.
    fn read(response: &[u8], split: usize) -> Result<(Vec<u8>, bool, usize), Malformed> {
        let Head {
            mut body, length, ..
        } = head(response)?.expect("the head is complete");
        let bytes = &response[length..];
        let mut data = Vec::new();
        let (left, right) = bytes.split_at(split.min(bytes.len()));
        let mut used = 0;
        for piece in [left, right] {
            used += body.read(piece, |piece| {
                data.extend_from_slice(piece);
                Ok::<_, Malformed>(())
            })?;
        }
        Ok((data, body.is_at_end(), bytes.len() - used))
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nabcde\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\nHTTP";

    #[test]
    fn chunks_may_be_split_anywhere() {
        for split in 0..CHUNKED.len() {
            let expected = (b"abcde0123456789abcdef".to_vec(), true, 4);
            assert_eq!(read(CHUNKED, split), Ok(expected), "split at {split}");
        }
    }

    #[test]
    fn trailers_are_skipped() {
        let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n";
        assert_eq!(read(response, 0), Ok((vec![], true, 0)));
    }

    #[test]
    fn a_length_ends_the_body() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP";
        for split in 0..7 {
            assert_eq!(read(response, split), Ok((b"abc".to_vec(), true, 4)));
        }
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        assert_eq!(read(response, 1), Ok((b"ab".to_vec(), false, 0)));
    }

    #[test]
    fn broken_framing_is_noticed() {
        for body in [
            "g\r\n",
            "\r\n",
            "1\r\nab\r\n",
            "1\r\na1\r\n",
            "1111111111111111\r\n",
        ] {
            let response = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
            assert!(read(response.as_bytes(), 0).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_head_is_complete_or_not() {
        let response = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc\r\n\r\n";
        for length in 0..response.len() {
            assert_eq!(head(&response[..length]), Ok(None));
        }
        let head = head(response);
        assert_eq!(
            head,
            Ok(Some(Head {
                status: 101,
                body: Body::UntilClose,
                accept: Some(b"abc".to_vec()),
                length: response.len(),
            }))
        );
    }
}
