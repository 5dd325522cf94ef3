//! Short ways to take the server's answers apart.

use fanfare_core::EventId;
use redis::Value;

use crate::fault::Fault;

pub(crate) fn list(value: Value, what: &str) -> Result<Vec<Value>, Fault> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(Fault::unexpected(what)),
    }
}

pub(crate) fn bytes(value: Value, what: &str) -> Result<Vec<u8>, Fault> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(Fault::unexpected(what)),
    }
}

pub(crate) fn text(value: Value, what: &str) -> Result<String, Fault> {
    String::from_utf8(bytes(value, what)?).map_err(|_| Fault::unexpected(what))
}

pub(crate) fn number(value: &Value, what: &str) -> Result<u64, Fault> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|d| d.parse().ok()),
        _ => None,
    };
    number.ok_or_else(|| Fault::unexpected(what))
}

pub(crate) fn id(value: Value, what: &str) -> Result<EventId, Fault> {
    text(value, what)?
        .parse()
        .map_err(|_| Fault::unexpected(what))
}

/// An id, or nothing.
pub(crate) fn maybe_id(value: Value, what: &str) -> Result<Option<EventId>, Fault> {
    let text = text(value, what)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Fault::unexpected(what))
}

/// The next of an answer's parts.
pub(crate) fn next(parts: &mut impl Iterator<Item = Value>, what: &str) -> Result<Value, Fault> {
    parts.next().ok_or_else(|| Fault::unexpected(what))
}
