//! Many clients at once: they come, some of them die, the server notices and keeps nothing of them;
//! and it ends for all of them together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fanfare_contract::{
    each_framework, make_room_for, wait_for, Demo, End, Events, Item, Request, DEADLINE,
};
use fanfare_core::Decoded;

/// Held by the test whose crowd is there: two would need more files than a process may open, and
/// each would wait for the other's work.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client after the other, from one thread: what is to be busy is the server.
fn gather(demo: &Demo, count: usize) -> Vec<Events> {
    let request = Request::get("/events/news");
    let open = |_| Events::open(demo.addr(), &request).opened();
    (0..count).map(open).collect()
}

fn subscribers_are(demo: &Demo, count: usize) -> bool {
    demo.stats()["subscribers"] == count
}

fn a_crowd_is_counted_until_it_dies_or_leaves(framework: &str) {
    const CROWD: usize = 1_000;

    let _turn = turn();
    make_room_for(CROWD);
    // Long enough that a busy machine has its work done between two.
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "5"]);
    let mut staying = gather(&demo, CROWD);
    let mut dead = staying.split_off(CROWD - CROWD / 10);
    let leaving = staying.split_off(staying.len() - CROWD / 10);
    assert!(subscribers_are(&demo, CROWD));

    // From here on the others' next two keep-alives come before the third of this one.
    while staying[0].try_item().is_some() {}
    staying[0].item(Instant::now() + DEADLINE);
    let start = Instant::now();
    for events in &mut dead {
        events.connection().vanish();
        // What came before is not what the dead hear.
        while events.try_item().is_some() {}
    }
    drop(leaving);
    let (expect, mut keep_alives) = (staying.len(), 0);
    wait_for("those who died and those who left to be noticed", || {
        while let Some(item) = staying[0].try_item() {
            assert!(
                matches!(item, Item::Decoded(Decoded::Comment(_))),
                "{item:?}"
            );
            keep_alives += 1;
        }
        // Counted before the server is asked, so that only a server that is late is found late.
        let is_noticed = subscribers_are(&demo, expect);
        assert!(
            is_noticed || keep_alives <= 2,
            "counted after {keep_alives} keep-alives"
        );
        is_noticed.then_some(())
    });
    println!(
        "{framework}: {expect} counted after {keep_alives} keep-alives, {:.2?}",
        start.elapsed()
    );

    let news = demo.publish("news", "to those who are there");
    for events in &mut staying {
        assert_eq!(*events.event().last_event_id, news);
    }
    let heard = dead.iter_mut().find_map(Events::try_item);
    assert_eq!(heard, None, "the dead are not dead");

    // Nobody sends anything now but the keep-alives.
    drop(staying);
    wait_for("everybody to be gone", || {
        subscribers_are(&demo, 0).then_some(())
    });
}

/// Files stand for connections, and so for the tasks that serve them: a task that outlived its
/// connection would keep it open. Allocators keep most of what they were given, and need some
/// crowds until they have enough; so what is asked of memory is that it levels off.
fn a_crowd_leaves_nothing_behind(framework: &str) {
    const CROWD: usize = 1_000;
    /// Threads that a runtime starts when first there is much to do.
    const MORE_THREADS: usize = 2;
    /// Connections that asked for the figures and that the server is about to close.
    const MORE_FILES: usize = 4;
    /// So many crowds in a row together add next to nothing.
    const LEVEL: usize = 4;
    /// At most so many crowds come before and among those.
    const MOST: usize = 20;
    /// Next to nothing: less than a subscriber alone, without its connection, would leave behind.
    const BYTES_PER_CLIENT: usize = 128;

    let _turn = turn();
    make_room_for(CROWD);
    let demo = Demo::start(framework, &["--metrics-every", "0", "--keep-alive", "3600"]);
    let come_and_go = |count| {
        let mut streams = gather(&demo, count);
        let news = demo.publish("news", "to those who are there");
        for events in &mut streams {
            assert_eq!(*events.event().last_event_id, news);
        }
        drop(streams);
        wait_for("everybody to be gone", || {
            // Where a disconnect is noticed when next something is sent.
            demo.publish("news", "somebody there?");
            subscribers_are(&demo, 0).then_some(())
        });
    };
    // What the first client costs, every later one finds there.
    come_and_go(1);
    let Some(before) = demo.footprint() else {
        come_and_go(CROWD);
        println!("{framework}: no /proc, so files, threads and memory were not counted");
        return;
    };

    let mut resident = Vec::new();
    loop {
        come_and_go(CROWD);
        resident.push(demo.resident_bytes());
        let now = resident.len();
        if now > LEVEL
            && resident[now - 1] <= resident[now - 1 - LEVEL] + BYTES_PER_CLIENT * LEVEL * CROWD
        {
            break;
        }
        assert!(now < MOST, "{framework}: memory still grows: {resident:?}");
    }

    let mut seen = None;
    let after = wait_for("files and threads to be given back", || {
        let now = demo.footprint().expect("the demo runs");
        if seen.replace(now) != Some(now) {
            println!("{framework}: before {before:?}, now {now:?}");
        }
        let is_back =
            now.files <= before.files + MORE_FILES && now.threads <= before.threads + MORE_THREADS;
        is_back.then_some(now)
    });
    println!(
        "{framework}: crowds of {CROWD} came and went; before {before:?}, after {after:?}; \
         bytes of memory after each: {resident:?}"
    );
}

fn a_crowd_ends_cleanly_at_sigterm(framework: &str) {
    const CROWD: usize = 5_000;

    let _turn = turn();
    make_room_for(CROWD);
    // The grace is for clients that do not read, not for a machine that is slow.
    let flags = ["--metrics-every", "0", "--grace", "600"];
    let mut demo = Demo::start(framework, &[&flags[..], &["--keep-alive", "3600"]].concat());
    let mut streams = gather(&demo, CROWD);
    assert!(subscribers_are(&demo, CROWD));

    demo.terminate();

    let start = Instant::now();
    for stream in &mut streams {
        let (rest, end) = stream.rest();
        assert_eq!(end, End::Clean);
        assert!(matches!(rest[..], [Decoded::Retry(_)]), "{rest:?}");
    }
    let ended = start.elapsed();
    assert_eq!(demo.wait_exit(DEADLINE).code(), Some(0));
    let exited = start.elapsed();
    println!("{framework}: {CROWD} streams ended in {ended:.2?}, the process in {exited:.2?}");
}

each_framework!(
    a_crowd_is_counted_until_it_dies_or_leaves,
    a_crowd_leaves_nothing_behind,
    a_crowd_ends_cleanly_at_sigterm,
);
