//! What frameworks that leave paths as they came leave to us.

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
        Err(_) => Err(Reply::error(400, "a path is UTF-8")),
    }
}
