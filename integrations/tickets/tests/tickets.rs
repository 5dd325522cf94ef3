//! What a ticket opens, and what is refused.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use fanfare_core::history::BoxFuture;
use fanfare_core::Topics;
use fanfare_tickets::{
    Claim, Grant, IssueError, MemoryUses, Refused, ShortKey, SigningKey, Ticket, Tickets, Uses,
    UsesUnavailable,
};
use futures_lite::future::block_on;
use proptest::prelude::*;

const SECRET: &str = "a secret that is long enough for it";
const OTHER_SECRET: &str = "and another one, as long as the first";

fn key(secret: &str) -> SigningKey {
    SigningKey::new(secret).expect("it is long enough")
}

/// A clock that stands until it is moved, in milliseconds from an hour in our time.
#[derive(Clone, Debug)]
struct Clock(Arc<AtomicU64>);

const START: u64 = 1_795_000_000_000;

impl Clock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    /// Sets it to so many milliseconds after the beginning.
    fn set(&self, millis: u64) {
        self.0.store(START + millis, Ordering::SeqCst);
    }

    fn tickets(&self) -> Tickets {
        self.builder(SECRET).build()
    }

    fn builder(&self, secret: &str) -> fanfare_tickets::Builder {
        let clock = self.clone();
        let now =
            move || SystemTime::UNIX_EPOCH + Duration::from_millis(clock.0.load(Ordering::SeqCst));
        Tickets::builder(key(secret)).clock(now)
    }
}

fn issue(tickets: &Tickets, topics: &'static str) -> Ticket {
    tickets.issue("ada", topics).expect("there is a ticket")
}

fn redeem(tickets: &Tickets, ticket: &Ticket, topics: &'static str) -> Result<Grant, Refused> {
    block_on(tickets.redeem(ticket.as_str(), &topics.into()))
}

/// That a ticket is refused for one reason and no other.
macro_rules! assert_refused {
    ($result:expr, $reason:pat) => {{
        let result = $result;
        assert!(matches!(result, Err($reason)), "{result:?}");
    }};
}

#[test]
fn a_ticket_opens_what_it_was_issued_for() {
    let tickets = Tickets::new(key(SECRET));
    let ticket = issue(&tickets, "prices,orders.>");
    let grant = redeem(&tickets, &ticket, "orders.eu.*,prices").expect("it is let through");
    assert_eq!(grant.key, "ada");
    assert_eq!(grant.topics, Topics::from("orders.eu.*,prices"));

    let ticket = issue(&tickets, "prices,orders.>");
    let grant = block_on(tickets.redeem_all(ticket.as_str())).expect("it is let through");
    assert_eq!(grant.topics, Topics::from("prices,orders.>"));
}

#[test]
fn clients_have_keys_of_any_text_up_to_a_length() {
    let tickets = Tickets::new(key(SECRET));
    for key in ["", "größe\r\n\0,&?=", &"x".repeat(255)] {
        let ticket = tickets.issue(key, "a").expect("there is a ticket");
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(ticket.as_str().chars().all(is_safe), "{}", ticket.as_str());
        let grant = block_on(tickets.redeem_all(ticket.as_str())).expect("it is let through");
        assert_eq!(grant.key, key);
    }
    let issued = tickets.issue("x".repeat(256), "a");
    assert!(
        matches!(issued, Err(IssueError::KeyTooLong { limit: 255 })),
        "{issued:?}"
    );
}

#[test]
fn topics_that_no_address_could_hold_are_no_ticket() {
    let tickets = Tickets::new(key(SECRET));
    let of = |count: usize| -> Topics {
        let names: Vec<String> = (0..count)
            .map(|i| format!("{i}.{}", "x".repeat(100)))
            .collect();
        names.join(",").parse().expect("they select topics")
    };
    let issued = tickets.issue("ada", of(60));
    assert!(
        matches!(issued, Err(IssueError::TopicsTooLong { .. })),
        "{issued:?}"
    );
    let ticket = tickets.issue("ada", of(20)).expect("there is a ticket");
    let grant = block_on(tickets.redeem_all(ticket.as_str())).expect("it is let through");
    assert_eq!(grant.topics, of(20));
}

