//! Ids: what is read is what is written, and nothing else is an id.

use fanfare_core::{EventId, LastEventId};

/// Text that may be an id; its first 32 bytes are also four numbers that make two.
pub(crate) fn check(input: &[u8]) {
    what_is_read_is_what_is_written(&String::from_utf8_lossy(input));
    a_header_is_an_id_if_its_text_is_one(input);
    if let Some((numbers, _)) = input.split_first_chunk::<32>() {
        let number = |at: usize| {
            let bytes = numbers[at..at + 8].try_into();
            bytes.map_or(0, u64::from_be_bytes)
        };
        what_is_written_is_read([number(0), number(8)], [number(16), number(24)]);
    }
}

fn what_is_read_is_what_is_written(text: &str) {
    match text.parse::<EventId>() {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert!(text.len() <= "18446744073709551615-18446744073709551615".len());
        }
        Err(_) => assert!(!is_id(text), "{text:?} is one"),
    }
}

fn what_is_written_is_read(first: [u64; 2], second: [u64; 2]) {
    let id = |[major, minor]: [u64; 2]| EventId::new(major, minor);
    for numbers in [first, second] {
        assert_eq!(id(numbers).to_string().parse(), Ok(id(numbers)));
        assert_eq!(LastEventId::from(id(numbers)).id(), Some(id(numbers)));
    }
    assert_eq!(id(first).cmp(&id(second)), first.cmp(&second));
}

fn a_header_is_an_id_if_its_text_is_one(header: &[u8]) {
    let text = std::str::from_utf8(header).ok();
    let id = text.and_then(|text| text.parse().ok());
    assert_eq!(LastEventId::from_request(Some(header), None).id(), id);
}

/// Two numbers as Rust writes them, with a dash between them.
fn is_id(text: &str) -> bool {
    let is_number = |part: &str| {
        let number = part.parse::<u64>();
        number.is_ok_and(|number| number.to_string() == part)
    };
    let parts: Vec<_> = text.split('-').collect();
    parts.len() == 2 && parts.into_iter().all(is_number)
}
