//! A ticket opens one stream, at whichever process, and none while the server cannot tell.
#![cfg(feature = "tickets")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use fanfare_core::Topics;
use fanfare_redis::{Builder, RedisUses};
use fanfare_tickets::{Grant, Refused, SigningKey, Ticket, Tickets};
use futures_lite::future::block_on;
use support::{wait_for, Server};

const LIFETIME: Duration = Duration::from_secs(3_600);
const BRIEFLY: Duration = Duration::from_millis(300);

/// What another process with the same key has.
fn tickets_at(server: &Server) -> Tickets {
    tickets_of(RedisUses::builder(server.url()))
}

fn tickets_of(builder: Builder) -> Tickets {
    let uses = builder.stream("s").build_uses();
    let key = SigningKey::new("a secret that every process has, of 32 bytes or more");
    Tickets::builder(key.expect("it is long enough"))
        .lifetime(LIFETIME)
        .clock_skew(Duration::ZERO)
        .uses(uses.expect("a URL and a thread"))
        .build()
}

fn issue(tickets: &Tickets) -> Ticket {
    tickets.issue("ada", "a").expect("there is a ticket")
}

fn redeem(tickets: &Tickets, ticket: &Ticket) -> Result<Grant, Refused> {
    block_on(tickets.redeem(ticket.as_str(), &Topics::from("a")))
}

/// Redeems new tickets until the server answers.
fn redeem_surely(tickets: &Tickets) -> Ticket {
    wait_for("a ticket to be let through", || {
        let ticket = issue(tickets);
        redeem(tickets, &ticket).ok().map(|_| ticket)
    })
}

fn is_unavailable(result: &Result<Grant, Refused>) -> bool {
    matches!(result, Err(Refused::UsesUnavailable(_)))
}

fn is_used(result: &Result<Grant, Refused>) -> bool {
    matches!(result, Err(Refused::AlreadyUsed))
}

#[test]
fn a_ticket_is_used_once_at_any_process() {
    let server = Server::start();
    let processes = [0; 4].map(|_| tickets_at(&server));
    processes
        .iter()
        .for_each(|tickets| drop(redeem_surely(tickets)));
    for _ in 0..10 {
        let ticket = issue(&processes[0]);
        let barrier = Barrier::new(64);
        let (won, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for tickets in processes.iter().cycle().take(64) {
                let (ticket, barrier, won, lost) = (&ticket, &barrier, &won, &lost);
                scope.spawn(move || {
                    barrier.wait();
                    let counter = match redeem(tickets, ticket) {
                        Ok(_) => won,
                        Err(Refused::AlreadyUsed) => lost,
                        Err(other) => panic!("{other:?}"),
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((won.into_inner(), lost.into_inner()), (1, 63));
    }
}

#[test]
fn nothing_is_let_through_while_the_server_is_away() {
    let mut server = Server::prepare(&["--save", ""]);
    let tickets = tickets_at(&server);
    let refused = redeem(&tickets, &issue(&tickets));
    assert!(is_unavailable(&refused), "{refused:?}");
    server.run();
    let used = redeem_surely(&tickets);
    assert!(is_used(&redeem(&tickets, &used)));
    server.kill();
    for ticket in [issue(&tickets), used] {
        let refused = redeem(&tickets, &ticket);
        assert!(is_unavailable(&refused), "{refused:?}");
    }
    server.run();
    redeem_surely(&tickets);
}

#[test]
fn nothing_is_let_through_while_the_server_hangs() {
    let server = Server::start();
    let brief = RedisUses::builder(server.url()).response_timeout(BRIEFLY);
    let tickets = tickets_of(brief);
    redeem_surely(&tickets);
    server.freeze();
    let doubtful = issue(&tickets);
    let refused = redeem(&tickets, &doubtful);
    assert!(is_unavailable(&refused), "{refused:?}");
    server.thaw();
    redeem_surely(&tickets);
    // The server may have had the claim, and carried it out when it woke up.
    let other = tickets_at(&server);
    let _ = redeem(&other, &doubtful);
    let refused = redeem(&other, &doubtful);
    assert!(is_used(&refused), "{refused:?}");
}

#[test]
fn nothing_is_let_through_while_the_server_is_full() {
    let server = Server::start();
    let tickets = tickets_at(&server);
    redeem_surely(&tickets);
    server.command_of(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = redeem(&tickets, &issue(&tickets));
    assert!(is_unavailable(&refused), "{refused:?}");
    server.command_of(&["CONFIG", "SET", "maxmemory", "0"]);
    redeem_surely(&tickets);
}

#[test]
fn a_use_is_remembered_for_longer_than_a_claim_can_take() {
    let server = Server::start();
    redeem_surely(&tickets_at(&server));
    let mut connection = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut connection)
        .expect("a list");
    let [key] = &*keys else {
        panic!("{keys:?}");
    };
    assert!(key.starts_with("{s}:used:"), "{key}");
    let left: u64 = redis::cmd("PTTL")
        .arg(key)
        .query(&mut connection)
        .expect("a number");
    let left = Duration::from_millis(left);
    assert!(
        LIFETIME < left && left <= LIFETIME + Duration::from_secs(10),
        "{left:?}"
    );
}

#[test]
fn a_cluster_is_followed_to_the_node_that_has_the_uses() {
    let [empty, _full] = &Server::cluster();
    let processes = [0; 2].map(|_| tickets_at(empty));
    let ticket = redeem_surely(&processes[0]);
    redeem_surely(&processes[1]);
    assert!(is_used(&redeem(&processes[1], &ticket)));
}