#[test]
fn a_ticket_is_used_once() {
    let tickets = Tickets::new(key(SECRET));
    let ticket = issue(&tickets, "a");
    assert!(redeem(&tickets, &ticket, "a").is_ok());
    assert_refused!(redeem(&tickets, &ticket, "a"), Refused::AlreadyUsed);
    assert_refused!(redeem(&tickets.clone(), &ticket, "a"), Refused::AlreadyUsed);
    let another = issue(&tickets, "a");
    assert_ne!(ticket.as_str(), another.as_str());
    assert!(redeem(&tickets, &another, "a").is_ok());
}

#[test]
fn of_64_threads_at_once_one_wins() {
    let tickets = Tickets::new(key(SECRET));
    for _ in 0..20 {
        let ticket = issue(&tickets, "a");
        let barrier = Barrier::new(64);
        let (won, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    barrier.wait();
                    let counter = match redeem(&tickets, &ticket, "a") {
                        Ok(_) => &won,
                        Err(Refused::AlreadyUsed) => &lost,
                        Err(other) => panic!("{other}"),
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((won.into_inner(), lost.into_inner()), (1, 63));
    }
}

#[test]
fn a_ticket_is_for_its_topics_and_stays_unused_for_others() {
    let tickets = Tickets::new(key(SECRET));
    let ticket = issue(&tickets, "sensors.*.temp,prices");
    for topics in [
        "all",
        ">",
        "orders",
        "prices,orders",
        "sensors.>",
        "sensors.7.*",
    ] {
        assert_refused!(redeem(&tickets, &ticket, topics), Refused::OtherTopics);
    }
    assert!(redeem(&tickets, &ticket, "sensors.7.temp").is_ok());
    assert!(redeem(&tickets, &issue(&tickets, "all"), "sensors.>").is_ok());
}

#[test]
fn a_ticket_expires() {
    let clock = Clock::new();
    let tickets = clock
        .builder(SECRET)
        .lifetime(Duration::from_secs(10))
        .build();
    assert_eq!(tickets.lifetime(), Duration::from_secs(10));
    let (first, second) = (issue(&tickets, "a"), issue(&tickets, "a"));
    clock.set(9_999);
    assert!(redeem(&tickets, &first, "a").is_ok());
    clock.set(10_000);
    assert_refused!(redeem(&tickets, &second, "a"), Refused::Expired);
    assert_refused!(redeem(&tickets, &first, "a"), Refused::Expired);
}

#[test]
fn a_ticket_comes_from_no_further_in_the_future_than_clocks_differ() {
    let clock = Clock::new();
    let tickets = clock
        .builder(SECRET)
        .clock_skew(Duration::from_secs(2))
        .build();
    clock.set(10_000);
    let ticket = issue(&tickets, "a");
    clock.set(7_999);
    assert_refused!(redeem(&tickets, &ticket, "a"), Refused::NotYetValid);
    clock.set(8_000);
    assert!(redeem(&tickets, &ticket, "a").is_ok());
}

#[test]
fn a_clock_that_goes_back_makes_no_used_ticket_new() {
    let clock = Clock::new();
    let tickets = clock.tickets();
    let used = issue(&tickets, "a");
    assert!(redeem(&tickets, &used, "a").is_ok());
    clock.set(60_000);
    let later = issue(&tickets, "a");
    // The first is forgotten now.
    assert!(redeem(&tickets, &later, "a").is_ok());
    clock.set(0);
    assert_refused!(redeem(&tickets, &used, "a"), Refused::UsesUnavailable(_));
    clock.set(60_000);
    assert_refused!(redeem(&tickets, &later, "a"), Refused::AlreadyUsed);
    assert!(redeem(&tickets, &issue(&tickets, "a"), "a").is_ok());
}

#[test]
fn a_clock_before_the_epoch_does_no_harm() {
    let before = || SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let tickets = Tickets::builder(key(SECRET)).clock(before).build();
    assert!(redeem(&tickets, &issue(&tickets, "a"), "a").is_ok());
}

#[test]
fn lifetimes_are_bounded() {
    for (lifetime, expect) in [
        (Duration::ZERO, Duration::from_millis(1)),
        (Duration::MAX, Duration::from_secs(86_400)),
    ] {
        let tickets = Tickets::builder(key(SECRET)).lifetime(lifetime).build();
        assert_eq!(tickets.lifetime(), expect);
    }
}

#[test]
fn memory_is_bounded_and_forgets_what_has_expired() {
    let clock = Clock::new();
    let lifetime = Duration::from_secs(10);
    let builder = clock.builder(SECRET).lifetime(lifetime);
    let tickets = builder.uses(MemoryUses::new(2)).build();
    let first: Vec<Ticket> = (0..3).map(|_| issue(&tickets, "a")).collect();
    assert!(redeem(&tickets, &first[0], "a").is_ok());
    assert!(redeem(&tickets, &first[1], "a").is_ok());
    assert_refused!(
        redeem(&tickets, &first[2], "a"),
        Refused::UsesUnavailable(_)
    );
    assert_refused!(redeem(&tickets, &first[0], "a"), Refused::AlreadyUsed);
    clock.set(10_000);
    for _ in 0..2 {
        assert!(redeem(&tickets, &issue(&tickets, "a"), "a").is_ok());
    }
    assert_refused!(
        redeem(&tickets, &issue(&tickets, "a"), "a"),
        Refused::UsesUnavailable(_)
    );
}

#[test]
fn keys_are_rotated() {
    let clock = Clock::new();
    let old = clock.tickets();
    let both = clock.builder(OTHER_SECRET).also_take(key(SECRET)).build();
    let new = clock.builder(OTHER_SECRET).build();

    let from_before = issue(&old, "a");
    assert_refused!(redeem(&new, &from_before, "a"), Refused::UnknownKey);
    assert!(redeem(&both, &from_before, "a").is_ok());

    let from_after = issue(&both, "a");
    assert_refused!(redeem(&old, &from_after, "a"), Refused::UnknownKey);
    assert!(redeem(&new, &from_after, "a").is_ok());
}

#[test]
fn a_short_secret_is_no_key() {
    for length in [0, 1, 31] {
        assert_eq!(SigningKey::new("x".repeat(length)).err(), Some(ShortKey));
    }
    for length in [32, 64, 65, 10_000] {
        assert!(SigningKey::new("x".repeat(length)).is_ok());
    }
    let random = || Tickets::new(SigningKey::random().expect("there is chance"));
    let ticket = issue(&random(), "a");
    assert_refused!(redeem(&random(), &ticket, "a"), Refused::UnknownKey);
}

/// Every bit of the text, and so every bit of what it stands for.
#[test]
fn a_ticket_with_a_flipped_bit_is_refused() {
    let tickets = Tickets::new(key(SECRET));
    // Of each length that the last characters of base64 can stand for.
    for client in ["ada", "adam", "grace"] {
        let ticket = tickets.issue(client, "prices").expect("there is a ticket");
        let text = ticket.as_str().as_bytes();
        let mut reasons = [0; 3];
        for bit in 0..text.len() * 8 {
            let mut flipped = text.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&flipped);
            match block_on(tickets.redeem_all(&flipped)) {
                Err(Refused::Malformed) => reasons[0] += 1,
                Err(Refused::UnknownKey) => reasons[1] += 1,
                Err(Refused::BadSignature) => reasons[2] += 1,
                other => panic!("bit {bit}: {other:?}"),
            }
        }
        assert!(reasons.iter().all(|&count| count > 0), "{reasons:?}");
        assert!(block_on(tickets.redeem_all(ticket.as_str())).is_ok());
    }
}

#[test]
fn a_ticket_that_is_cut_or_longer_is_refused() {
    let tickets = Tickets::new(key(SECRET));
    let ticket = issue(&tickets, "prices");
    let text = ticket.as_str();
    for length in 0..text.len() {
        let result = block_on(tickets.redeem_all(&text[..length]));
        assert!(result.is_err(), "{length} of {} bytes", text.len());
    }
    for more in ["A", "AA", "AAAA", "=", " ", "\n"] {
        let result = block_on(tickets.redeem_all(&format!("{text}{more}")));
        assert!(result.is_err(), "with {more:?}");
    }
    assert!(redeem(&tickets, &ticket, "prices").is_ok());
}

/// A memory that is away.
#[derive(Debug)]
struct Away;

impl Uses for Away {
    fn claim(&self, _: Claim) -> BoxFuture<'_, Result<bool, UsesUnavailable>> {
        Box::pin(async { Err(UsesUnavailable::new("connection refused")) })
    }
}

