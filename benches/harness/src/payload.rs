//! [`Payload`]: what the load generator puts into an event, and recognises when it comes back.

/// The data of one event: `TOPIC NUMBER DUE PADDING xxx`, padded to the size that the scenario asks
/// for. `PADDING` counts the `x`, so that one that was cut off is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which topic it was published in.
    pub topic: u32,
    /// Which event of its topic it is, from 1.
    pub number: u64,
    /// When it was due, in nanoseconds of [`clock::now`](crate::clock::now).
    pub due: u64,
}

impl Payload {
    /// Appends the payload to `to`, padded to `bytes`; it is longer if the numbers alone are.
    pub fn write(&self, bytes: usize, to: &mut Vec<u8>) {
        let begin = to.len();
        for number in [u64::from(self.topic), self.number, self.due] {
            write_decimal(number, to);
            to.push(b' ');
        }
        let numbers = to.len() - begin + PADDING_DIGITS + 1;
        let padding = bytes.saturating_sub(numbers);
        to.extend_from_slice(format!("{padding:0PADDING_DIGITS$} ").as_bytes());
        to.resize(to.len() + padding, b'x');
    }

    /// Reads back what [`write`](Self::write) wrote; `None` if it did not.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (topic, rest) = take_decimal(data)?;
        let (number, rest) = take_decimal(rest)?;
        let (due, rest) = take_decimal(rest)?;
        let (length, padding) = take_decimal(rest)?;
        let is_padding = padding.iter().all(|&byte| byte == b'x');
        let is_whole = is_padding && padding.len() as u64 == length;
        is_whole.then_some(Self {
            topic: u32::try_from(topic).ok()?,
            number,
            due,
        })
    }
}

/// How many digits the length of the padding has, whatever it is: enough for any event.
const PADDING_DIGITS: usize = 7;

fn write_decimal(mut number: u64, to: &mut Vec<u8>) {
    let begin = to.len();
    loop {
        to.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to[begin..].reverse();
}

/// The number before the next space, and what follows the space.
fn take_decimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|&byte| byte == b' ')?;
    Some((decimal(&text[..end])?, &text[end + 1..]))
}

/// A number in decimal digits and nothing else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: Payload = Payload {
        topic: 0,
        number: 1_234,
        due: u64::MAX,
    };

    #[test]
    fn what_was_written_is_read() {
        let mut text = Vec::new();
        PAYLOAD.write(100, &mut text);
        assert_eq!(text.len(), 100);
        assert_eq!(Payload::parse(&text), Some(PAYLOAD));
    }

    #[test]
    fn small_sizes_hold_the_numbers_all_the_same() {
        let mut text = Vec::new();
        PAYLOAD.write(1, &mut text);
        assert_eq!(text, b"0 1234 18446744073709551615 0000000 ");
        assert_eq!(Payload::parse(&text), Some(PAYLOAD));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            &b""[..],
            b"1 2 3 1",
            b"1 2 1 x",
            b"1  3 1 x",
            b"-1 2 3 1 x",
            b"1 2 3 3 xyx",
            b"1 2 99999999999999999999 1 x",
            b"4294967296 2 3 1 x",
            // Cut off, and too long.
            b"1 2 3 3 xx",
            b"1 2 3 3 ",
            b"1 2 3 3 xxxx",
        ] {
            assert_eq!(Payload::parse(text), None);
        }
    }
}
