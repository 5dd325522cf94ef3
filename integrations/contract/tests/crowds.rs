//! Many clients at once: they come, some of them die, the server notices and keeps nothing of them;
//! and it ends for all of them together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fanfare_contract::{
    each_framework, notices_disconnects_at_once, room_for, wait_for, Demo, End, Events, Item,
    Request, DEADLINE,
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

fn a_crowd_leaves_nothing_behind(framework: &str) {
    const CROWD: usize = 1_000;
    /// Threads that a runtime starts when first there is much to do.
    const MORE_THREADS: usize = 2;
    /// Connections that asked for the figures and that the server is about to close.
    const MORE_FILES: usize = 4;

    let _turn = turn();
    let crowd = room_for(CROWD);
    // Where clients that leave are noticed at once, no keep-alive may be needed for it.
    let at_once = notices_disconnects_at_once(framework);
    let keep_alive = if at_once { "3600" } else { "5" };
    let demo = Demo::start(
        framework,
        &["--metrics-every", "0", "--keep-alive", keep_alive],
    );
    // What the first client costs, every later one finds there.
    drop(gather(&demo, 1));
    wait_for("the first client to be gone", || {
        demo.publish("news", "somebody there?");
        subscribers_are(&demo, 0).then_some(())
    });
    let before = demo.footprint();

    let mut staying = gather(&demo, crowd);
    let mut dead = staying.split_off(crowd - crowd / 10);
    let leaving = staying.split_off(staying.len() - crowd / 10);
    assert!(subscribers_are(&demo, crowd));

    // What vanishes without a word is not noticed by a server that has nothing to send, and by
    // one that has only when TCP gives up, after a quarter of an hour; until then it is counted.
    let are_dead = dead
        .iter()
        .fold(true, |all, events| all & events.connection().vanish());
    drop(leaving);
    let (expect, mut keep_alives) = (crowd - crowd / 10, 0);
    wait_for("those who left to be noticed", || {
        while let Some(item) = staying[0].try_item() {
            assert!(
                matches!(item, Item::Decoded(Decoded::Comment(_))),
                "{item:?}"
            );
            keep_alives += 1;
        }
        subscribers_are(&demo, expect).then_some(())
    });
    // Two that they were sent, and one that was on its way when they left.
    assert!(keep_alives <= 3, "noticed after {keep_alives} keep-alives");

    let news = demo.publish("news", "to those who are there");
    for events in &mut staying {
        assert_eq!(*events.event().last_event_id, news);
    }
    if are_dead {
        let heard = dead.iter_mut().find_map(Events::try_item);
        assert_eq!(heard, None, "the dead are not dead");
    } else {
        println!("{framework}: the dead only stopped reading; this user's sockets take no filter");
    }

    for events in &dead {
        events.connection().reappear();
    }
    drop((staying, dead));
    wait_for("everybody to be gone", || {
        subscribers_are(&demo, 0).then_some(())
    });
    let Some(before) = before else {
        println!("{framework}: no /proc, so files and threads were not counted");
        return;
    };
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
    println!("{framework}: {crowd} clients came and went; before {before:?}, after {after:?}");
}

fn a_crowd_ends_cleanly_at_sigterm(framework: &str) {
    const CROWD: usize = 5_000;

    let _turn = turn();
    let crowd = room_for(CROWD);
    // The grace is for clients that do not read, not for a machine that is slow.
    let flags = ["--metrics-every", "0", "--grace", "600"];
    let mut demo = Demo::start(framework, &[&flags[..], &["--keep-alive", "3600"]].concat());
    let mut streams = gather(&demo, crowd);
    assert!(subscribers_are(&demo, crowd));

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
    println!("{framework}: {crowd} streams ended in {ended:.2?}, the process in {exited:.2?}");
}

each_framework!(
    a_crowd_leaves_nothing_behind,
    a_crowd_ends_cleanly_at_sigterm,
);