#[test]
fn nothing_is_let_through_while_uses_are_away() {
    let tickets = Tickets::builder(key(SECRET)).uses(Away).build();
    let refused = redeem(&tickets, &issue(&tickets, "a"), "a").expect_err("it is refused");
    assert_eq!(
        chain(&refused),
        [
            "whether the ticket has been used cannot be told",
            "the memory of used tickets does not answer",
            "connection refused",
        ]
    );
}

fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let first = Some(error);
    std::iter::successors(first, |error| error.source())
        .map(ToString::to_string)
        .collect()
}

/// Every memory is told how long it must remember.
#[derive(Debug)]
struct Told(Clock);

impl Uses for Told {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<bool, UsesUnavailable>> {
        let now = self.0 .0.load(Ordering::SeqCst);
        assert_eq!(claim.now(), Duration::from_millis(now));
        assert_eq!(claim.expires(), Duration::from_millis(START + 10_000));
        // Whenever it is claimed: the clock that it is judged by may be ahead of others.
        assert_eq!(claim.remember_for(), Duration::from_secs(10 + 2 * 3));
        Box::pin(async { Ok(true) })
    }
}

#[test]
fn a_use_is_remembered_for_as_long_as_any_clock_takes_the_ticket() {
    let clock = Clock::new();
    let builder = clock.builder(SECRET).lifetime(Duration::from_secs(10));
    let builder = builder.clock_skew(Duration::from_secs(3));
    let tickets = builder.uses(Told(clock.clone())).build();
    let ticket = issue(&tickets, "a");
    for millis in [0, 9_999] {
        clock.set(millis);
        assert!(redeem(&tickets, &ticket, "a").is_ok());
    }
}

