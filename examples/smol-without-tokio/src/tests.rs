//! The example, served and read over sockets.

use super::*;

use fanfare_contract::{End, Events, Request};

#[test]
fn the_clock_ticks_for_everyone_until_the_server_ends() -> io::Result<()> {
    let listener = smol::block_on(bind("127.0.0.1:0"))?;
    let server = listener.local_addr()?;
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let run = smol::spawn(run(listener, Duration::from_millis(50), async move {
        // The other end is dropped.
        let _ = stopped.recv().await;
    }));

    let open = |last: &str| {
        let request = Request::get("/clock").header("Last-Event-ID", last);
        Events::open(server, &request)
    };
    let mut stream = open("");
    let (first, second) = (stream.event(), stream.event());
    assert_eq!(first.name, "tick");
    let number = |tick: &str| tick.parse::<u64>().expect("a number");
    assert_eq!(number(&second.data), number(&first.data) + 1);
    let mut returned = open(&first.last_event_id);
    assert_eq!(returned.event(), second);

    drop(stop);
    smol::block_on(run)?;
    assert_eq!(stream.rest().1, End::Clean);
    assert_eq!(returned.rest().1, End::Clean);
    Ok(())
}
