//! The records of an entry of the log, which are one value: topic and block of each, as `MessagePack`.

use rmp::{decode, encode};

use crate::fault::Fault;

/// A record as it is packed: its topic and its block.
type Packed<'a> = (&'a [u8], &'a [u8]);

/// Packs topics and blocks.
pub(crate) fn pack<'a>(
    records: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, Fault> {
    // Nothing fails that is written to memory.
    let failed = |_| Fault::unexpected("room");
    let mut packed = encode::ByteBuf::new();
    encode::write_array_len(&mut packed, short(2 * records.len())).map_err(failed)?;
    for (topic, block) in records {
        for text in [topic.as_bytes(), block] {
            encode::write_str_len(&mut packed, short(text.len())).map_err(failed)?;
            packed.as_mut_vec().extend_from_slice(text);
        }
    }
    Ok(packed.into_vec())
}

/// What a Redis value can hold is shorter than that.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The topics and blocks of an entry.
pub(crate) fn unpack(mut packed: &[u8]) -> Result<Vec<Packed<'_>>, Fault> {
    let unexpected = |_| Fault::unexpected("records");
    let length = decode::read_array_len(&mut packed).map_err(unexpected)?;
    let mut text = || {
        let length = decode::read_str_len(&mut packed).map_err(unexpected)?;
        let at = usize::try_from(length).unwrap_or(usize::MAX);
        let split = packed.split_at_checked(at);
        let (text, rest) = split.ok_or_else(|| Fault::unexpected("records"))?;
        packed = rest;
        Ok::<_, Fault>(text)
    };
    (0..length / 2).map(|_| Ok((text()?, text()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let long = vec![b'x'; 70_000];
        let records = [("a", &b"data: 1\n\n"[..]), ("b.c", &long), ("a", b"")];
        let packed = pack(records.into_iter()).expect("packs");
        let found = unpack(&packed).expect("unpacks");
        let expect = records.map(|(topic, block)| (topic.as_bytes(), block));
        assert_eq!(found, expect);
        for cut in 0..20 {
            assert!(unpack(&packed[..cut]).is_err(), "{cut} bytes");
        }
    }
}
