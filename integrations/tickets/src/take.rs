//! [`take_from_target`] and its like: the ticket out of the address, before anything logs it.

use std::borrow::Cow;

use crate::{Refused, Ticket};

/// What was found in an address.
#[derive(Clone, Debug)]
pub struct Taken<'a> {
    /// The ticket, if there is one.
    ///
    /// [`Refused::Several`]: there is more than one, and none of them is to be believed.
    pub ticket: Result<Option<Ticket>, Refused>,
    /// The address without any ticket. All else is as it was, byte for byte.
    pub rest: Cow<'a, str>,
}

/// Takes the ticket out of a request's target: `/events/a?ticket=...&lastEventId=7-1`.
///
/// Empty tickets, as in `?ticket=&x=1`, are taken out too, and are none.
///
/// ```
/// let taken = fanfare_tickets::take_from_target("/events/a?ticket=secret&lastEventId=7-1");
/// assert_eq!(taken.ticket?.expect("there is one").as_str(), "secret");
/// assert_eq!(taken.rest, "/events/a?lastEventId=7-1");
/// # Ok::<(), fanfare_tickets::Refused>(())
/// ```
#[must_use]
pub fn take_from_target(target: &str) -> Taken<'_> {
    let Some((path, query)) = target.split_once('?') else {
        return Taken {
            ticket: Ok(None),
            rest: target.into(),
        };
    };
    let Taken { ticket, rest } = take_from_query(query);
    let rest = match rest {
        Cow::Borrowed(_) => target.into(),
        Cow::Owned(query) if query.is_empty() => path.into(),
        Cow::Owned(query) => format!("{path}?{query}").into(),
    };
    Taken { ticket, rest }
}

/// [`take_from_target`] for a query alone: what follows the `?`, still encoded.
#[must_use]
pub fn take_from_query(query: &str) -> Taken<'_> {
    let mut tickets = Vec::new();
    let mut others = Vec::new();
    let mut is_changed = false;
    for piece in query.split('&') {
        // A piece is one pair, or none if it is empty. Its name may be encoded, too.
        match form_urlencoded::parse(piece.as_bytes()).next() {
            Some((name, value)) if name == Ticket::PARAMETER => {
                is_changed = true;
                tickets.extend((!value.is_empty()).then(|| Ticket::from(value.into_owned())));
            }
            _ => others.push(piece),
        }
    }
    let last = tickets.pop();
    Taken {
        ticket: if tickets.is_empty() {
            Ok(last)
        } else {
            Err(Refused::Several)
        },
        rest: if is_changed {
            others.join("&").into()
        } else {
            query.into()
        },
    }
}

/// [`take_from_target`] for the URI of a request of `http`, which is left without it.
///
/// ```
/// let mut uri = http::Uri::from_static("/events/a?ticket=secret&lastEventId=7-1");
/// let ticket = fanfare_tickets::take_from_uri(&mut uri)?;
/// assert_eq!(ticket.expect("there is one").as_str(), "secret");
/// assert_eq!(uri, "/events/a?lastEventId=7-1");
/// # Ok::<(), fanfare_tickets::Refused>(())
/// ```
///
/// # Errors
///
/// [`Refused::Several`]: there is more than one; none is left in the URI.
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub fn take_from_uri(uri: &mut http::Uri) -> Result<Option<Ticket>, Refused> {
    let Some(target) = uri.path_and_query() else {
        return Ok(None);
    };
    let Taken { ticket, rest } = take_from_target(target.as_str());
    if rest != target.as_str() {
        // `http://a.example?ticket=...` has no path.
        let target = if rest.is_empty() { "/" } else { &*rest };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        // A part of a URI is one. If it were not: rather `/` than the ticket.
        *uri = http::Uri::from_parts(parts).unwrap_or_default();
    }
    ticket
}
