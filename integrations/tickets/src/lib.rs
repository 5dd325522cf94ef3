//! Tickets for a browser's `EventSource`, which cannot send headers: signed, short-lived, for one
//! client and its topics, and usable once.
//!
//! The page asks for a ticket with what it has, a bearer token say, and opens the stream with it:
//! `new EventSource('/events/prices?ticket=' + ticket)`. What stands in an address is seen by proxies
//! and logs; a ticket that was seen has been used, and is worth nothing.
//!
//! ```
//! use fanfare_core::{Broadcaster, Topics};
//! use fanfare_tickets::{take_from_target, SigningKey, Tickets};
//!
//! # futures_lite::future::block_on(async {
//! let hub = Broadcaster::builder().build();
//! let tickets = Tickets::new(SigningKey::random()?);
//!
//! // POST /tickets, by a client that you have authenticated as Ada: what may she follow?
//! let ticket = tickets.issue("ada", ["prices", "inbox.ada"])?;
//!
//! // GET /events/prices?ticket=...: first the ticket goes out of the address,
//! let target = format!("/events/prices?ticket={}", ticket.as_str());
//! let taken = take_from_target(&target);
//! assert_eq!(taken.rest, "/events/prices");
//!
//! // then it is redeemed for the topics that are asked for,
//! let asked = Topics::from("prices");
//! let presented = taken.ticket?.expect("there is one");
//! let grant = tickets.redeem(presented.as_str(), &asked).await?;
//! let stream = hub.subscribe(grant.topics).key(grant.key);
//!
//! // which nobody can do again.
//! assert!(tickets.redeem(presented.as_str(), &asked).await.is_err());
//! # drop(stream);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).expect("it runs");
//! ```
//!
//! - [`SigningKey`]: a secret of 32 bytes or more, for HMAC-SHA-256.
//! - [`Tickets`]: [issues](Tickets::issue) a [`Ticket`], and [redeems](Tickets::redeem) it for a [`Grant`].
//! - [`Uses`]: what remembers which have been used: [`MemoryUses`] in one process, `RedisUses` of
//!   `fanfare-redis` (its feature `tickets`) in many.
//! - [`Refused`]: why not, in a variant of its own for the log, in one and the same answer for the client.
//! - [`take_from_target`], [`take_from_query`] and, with the feature `http`, `take_from_uri`: the ticket
//!   out of the address. How that is done in each framework stands in the crate's README.
//! - [`same`]: compares a bearer token in constant time.
//!
//! # Topics
//!
//! A ticket is issued for a selection of topics, and may be redeemed for any part of it: who may follow
//! `orders.>` may ask for `orders.eu.*`, and who may follow `all` for anything. Whatever it is asked
//! for, it is used then. [`Tickets::redeem_all`] is for routes on which the ticket alone says what.
//!
//! # Coming back
//!
//! An `EventSource` that reconnects by itself sends the same ticket again, and is refused. So the page
//! closes it when it fails, fetches another ticket, and says itself which event it saw last:
//!
//! ```js
//! async function follow(topics, lastEventId = '') {
//!     const again = () => setTimeout(follow, 1000 + 2000 * Math.random(), topics, lastEventId);
//!     const answer = await fetch('/tickets', { method: 'POST', headers }).catch(() => null);
//!     if (!answer?.ok) return again();
//!     const { ticket } = await answer.json();
//!     const source = new EventSource(`/events/${topics}?${new URLSearchParams({ ticket, lastEventId })}`);
//!     source.onmessage = (event) => { lastEventId = event.lastEventId; show(event); };
//!     source.onerror = () => { source.close(); again(); };
//! }
//! ```
//!
//! # When the memory of uses is away
//!
//! Then no ticket is let through: [`Refused::UsesUnavailable`]. It is the same when it is full, and when
//! the clock has gone back behind what has been forgotten. A ticket that was refused for this reason
//! may count as used.
//!
//! # Keys and their rotation
//!
//! The first key signs, all are taken; a ticket names its key, by four bytes that are made of it. To
//! replace a key where several processes take each other's tickets, start them
//!
//! 1. with the old key, and the new one in [`also_take`](Builder::also_take);
//! 2. with the new key, and the old one in `also_take`;
//! 3. a ticket's lifetime later or more, without the old one.
//!
//! Who must revoke a key at once goes to the third step: all tickets signed with it are refused.
//!
//! # What a ticket holds
//!
//! A version, the key's name, 128 bits of chance, when it was issued and when it expires, the client's
//! key, the topics, and a signature of all of them, in base64url without padding. It is signed, not
//! encrypted: no secrets into client keys and topics. Clocks of processes may differ by
//! [`clock_skew`](Builder::clock_skew).
//!
//! # Features
//!
//! | name | what | default |
//! |---|---|---|
//! | `http` | `take_from_uri`, for axum, hyper, warp and all that is built on `http` 1 | no |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

// In the order in which a ticket travels.
mod key;
mod ticket;
mod tickets;
mod take;
mod uses;
mod refused;
mod same;

pub use key::{ShortKey, SigningKey};
pub use refused::Refused;
pub use same::same;
#[cfg(feature = "http")]
pub use take::take_from_uri;
pub use take::{take_from_query, take_from_target, Taken};
pub use ticket::Ticket;
pub use tickets::{Builder, Grant, IssueError, Tickets};
pub use uses::{Claim, MemoryUses, Uses, UsesUnavailable};
