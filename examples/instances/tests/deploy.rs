//! Both instances are deployed, one after the other, while clients follow through nginx: each of them
//! sees every event once and in order.

#[path = "../src/stack.rs"]
mod stack;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_contract::{
    free_port, wait_for, EndOnDrop, Events, Log, Outcome, Published, Request, Roaming, DEADLINE,
};
use stack::{Ports, Stack};

const CLIENTS: usize = 20;
const DEPLOYMENTS: usize = 4;

fn start() -> io::Result<(Stack, SocketAddr)> {
    let ports = Ports {
        nginx: free_port(),
        instances: [free_port(), free_port()],
        redis: free_port(),
    };
    let stack = Stack::start(Path::new(env!("CARGO_BIN_EXE_instances")), ports)?;
    Ok((stack, SocketAddr::from(([127, 0, 0, 1], ports.nginx))))
}

#[test]
fn deploying_one_after_the_other_loses_nothing() -> io::Result<()> {
    let (mut stack, nginx) = start()?;
    let first = Published::publish(nginx, "news", 0);
    let Outcome::Stored(start) = first.outcome else {
        panic!("{first:?}");
    };
    let mut clients: Vec<Roaming> = (0..CLIENTS)
        .map(|_| Roaming::new("/events", &start.to_string()))
        .collect();
    let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let published = thread::scope(|scope| {
        let over = EndOnDrop::new(&is_over);
        let publisher = scope.spawn(|| {
            let numbers = (1..).take_while(|_| !is_over.load(Ordering::Relaxed));
            let published = numbers.map(|number| {
                // No more than the history keeps.
                thread::sleep(Duration::from_millis(2));
                Published::publish(nginx, "news", number)
            });
            published.collect::<Vec<_>>()
        });
        let reader = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut have_news = true;
                for client in &mut clients {
                    let has_stream = client.has_stream() || client.go_to(nginx);
                    have_news &= has_stream && client.read(Duration::from_millis(50));
                }
                rounds.fetch_add(usize::from(have_news), Ordering::Relaxed);
            }
        });
        let deployed = (0..DEPLOYMENTS).try_for_each(|number| {
            // Everybody is there, and is sent events.
            let before = rounds.load(Ordering::Relaxed);
            wait_for("everybody", || {
                (rounds.load(Ordering::Relaxed) > before + 1).then_some(())
            });
            stack.deploy(number % 2)
        });
        drop(over);
        reader.join().expect("it reads");
        deployed.map(|()| publisher.join().expect("it publishes"))
    })?;

    let mut log = Log::default();
    for published in &published {
        if let Outcome::Stored(place) = published.outcome {
            log.note(place, published.number);
        }
    }
    let last = log.places().last().expect("events");
    let until = Instant::now() + DEADLINE;
    for client in &mut clients {
        while client.place() < last {
            assert!(Instant::now() < until, "a client is at {}", client.place());
            if client.has_stream() || client.go_to(nginx) {
                client.read(Duration::from_millis(20));
            }
        }
        // What was on its way when an instance closed the connection may have been stored.
        log.note_seen_by(client);
        assert!(client.connections > 1, "nobody had to change over");
    }
    let numbers = log.numbers().count();
    for client in &clients {
        let account = log.account(client, |_| true).map_err(io::Error::other)?;
        assert_eq!((account.events, account.gaps), (numbers, 0));
    }
    println!(
        "{numbers} events of {} published, over {DEPLOYMENTS} deployments",
        published.len()
    );
    Ok(())
}

#[test]
fn a_stream_is_not_buffered_and_says_where_it_comes_from() -> io::Result<()> {
    let (_stack, nginx) = start()?;
    let response = Request::get("/events").send(nginx);
    let cookie = response.head.get("set-cookie").unwrap_or_default();
    assert!(
        cookie.starts_with("instance=one") || cookie.starts_with("instance=two"),
        "{cookie}"
    );
    let mut events = Events::of(response).opened();
    let published = Published::publish(nginx, "news", 1);
    assert!(matches!(published.outcome, Outcome::Stored(_)));
    // Nothing comes behind it that could push it out of a buffer.
    assert_eq!(events.event().data, "1");
    Ok(())
}
