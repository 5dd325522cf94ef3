//! [`same`]: whether a secret is the one expected.

use subtle::ConstantTimeEq as _;

/// Whether two secrets are the same, in a time that tells nothing of where they differ: for a bearer
/// token, say. It does tell whether they are equally long.
///
/// ```
/// use fanfare_tickets::same;
///
/// let header = "Bearer s3cret";
/// let is_allowed = header.strip_prefix("Bearer ").is_some_and(|token| same(token, "s3cret"));
/// assert!(is_allowed);
/// ```
#[must_use]
pub fn same(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> bool {
    a.as_ref().ct_eq(b.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_is_the_same() {
        for (a, b, expect) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "", false),
            ("ab", "a", false),
            ("größe", "größe", true),
        ] {
            assert_eq!(same(a, b), expect, "{a:?} {b:?}");
        }
    }
}
