//! The frames that the server's end of a `WebSocket` sends.

use std::io::Cursor;

use tungstenite::handshake::{client::generate_key, derive_accept_key};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::FrameHeader;

use super::Malformed;

/// A handshake: what the client sends, and what must come back.
#[derive(Debug)]
pub struct Handshake {
    /// `Sec-WebSocket-Key`.
    pub key: String,
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
}

impl Handshake {
    /// Of a new random key.
    #[must_use]
    pub fn new() -> Self {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        Self { key, accept }
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the messages of a WebSocket piece by piece.
#[derive(Debug, Default)]
pub struct Messages {
    /// What has arrived of a frame that is not complete.
    partial: Vec<u8>,
}

impl Messages {
    /// Passes each text message that has become complete to `take`.
    ///
    /// # Errors
    ///
    /// A frame is broken, or is of a kind that no server under test should send: binary, in several
    /// frames, masked, or a close. Or `take` has failed.
    pub fn read<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.partial.extend_from_slice(bytes);
        let mut read = 0;
        while let Some((header, begin, end)) = next_frame(&self.partial[read..])? {
            let frame = &self.partial[read..read + end];
            match header.opcode {
                OpCode::Data(Data::Text) if header.is_final && header.mask.is_none() => {
                    take(&frame[begin..])?;
                }
                // Nobody pings within the time of a scenario; if a server does, no answer is due
                // before that.
                OpCode::Control(tungstenite::protocol::frame::coding::Control::Ping) => {}
                _ => return Err(Malformed::new("a WebSocket's frame", frame).into()),
            }
            read += end;
        }
        self.partial.drain(..read);
        Ok(())
    }
}

/// The header of the first frame, where its payload begins and where it ends, if all of it is there.
fn next_frame(bytes: &[u8]) -> Result<Option<(FrameHeader, usize, usize)>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let malformed = || Malformed::new("a WebSocket's frame", bytes);
    let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| malformed())? else {
        return Ok(None);
    };
    let begin = usize::try_from(cursor.position()).map_err(|_| malformed())?;
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let end = begin.checked_add(length).ok_or_else(malformed)?;
    Ok((end <= bytes.len()).then_some((header, begin, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_may_be_split_anywhere() {
        let mut bytes = b"\x81\x03abc".to_vec();
        bytes.extend_from_slice(&[0x81, 126, 1, 0]);
        bytes.extend_from_slice(&[b'x'; 256]);
        bytes.extend_from_slice(b"\x89\x00\x81\x00");
        let expected = [b"abc".to_vec(), vec![b'x'; 256], vec![]];
        for split in 0..=bytes.len() {
            let mut messages = Messages::default();
            let mut read = Vec::new();
            for piece in [&bytes[..split], &bytes[split..]] {
                let outcome = messages.read(piece, |message| {
                    read.push(message.to_vec());
                    Ok::<_, Malformed>(())
                });
                assert_eq!(outcome, Ok(()));
            }
            assert_eq!(read, expected, "split at {split}");
        }
    }

    #[test]
    fn other_frames_are_refused() {
        for frame in [
            &b"\x82\x01a"[..],
            b"\x01\x01a",
            b"\x88\x00",
            b"\x81\x81abcda",
        ] {
            let outcome = Messages::default().read(frame, |_| Ok::<_, Malformed>(()));
            assert!(outcome.is_err(), "{frame:?}");
        }
    }
}
