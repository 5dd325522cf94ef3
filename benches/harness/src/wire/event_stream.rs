//! Event streams, as the servers under test may write them.

use memchr::{memchr, memmem};

use super::Malformed;

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its id.
    pub id: Option<&'a [u8]>,
    /// Its name; `message` if it has none.
    pub name: Option<&'a [u8]>,
    /// Its data. What the harness publishes, and what a gap says, is one line.
    pub data: &'a [u8],
}

/// Reads an event stream piece by piece.
#[derive(Debug, Default)]
pub struct EventStream {
    /// The beginning of a block whose end has not arrived.
    partial: Vec<u8>,
}

impl EventStream {
    /// Passes each event that has become complete to `take`.
    ///
    /// # Errors
    ///
    /// A line is not of an event stream, or of none that a server under test should send; or `take`
    /// has failed.
    pub fn read<E: From<Malformed>>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.partial.is_empty() {
            let is_cut_at_end = self.partial.ends_with(b"\n") && bytes.starts_with(b"\n");
            let end = if is_cut_at_end {
                Some(1)
            } else {
                memmem::find(bytes, b"\n\n").map(|at| at + 2)
            };
            let (of_partial, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.partial.extend_from_slice(of_partial);
            if end.is_none() {
                return Ok(());
            }
            if let Some((Some(block), _)) = next_block(&self.partial)? {
                take(block)?;
            }
            self.partial.clear();
            bytes = rest;
        }
        while let Some((block, length)) = next_block(bytes)? {
            if let Some(block) = block {
                take(block)?;
            }
            bytes = &bytes[length..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

/// The first block and its length, if all of it is there. Comments and a `retry` alone are no event.
fn next_block(bytes: &[u8]) -> Result<Option<(Option<Block<'_>>, usize)>, Malformed> {
    let mut block = Block::default();
    let mut data = None;
    let mut begin = 0;
    while let Some(length) = memchr(b'\n', &bytes[begin..]) {
        let line = &bytes[begin..begin + length];
        begin += length + 1;
        if line.is_empty() {
            let event = data.map(|data| Block { data, ..block });
            return Ok(Some((event, begin)));
        }
        let malformed = || Malformed::new("a line of an event stream", line);
        let colon = memchr(b':', line).ok_or_else(malformed)?;
        let value = &line[colon + 1..];
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let is_second = match &line[..colon] {
            b"data" => data.replace(value).is_some(),
            b"id" => block.id.replace(value).is_some(),
            b"event" => block.name.replace(value).is_some(),
            b"" | b"retry" => false,
            _ => return Err(malformed()),
        };
        if is_second || value.ends_with(b"\r") {
            return Err(malformed());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Event = (Option<String>, Option<String>, String);

    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, Malformed> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut stream = EventStream::default();
        let mut events = Vec::new();
        for piece in pieces {
            stream.read(piece, |block| {
                events.push((block.id.map(text), block.name.map(text), text(block.data)));
                Ok::<_, Malformed>(())
            })?;
        }
        Ok(events)
    }

    const STREAM: &[u8] = b": hello\nretry: 5\n\nid: 1\ndata: a b\n\nid:2\ndata:\n\n:\n\
        event: gap\ndata: {\"a\": 1}\n\n\ndata: half";

    #[test]
    fn a_stream_may_be_split_anywhere() {
        let some = |text: &str| Some(text.to_owned());
        let expected = Ok(vec![
            (some("1"), None, "a b".to_owned()),
            (some("2"), None, String::new()),
            (None, some("gap"), "{\"a\": 1}".to_owned()),
        ]);
        for split in 0..=STREAM.len() {
            let (left, right) = STREAM.split_at(split);
            assert_eq!(read(&[left, right]), expected, "split at {split}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn what_no_server_should_send_is_noticed() {
        for text in [
            "data\n\n",
            "dat: a\n\n",
            "data: a\ndata: b\n\n",
            "id: 1\nid: 2\n\n",
            "data: a\r\n\r\n",
            "0\r\n\r\n",
        ] {
            assert!(read(&[text.as_bytes()]).is_err(), "{text:?}");
        }
    }
}
