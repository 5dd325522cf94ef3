//! Races, each at the very moment: a timer is asked for the time, or for a call, in the middle of
//! what a broadcaster does, and does then what another thread might do.

mod support;

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use fanfare_core::broadcaster::{Drain, EndReason};
use fanfare_core::timer::{ManualTimer, Timer, Unscheduled};
use fanfare_core::{channel, Broadcaster, KeepAlive, RefusedReason, WhenRefused};
use support::{wait_for, Client, Wakes};

const SECOND: Duration = Duration::from_secs(1);

type Deed = Box<dyn FnOnce() + Send>;

/// A timer that does something once.
#[derive(Clone, Default)]
struct Meddler {
    clock: ManualTimer,
    /// Done when it is next asked for the time.
    at_now: Arc<Mutex<Option<Deed>>>,
    /// Done when it is next asked for a call, which it then refuses.
    at_call: Arc<Mutex<Option<Deed>>>,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Meddler {
    fn take(deed: &Mutex<Option<Deed>>) -> Option<Deed> {
        deed.lock().expect("not poisoned").take()
    }

    fn at_next_now(&self, deed: impl FnOnce() + Send + 'static) {
        *self.at_now.lock().expect("not poisoned") = Some(Box::new(deed));
    }

    fn at_next_call(&self, deed: impl FnOnce() + Send + 'static) {
        *self.at_call.lock().expect("not poisoned") = Some(Box::new(deed));
    }

    fn calls_since(&self, before: usize) -> usize {
        self.calls.lock().expect("not poisoned").len() - before
    }

    fn hub(&self) -> Broadcaster {
        Broadcaster::builder()
            .timer(self.clone())
            .keep_alive(KeepAlive::off())
            .build()
    }
}

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddler")
    }
}

impl Timer for Meddler {
    fn now(&self) -> Instant {
        if let Some(deed) = Self::take(&self.at_now) {
            deed();
        }
        self.clock.now()
    }

    fn wake_at(&self, deadline: Instant, waker: Waker) -> Result<(), Unscheduled> {
        if let Some(deed) = Self::take(&self.at_call) {
            deed();
            return Err(Unscheduled(waker));
        }
        self.calls.lock().expect("not poisoned").push(deadline);
        self.clock.wake_at(deadline, waker)
    }
}

/// Begins a drain, and leaves it to itself.
fn begin_drain(hub: &Broadcaster, drain: Drain) {
    let (_, waker) = Wakes::new();
    let mut draining = hub.drain(drain);
    let poll = Pin::new(&mut draining).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending(), "somebody is there");
}

#[test]
fn a_close_in_the_midst_of_an_admission_refuses_it() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let closing = hub.clone();
    timer.at_next_now(move || closing.close());
    let subscribe = hub.subscribe("a").key("k").when_refused(WhenRefused::Away);
    let refused = subscribe.open().expect_err("closed");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert_eq!(refused.answer(), WhenRefused::Away);

    let hub = timer.hub();
    let closing = hub.clone();
    timer.at_next_now(move || closing.close());
    let (_producer, stream) = channel(1);
    let private = hub.private(stream).when_refused(WhenRefused::Away);
    let refused = private.open().expect_err("closed");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert_eq!(refused.answer(), WhenRefused::Away, "as its route says");
}

#[test]
fn who_is_refused_at_the_last_moment_was_never_open() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let closing = hub.clone();
    timer.at_next_now(move || closing.close());
    assert!(hub.subscribe("a").key("k").open().is_err());
    let stats = hub.stats();
    assert_eq!((stats.opened, stats.ended.total()), (0, 0));
    assert_eq!((stats.refused.total(), stats.subscribers), (1, 0));
}

#[test]
fn a_private_stream_is_admitted_before_a_drain_and_ended_by_it_or_not_at_all() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let draining = hub.clone();
    timer.at_next_now(move || begin_drain(&draining, Drain::over(SECOND).bound(60 * SECOND)));
    let (_producer, stream) = channel(1);
    let refused = hub.private(stream).open().expect_err("draining");
    assert_eq!(refused.reason, RefusedReason::Closing);
    assert_eq!(hub.stats().subscribers, 0);
}

#[test]
fn a_call_that_is_refused_does_not_undo_one_that_was_granted_meanwhile() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let earlier = Arc::new(Mutex::new(None));
    let (open, opened) = (hub.clone(), Arc::clone(&earlier));
    timer.at_next_call(move || {
        let mut client = Client::open(open.subscribe("a").expires_in(50 * SECOND));
        assert_eq!(client.drain_brief(), "");
        *opened.lock().expect("not poisoned") = Some(client);
    });
    let mut later = Client::open(hub.subscribe("a").expires_in(100 * SECOND));
    assert_eq!(later.drain_brief(), "");
    timer.clock.advance(50 * SECOND);
    let mut earlier = earlier
        .lock()
        .expect("not poisoned")
        .take()
        .expect("opened");
    assert!(earlier.was_woken(), "its call was granted");
    assert_eq!(earlier.drain_brief(), "retry end");
    timer.clock.advance(50 * SECOND);
    assert!(later.was_woken(), "and asks again for those that are left");
}

/// Every short stream is over before the next comes; the long one's call is still to come.
#[test]
fn calls_of_the_timer_do_not_pile_up() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let mut long = Client::open(hub.subscribe("a").expires_in(3_600 * SECOND));
    assert_eq!(long.drain_brief(), "");
    for _ in 0..100 {
        let short = hub.subscribe("a").expires_in(SECOND).open();
        let _short = short.expect("admitted");
        timer.clock.advance(2 * SECOND);
    }
    assert_eq!(timer.calls_since(0), 101, "one for each deadline");
    timer.clock.advance(3_400 * SECOND);
    assert!(long.was_woken());
    assert_eq!(hub.stats().ended.of(EndReason::Expired), 100);
}

/// A clock is foreign code. This one looks at the broadcaster.
#[test]
fn a_drain_asks_for_the_time_outside_of_its_locks() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let _client = Client::open(hub.subscribe("a"));
    let looking = hub.clone();
    timer.at_next_now(move || assert!(looking.stats().drain.is_none()));
    let draining = std::thread::spawn(move || begin_drain(&hub, Drain::over(SECOND)));
    wait_for("the drain to begin", || {
        draining.is_finished().then_some(())
    });
    draining.join().expect("no panic");
}

#[test]
fn a_drain_asks_for_no_more_calls_once_everyone_has_gone() {
    let timer = Meddler::default();
    let hub = timer.hub();
    let client = Client::open(hub.subscribe("a"));
    begin_drain(&hub, Drain::over(60 * SECOND));
    timer.clock.advance(SECOND);
    drop(client);
    let before = timer.calls_since(0);
    timer.clock.advance(59 * SECOND);
    assert_eq!(timer.calls_since(before), 0);
}
