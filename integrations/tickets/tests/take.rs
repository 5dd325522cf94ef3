//! A ticket leaves the address, and nothing else does.

use fanfare_tickets::{take_from_query, take_from_target, Refused, Taken};
use proptest::collection::vec;
use proptest::prelude::*;

/// What is found: a ticket's text, none, or several.
#[track_caller]
fn check(taken: Taken<'_>, ticket: &str, rest: &str) {
    let found = match taken.ticket {
        Ok(Some(ticket)) => ticket.as_str().to_owned(),
        Ok(None) => "none".to_owned(),
        Err(Refused::Several) => "several".to_owned(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!((&*found, &*taken.rest), (ticket, rest));
}

#[test]
fn a_ticket_is_taken_out_of_a_target() {
    for (target, ticket, rest) in [
        ("/events", "none", "/events"),
        ("/events?", "none", "/events?"),
        ("/events?a=1&&b", "none", "/events?a=1&&b"),
        ("/events?ticket=x", "x", "/events"),
        ("/events?ticket=x&a=1", "x", "/events?a=1"),
        ("/events?b=2&ticket=x&a=1", "x", "/events?b=2&a=1"),
        (
            "/events?a=%41+%2B&ticket=x&=&c",
            "x",
            "/events?a=%41+%2B&=&c",
        ),
        ("/events?a=?&ticket=x", "x", "/events?a=?"),
        ("/ticket=y?ticket=x", "x", "/ticket=y"),
        (
            "http://a.example/events?ticket=x",
            "x",
            "http://a.example/events",
        ),
        // Names and values may be encoded.
        ("/events?%74icket=%78%2d", "x-", "/events"),
        ("/events?ti%63ke%54=x", "none", "/events?ti%63ke%54=x"),
        ("/events?ticket=a=b", "a=b", "/events"),
        ("/events?ticket=%ff%", "\u{fffd}%", "/events"),
        // What is empty is none.
        ("/events?ticket", "none", "/events"),
        ("/events?ticket=", "none", "/events"),
        ("/events?ticket=&a=1", "none", "/events?a=1"),
        ("/events?ticket=&ticket=x", "x", "/events"),
        ("/events?ticket=x&a=1&ticket=", "x", "/events?a=1"),
        // Which of several is meant nobody knows; none stays.
        ("/events?ticket=x&a=1&ticket=y", "several", "/events?a=1"),
        ("/events?ticket=x&ticket=x", "several", "/events"),
        ("/events?ticket=x&%74icket=y&ticket=z", "several", "/events"),
        // Other names are others.
        (
            "/events?tickets=x&Ticket=y&xticket=z",
            "none",
            "/events?tickets=x&Ticket=y&xticket=z",
        ),
        ("", "none", ""),
        ("?ticket=x", "x", ""),
    ] {
        check(take_from_target(target), ticket, rest);
    }
}

#[test]
fn a_ticket_is_taken_out_of_a_query() {
    for (query, ticket, rest) in [
        ("", "none", ""),
        ("ticket=x", "x", ""),
        ("a=1&ticket=x&b", "x", "a=1&b"),
        ("a=1?ticket=y&ticket=x", "x", "a=1?ticket=y"),
    ] {
        check(take_from_query(query), ticket, rest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None, // The failing query is printed; a test run leaves no files.
        ..ProptestConfig::default()
    })]

    /// Whatever stands around it is left byte for byte.
    #[test]
    fn the_rest_is_kept(before in vec("[a-s%=+.?]{0,8}", 0..5), after in vec("[a-s%=+.?]{0,8}", 0..5)) {
        let others: Vec<String> = before.iter().chain(&after).cloned().collect();
        let pieces: Vec<String> = [before, vec!["ticket=x".to_owned()], after].concat();
        let query = pieces.join("&");
        let taken = take_from_query(&query);
        prop_assert_eq!(&*taken.rest, others.join("&"));
        let ticket = taken.ticket.expect("not several").expect("there is one");
        prop_assert_eq!(ticket.as_str(), "x");
    }

    /// What was taken out is not there any more, whatever the query is.
    #[test]
    fn none_is_left(query in "([ticket&=%0-9a-f]|ticket=|%74){0,30}") {
        let taken = take_from_query(&query);
        let again = take_from_query(&taken.rest);
        prop_assert!(matches!(again.ticket, Ok(None)), "{:?}", again);
        prop_assert_eq!(&again.rest, &taken.rest);
    }
}

#[cfg(feature = "http")]
#[test]
fn a_ticket_is_taken_out_of_a_uri() {
    for (uri, expect, rest) in [
        ("/events?ticket=x", Some("x"), "/events"),
        ("/events?b&ticket=x&a=1", Some("x"), "/events?b&a=1"),
        ("/events?a=1", None, "/events?a=1"),
        (
            "http://a.example:1/events?ticket=x",
            Some("x"),
            "http://a.example:1/events",
        ),
        ("http://a.example?ticket=x", Some("x"), "http://a.example/"),
        ("a.example:443", None, "a.example:443"),
        ("*", None, "*"),
    ] {
        let mut found: http::Uri = uri.parse().expect(uri);
        let ticket = fanfare_tickets::take_from_uri(&mut found).expect("not several");
        assert_eq!(ticket.as_ref().map(fanfare_tickets::Ticket::as_str), expect);
        assert_eq!(found, rest, "of {uri}");
    }
    let mut uri = http::Uri::from_static("/events?ticket=x&a=1&ticket=y");
    assert!(fanfare_tickets::take_from_uri(&mut uri).is_err());
    assert_eq!(uri, "/events?a=1");
}
