//! A process that is killed in the middle of its work: with its history in a directory, its clients go
//! on where they were, in a log that goes on where it was.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_contract::{
    each_framework, wait_for, Demo, Log, Outcome, Place, Published, Roaming, DEADLINE,
};
use tempfile::TempDir;

const CLIENTS: usize = 20;
const CRASHES: u32 = 3;
/// How many events are published at most between two of them, by how many publishers.
const EVENTS: u32 = 300;
const PUBLISHERS: u32 = 4;

/// Publishes numbers from `first` on, and kills the demo in the middle of it if that is asked for.
fn publish(demo: &mut Demo, first: u32, crash: bool, witness: &mut Roaming) -> Vec<Published> {
    let (addr, is_over) = (demo.addr(), AtomicBool::new(false));
    let publish = |from: u32| {
        let numbers = (first + from..first + EVENTS).step_by(PUBLISHERS as usize);
        let numbers = numbers.take_while(|_| !is_over.load(Ordering::Relaxed));
        let published = numbers.map(|number| Published::publish(addr, "load", number));
        published.collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|from| scope.spawn(move || publish(from)))
            .collect();
        if crash {
            let before = witness.place();
            wait_for("an event", || {
                witness.read(Duration::from_millis(5));
                (witness.place() > before).then_some(())
            });
            demo.kill_9();
            is_over.store(true, Ordering::Relaxed);
        }
        let published = publishers
            .into_iter()
            .map(|p| p.join().expect("it publishes"));
        published.flatten().collect()
    })
}

fn a_crash_repeats_no_id_and_loses_none(framework: &str) {
    let directory = TempDir::new().expect("a directory");
    let directory = directory.path().display().to_string();
    let flags = [
        "--metrics-every",
        "0",
        "--keep-alive",
        "3600",
        "--data-dir",
        &directory,
    ];
    let mut demo = Demo::start_with_history(framework, &flags);
    let start = demo.publish("load", "start");
    let mut clients: Vec<Roaming> = (0..CLIENTS)
        .map(|_| Roaming::new("/events/load", &start))
        .collect();
    let mut log = Log::default();
    for crash in 0..=CRASHES {
        for client in &mut clients {
            assert!(client.go_to(demo.addr()));
        }
        let is_last = crash == CRASHES;
        for published in publish(&mut demo, crash * EVENTS, !is_last, &mut clients[0]) {
            if let Outcome::Stored(place) = published.outcome {
                log.note(place, published.number);
            }
        }
        if !is_last {
            for client in &mut clients {
                // What came before the end.
                while client.has_stream() {
                    client.read(DEADLINE);
                }
            }
            demo.restart();
        }
    }

    let last = log.places().last().expect("events");
    for client in &mut clients {
        wait_for("the last event", || {
            client.read(Duration::from_millis(5));
            (client.place() >= last).then_some(())
        });
        log.note_seen_by(client);
    }
    let numbers: Vec<u32> = log.numbers().collect();
    let stored: HashSet<u32> = numbers.iter().copied().collect();
    assert_eq!(stored.len(), numbers.len(), "a number was stored twice");
    assert!(log.places().next() > Some(Place::of(&start)));
    for client in &clients {
        let account = log.account(client, |_| true);
        let account = account.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((account.events, account.gaps), (numbers.len(), 0));
    }
    println!(
        "{framework}: {} events over {CRASHES} crashes, seen by {CLIENTS} clients",
        numbers.len()
    );
}

each_framework!(a_crash_repeats_no_id_and_loses_none);
