//! The query's parameters.
//!
//! Every framework reads queries, and each in its own way: of a key that stands twice, one takes the
//! first value and another refuses both. The demos must not differ, so this reads for all of them.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::Reply;

/// The parameters that a route knows; others are no matter.
#[derive(Debug)]
pub(crate) struct Query(BTreeMap<&'static str, Vec<u8>>);

impl Query {
    /// Reads `a=1&b=2`, percent-encoded and with `+` for a space. A key without `=` has an empty
    /// value.
    ///
    /// Fails with a 400 if one of the keys stands there twice: which one was meant?
    pub(crate) fn parse(text: &str, keys: &[&'static str]) -> Result<Self, Reply> {
        let mut values = BTreeMap::new();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(key);
            let Some(&key) = keys.iter().find(|known| known.as_bytes() == key) else {
                continue;
            };
            if values.insert(key, decode(value)).is_some() {
                let words = format!("`{key}` stands twice in the query");
                return Err(Reply::error(400, words));
            }
        }
        Ok(Self(values))
    }

    /// A value as it is, which need not be text.
    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// A value as text. Fails with a 400 if it is not UTF-8.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Reply> {
        let text = self.bytes(key).map(std::str::from_utf8).transpose();
        text.map_err(|_| Reply::error(400, "a query is UTF-8"))
    }
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded() {
        let text = "a=b+c%2B%20d&empty=&bare&%6Bey=x=y&&other=1&other=2&bytes=%ff";
        let query = Query::parse(text, &["a", "empty", "bare", "key", "absent", "bytes"]);
        let query = query.expect("no key that is known stands twice");
        for (key, value) in [
            ("a", Some("b c+ d")),
            ("empty", Some("")),
            ("bare", Some("")),
            ("key", Some("x=y")),
            ("absent", None),
            ("other", None),
        ] {
            assert_eq!(query.text(key), Ok(value), "{key}");
        }
        assert_eq!(query.bytes("bytes"), Some(&b"\xff"[..]));
        assert_eq!(query.text("bytes").map_err(|reply| reply.status), Err(400));
    }

    #[test]
    fn a_key_stands_there_once() {
        let twice = Query::parse("a=1&%61=1", &["a"]);
        assert_eq!(twice.map(drop).map_err(|reply| reply.status), Err(400));
    }
}
