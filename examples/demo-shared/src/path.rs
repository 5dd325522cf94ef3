//! The path's last segment, where the demo's addresses name topics.
//!
//! For frameworks that leave a path as it came, and for those whose own reading replaces what is
//! not UTF-8, so that an event would go to a topic that nobody named.

use percent_encoding::percent_decode_str;

use crate::Reply;

/// A path's segment without its percent-encoding.
///
/// # Errors
///
/// A 400 if it is not UTF-8.
///
/// ```
/// assert_eq!(demo_shared::path::decode("c.%3E").as_deref(), Ok("c.>"));
/// assert_eq!(demo_shared::path::decode("%ff").map_err(|reply| reply.status), Err(400));
/// ```
pub fn decode(segment: &str) -> Result<String, Reply> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Reply::path_not_utf8()),
    }
}

/// As [`decode`], of what follows the last slash of a whole path.
///
/// # Errors
///
/// A 400 if it is not UTF-8.
///
/// ```
/// assert_eq!(demo_shared::path::last_segment("/events/a%2Fb").as_deref(), Ok("a/b"));
/// ```
pub fn last_segment(path: &str) -> Result<String, Reply> {
    decode(path.rsplit('/').next().unwrap_or_default())
}