#[test]
fn nothing_that_is_debugged_or_displayed_shows_a_secret() {
    let key = key(SECRET);
    let builder = Tickets::builder(key.clone()).also_take(key.clone());
    let mut shown = format!("{key:?} {builder:?} {ShortKey:?}");
    let tickets = builder.build();
    let ticket = tickets.issue("ada", "prices").expect("there is a ticket");
    let target = format!("/events?ticket={}&a=1", ticket.as_str());
    let taken = fanfare_tickets::take_from_target(&target);
    shown += &format!("{tickets:?} {ticket:?} {ticket:#?} {taken:?}");
    for topics in ["orders", "prices", "prices"] {
        let result = redeem(&tickets, &ticket, topics);
        shown += &format!("{result:?}");
        if let Err(refused) = result {
            shown += &chain(&refused).join(" ");
        }
    }
    assert!(
        shown.contains("OtherTopics") && shown.contains("AlreadyUsed"),
        "{shown}"
    );
    assert!(!shown.contains(ticket.as_str()), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    // Nor a part of them.
    for window in ticket.as_str().as_bytes().windows(12) {
        let part = std::str::from_utf8(window).expect("it is ASCII");
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(!Refused::ANSWER.contains(ticket.as_str()));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None, // The failing text is printed; a test run leaves no files.
        ..ProptestConfig::default()
    })]

    #[test]
    fn garbage_is_refused(text in ".{0,300}") {
        let tickets = Tickets::new(key(SECRET));
        let result = block_on(tickets.redeem_all(&text));
        prop_assert!(matches!(result, Err(Refused::Malformed | Refused::UnknownKey)), "{:?}", result);
    }

    /// Garbage of the right alphabet, and of all sizes.
    #[test]
    fn garbage_in_base64_is_refused(text in "[A-Za-z0-9_-]{0,5000}") {
        let tickets = Tickets::new(key(SECRET));
        prop_assert!(block_on(tickets.redeem_all(&text)).is_err());
    }

    /// Garbage that begins as a ticket of ours does.
    #[test]
    fn what_follows_the_keys_name_is_signed(tail in "[A-Za-z0-9_-]{0,300}") {
        let tickets = Tickets::new(key(SECRET));
        let ticket = issue(&tickets, "a");
        let text = format!("{}{tail}", &ticket.as_str()[..8]);
        let result = block_on(tickets.redeem_all(&text));
        prop_assert!(matches!(result, Err(Refused::Malformed | Refused::BadSignature)), "{:?}", result);
    }

    /// Two tickets, cut anywhere and put together.
    #[test]
    fn halves_of_two_tickets_are_no_ticket(cut in 1..100_usize) {
        let tickets = Tickets::new(key(SECRET));
        let (first, second) = (issue(&tickets, "prices"), issue(&tickets, "orders"));
        let cut = cut.min(first.as_str().len() - 1);
        let text = format!("{}{}", &first.as_str()[..cut], &second.as_str()[cut..]);
        let result = block_on(tickets.redeem_all(&text));
        let is_whole = text == first.as_str() || text == second.as_str();
        prop_assert_eq!(result.is_ok(), is_whole, "{:?}", result);
    }
}
