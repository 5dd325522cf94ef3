//! Rights on live streams: keys that are disconnected, rights that expire or are taken back, and
//! what ends a stream says why.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfare_core::broadcaster::{Drain, EndReason};
use fanfare_core::timer::ManualTimer;
use fanfare_core::{channel, Broadcaster, EventSource as _, LagPolicy};
use futures_lite::future;
use support::{next_now, publish, publish_many, Client, Wakes};

#[test]
fn a_key_is_disconnected_with_all_its_streams_and_no_other() {
    // Very many are woken by the timer's thread; this timer has none.
    let hub = Broadcaster::builder().timer(ManualTimer::new()).build();
    let key = |n: usize| {
        if n % 100 == 7 {
            "gone".to_owned()
        } else {
            format!("user {n}")
        }
    };
    let mut clients: Vec<_> = (0..10_000)
        .map(|n| Client::open(hub.subscribe("a").key(key(n)).key("everyone")))
        .collect();
    for client in &mut clients {
        assert_eq!(client.drain_brief(), "");
    }
    // Pending, and withheld: the right to it is gone.
    publish(&hub, "a");
    for client in &mut clients {
        client.was_woken();
    }
    assert_eq!(hub.disconnect("gone"), 100);
    assert_eq!(hub.disconnect("gone"), 0, "again there is nobody");
    assert_eq!(hub.disconnect("nobody"), 0);
    for (n, client) in clients.iter_mut().enumerate() {
        let is_gone = n % 100 == 7;
        assert_eq!(client.was_woken(), is_gone, "nobody else is even woken");
        let expect = if is_gone { "retry end" } else { "#1" };
        assert_eq!(client.drain_brief(), expect);
    }
    drop(clients);
    assert_eq!(hub.stats().ended.of(EndReason::Disconnected), 100);
    assert_eq!(hub.stats().ended.of(EndReason::Left), 9_900);
    assert_eq!(hub.disconnect("everyone"), 0, "nothing is left of them");
}

#[test]
fn a_stream_that_was_never_polled_is_disconnected_too() {
    let hub = Broadcaster::new();
    let mut client = Client::open(hub.subscribe("a").key("k"));
    publish_many(&hub, "a", 3);
    assert_eq!(hub.disconnect("k"), 1);
    assert_eq!(client.drain_brief(), "retry end");
}

#[test]
fn a_task_that_moves_is_found_all_the_same() {
    let hub = Broadcaster::new();
    let mut subscriber = hub.subscribe("a").key("k").open().expect("admitted");
    assert!(support::poll_now(&mut subscriber).is_ready(), "the opening");
    for _ in 0..3 {
        assert!(support::poll_now(&mut subscriber).is_pending());
    }
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let poll = futures_core::Stream::poll_next(std::pin::Pin::new(&mut subscriber), &mut cx);
    assert!(poll.is_pending());
    hub.disconnect("k");
    assert_eq!(wakes.take(), 1);
}

#[test]
fn nothing_is_delivered_after_a_right_has_expired() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let minute = Duration::from_secs(60);
    let mut expiring = Client::open(hub.subscribe("a").expires_in(minute));
    let mut unread = Client::open(hub.subscribe("a").expires_in(minute));
    let mut other = Client::open(hub.subscribe("a").key("k"));
    assert_eq!(expiring.drain_brief(), "");
    assert_eq!(other.drain_brief(), "");
    publish(&hub, "a");
    assert_eq!(expiring.drain_brief(), "#1");
    timer.advance(minute);
    assert!(expiring.was_woken(), "it ends by itself");
    publish(&hub, "a");
    assert_eq!(expiring.drain_brief().replace(": ", ""), "retry end");
    assert_eq!(
        unread.drain_brief(),
        "retry end",
        "not even what it had not read"
    );
    assert!(other.drain_brief().starts_with("#1 #2"));
    drop((expiring, unread));
    assert_eq!(hub.stats().ended.of(EndReason::Expired), 2);
}

/// A framework drops a body when it is told that its client has gone, read or not.
#[test]
fn a_stream_that_is_dropped_unread_has_ended_for_the_reason_it_was_given() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let open = || hub.subscribe("a").key("k");
    let ended = |reason| hub.stats().ended.of(reason);

    let disconnected = open().open().expect("admitted");
    hub.disconnect("k");
    drop(disconnected);
    assert_eq!(ended(EndReason::Disconnected), 1);

    let second = Duration::from_secs(1);
    let expired = open().expires_in(second).open().expect("admitted");
    let left = open().expires_in(2 * second).open().expect("admitted");
    timer.advance(second);
    drop((expired, left));
    assert_eq!((ended(EndReason::Expired), ended(EndReason::Left)), (1, 1));

    let (_client, stream) = channel(1);
    let drained = hub.private(stream).open().expect("admitted");
    let mut draining = Box::pin(hub.drain(Drain::over(second)));
    let (_, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(draining.as_mut().poll(&mut cx).is_pending());
    timer.advance(second);
    drop(drained);
    assert!(draining.as_mut().poll(&mut cx).is_ready());
    assert_eq!(ended(EndReason::Drained), 1);
    assert_eq!(hub.stats().ended.total(), 4);
}

/// The timer may be late; the clock is asked.
#[test]
fn an_expiry_does_not_depend_on_the_timer_being_on_time() {
    #[derive(Debug)]
    struct Late(ManualTimer);
    impl fanfare_core::timer::Timer for Late {
        fn now(&self) -> std::time::Instant {
            self.0.now()
        }
        fn wake_at(
            &self,
            _: std::time::Instant,
            _: std::task::Waker,
        ) -> Result<(), fanfare_core::timer::Unscheduled> {
            Ok(())
        }
    }
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(Late(timer.clone())).build();
    let mut client = Client::open(hub.subscribe("a").expires_in(Duration::from_secs(1)));
    timer.advance(Duration::from_millis(999));
    publish(&hub, "a");
    assert_eq!(client.drain_brief(), "#1");
    timer.advance(Duration::from_millis(1));
    publish(&hub, "a");
    assert_eq!(client.drain_brief(), "retry end");
}

#[test]
fn a_time_that_no_clock_can_count_to_does_not_expire() {
    let hub = Broadcaster::new();
    let mut client = Client::open(hub.subscribe("a").expires_in(Duration::MAX));
    publish(&hub, "a");
    assert_eq!(client.drain_brief(), "#1");
}

#[test]
fn replay_shows_no_event_of_another_topic() {
    let hub = Broadcaster::new();
    let first = publish(&hub, "mine");
    publish(&hub, "theirs");
    publish(&hub, "mine");
    let mut client = Client::open(hub.subscribe("mine").after(first));
    assert_eq!(client.drain_brief(), "#3");
    publish(&hub, "theirs");
    publish(&hub, "mine");
    assert_eq!(client.drain_brief(), "#5");
}

#[test]
fn who_may_listen_is_asked_again_and_again() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let mut clients: Vec<_> = (0..40)
        .map(|n| Client::open(hub.subscribe("a").key(n.to_string())))
        .collect();
    for client in &mut clients {
        client.drain();
    }
    let (asked, most, at_once) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let banned = Cell::new(100);
    let may_listen = |key: Arc<str>| {
        let banned = banned.get();
        let (asked, most, at_once) = (&asked, &most, &at_once);
        async move {
            asked.set(asked.get() + 1);
            at_once.set(at_once.get() + 1);
            most.set(most.get().max(at_once.get()));
            future::yield_now().await;
            at_once.set(at_once.get() - 1);
            *key != *banned.to_string()
        }
    };
    let interval = Duration::from_secs(30);
    let mut authorizing = std::pin::pin!(hub.authorize_every(interval, may_listen));
    let (wakes, waker) = Wakes::new();
    let mut turn = || loop {
        let poll = authorizing.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_ready() || wakes.take() == 0 {
            return poll;
        }
    };
    assert_eq!(turn(), Poll::Pending);
    assert_eq!(asked.get(), 0, "the first round is an interval away");
    timer.advance(interval);
    assert_eq!(turn(), Poll::Pending);
    assert_eq!(asked.get(), 40, "each key once");
    assert_eq!(most.get(), 16);
    banned.set(7);
    timer.advance(interval);
    assert_eq!(turn(), Poll::Pending);
    for (n, client) in clients.iter_mut().enumerate() {
        let ended = client.drain_brief().ends_with("retry end");
        assert_eq!(ended, n == 7, "client {n}");
    }
    clients.swap_remove(7);
    assert_eq!(hub.stats().ended.of(EndReason::Unauthorized), 1);
    asked.set(0);
    timer.advance(interval);
    assert_eq!(turn(), Poll::Pending);
    assert_eq!(asked.get(), 39, "who has gone is not asked for");
    hub.close();
    assert_eq!(turn(), Poll::Ready(()), "it ends with the broadcaster");
}

/// A task that asks without end, as the application spawns one.
#[test]
fn asking_does_not_keep_the_broadcaster_open() {
    let hub = Broadcaster::new();
    let asking = hub.authorize_every(Duration::from_secs(30), |_| future::ready(true));
    let mut asking = std::pin::pin!(asking);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(asking.as_mut().poll(&mut cx).is_pending());
    let mut client = Client::open(hub.subscribe("a").key("k"));
    assert_eq!(client.drain_brief(), "");
    drop(hub);
    assert_eq!(client.drain_brief(), "retry end", "nobody could publish");
    assert_eq!(wakes.take(), 1);
    assert!(asking.as_mut().poll(&mut cx).is_ready());
}

/// Who is still being asked for is left out of a round.
#[test]
fn rounds_begin_an_interval_apart_however_long_they_take() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let _client = Client::open(hub.subscribe("a").key("k"));
    let began = std::cell::RefCell::new(Vec::new());
    let start = fanfare_core::timer::Timer::now(&timer);
    let may_listen = |_| {
        let now = fanfare_core::timer::Timer::now(&timer);
        began.borrow_mut().push((now - start).as_secs());
        // It takes ten seconds, and the third time forty.
        let takes = if began.borrow().len() == 3 { 40 } else { 10 };
        let until = now + Duration::from_secs(takes);
        let timer = timer.clone();
        std::future::poll_fn(move |_| {
            if fanfare_core::timer::Timer::now(&timer) < until {
                return Poll::Pending;
            }
            Poll::Ready(true)
        })
    };
    let interval = Duration::from_secs(30);
    let mut asking = std::pin::pin!(hub.authorize_every(interval, may_listen));
    let (wakes, waker) = Wakes::new();
    for _ in 0..200 {
        loop {
            let poll = asking.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
            if wakes.take() == 0 {
                break;
            }
        }
        timer.advance(Duration::from_secs(1));
    }
    assert_eq!(*began.borrow(), [30, 60, 90, 150, 180]);
}

/// An asking, and the task that it runs in.
struct Asking<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl<F: Future<Output = ()>> Asking<F> {
    fn new(future: F) -> Self {
        let (wakes, waker) = Wakes::new();
        Self {
            future: Box::pin(future),
            wakes,
            waker,
        }
    }

    /// Polls it until it has nothing to do.
    fn turn(&mut self) {
        loop {
            let poll = self
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&self.waker));
            assert!(poll.is_pending());
            if self.wakes.take() == 0 {
                return;
            }
        }
    }
}

/// What may happen to one who asks a directory that does not answer.
#[test]
fn an_answer_that_never_comes_concerns_its_key_alone() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    // More of them hang than are asked for at a time.
    let hanging: Vec<_> = (0..40)
        .map(|n| hub.subscribe("a").key(format!("hangs {n}")).open())
        .collect();
    let _others: Vec<_> = (0..40)
        .map(|n| hub.subscribe("a").key(format!("answers {n}")).open())
        .collect();
    let asked = RefCell::new(BTreeMap::new());
    let pending = Rc::new(());
    let may_listen = |key: Arc<str>| {
        *asked.borrow_mut().entry(key.to_string()).or_insert(0) += 1;
        let hangs = key.starts_with("hangs").then(|| Rc::clone(&pending));
        async move {
            if let Some(_held) = hangs {
                future::pending::<()>().await;
            }
            true
        }
    };
    let interval = Duration::from_secs(30);
    let mut asking = Asking::new(hub.authorize_every(interval, may_listen));
    let all = |word: &str, times: usize| {
        let asked = asked.borrow();
        let named = || asked.iter().filter(|(key, _)| key.starts_with(word));
        assert_eq!(named().count(), 40, "each {word}");
        assert!(named().all(|(_, n)| *n == times), "{word}: {asked:?}");
    };
    asking.turn();
    // An interval later sixteen that hang keep nobody waiting any more: the first round is over after
    // two, and the second begins.
    for _ in 0..3 {
        timer.advance(interval);
        asking.turn();
    }
    all("answers", 2);
    all("hangs", 1);
    for round in 3..6 {
        timer.advance(interval);
        asking.turn();
        all("answers", round);
        all("hangs", 1);
    }
    // Nobody waits for an answer on behalf of one who has gone.
    drop(hanging);
    timer.advance(interval);
    asking.turn();
    assert_eq!(Rc::strong_count(&pending), 1);
}

#[test]
fn a_key_whose_answer_is_late_is_asked_for_again_in_the_next_round() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .keep_alive(fanfare_core::KeepAlive::off())
        .build();
    let mut client = Client::open(hub.subscribe("a").key("k"));
    assert_eq!(client.drain_brief(), "");
    let asked = Cell::new(0);
    let answer = Rc::new(Cell::new(None));
    let may_listen = |_| {
        asked.set(asked.get() + 1);
        let answer = Rc::clone(&answer);
        std::future::poll_fn(move |_| answer.take().map_or(Poll::Pending, Poll::Ready))
    };
    let interval = Duration::from_secs(30);
    let mut asking = Asking::new(hub.authorize_every(interval, may_listen));
    asking.turn();
    for _ in 0..5 {
        timer.advance(interval);
        asking.turn();
    }
    assert_eq!(asked.get(), 1, "its answer is still to come");
    answer.set(Some(true));
    asking.turn();
    timer.advance(interval);
    asking.turn();
    assert_eq!(asked.get(), 2);
    timer.advance(10 * interval);
    asking.turn();
    answer.set(Some(false));
    asking.turn();
    assert_eq!(client.drain_brief(), "retry end", "late is not never");
    assert_eq!(hub.stats().ended.of(EndReason::Unauthorized), 0);
    drop(client);
    assert_eq!(hub.stats().ended.of(EndReason::Unauthorized), 1);
}

#[test]
fn asking_for_very_many_lets_others_have_their_turn() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let _clients: Vec<_> = (0..1_000)
        .map(|n| Client::open(hub.subscribe("a").key(n.to_string())))
        .collect();
    let asked = Cell::new(0);
    let may_listen = |_| {
        asked.set(asked.get() + 1);
        future::ready(true)
    };
    let interval = Duration::from_secs(30);
    let mut asking = std::pin::pin!(hub.authorize_every(interval, may_listen));
    let (wakes, waker) = Wakes::new();
    let mut turns = 0;
    let mut poll = || asking.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    timer.advance(interval);
    while wakes.take() > 0 {
        turns += 1;
        assert!(poll().is_pending());
    }
    assert_eq!(asked.get(), 1_000);
    assert!(turns > 3, "{turns} turns");
}

/// Rights that are not asked for again are rights forever.
#[test]
fn a_timer_that_refuses_once_does_not_end_the_asking() {
    #[derive(Debug)]
    struct Refusing(ManualTimer, std::sync::atomic::AtomicUsize);
    impl fanfare_core::timer::Timer for Refusing {
        fn now(&self) -> std::time::Instant {
            self.0.now()
        }
        fn wake_at(
            &self,
            deadline: std::time::Instant,
            waker: std::task::Waker,
        ) -> Result<(), fanfare_core::timer::Unscheduled> {
            let calls = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if calls % 2 == 0 {
                return Err(fanfare_core::timer::Unscheduled(waker));
            }
            self.0.wake_at(deadline, waker)
        }
    }
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(Refusing(timer.clone(), 0.into()))
        .keep_alive(fanfare_core::KeepAlive::off())
        .build();
    let mut client = Client::open(hub.subscribe("a").key("k"));
    assert_eq!(client.drain_brief(), "");
    let interval = Duration::from_secs(30);
    let mut asking = std::pin::pin!(hub.authorize_every(interval, |_| future::ready(false)));
    let (wakes, waker) = Wakes::new();
    let mut turn = || loop {
        let poll = asking.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        if wakes.take() == 0 {
            break;
        }
    };
    turn();
    timer.advance(interval);
    turn();
    assert_eq!(client.drain_brief(), "retry end");
}

#[test]
fn a_lifetime_that_no_clock_can_count_to_is_for_ever() {
    for longest in [Duration::MAX, Duration::MAX / 2] {
        let hub = Broadcaster::builder().max_lifetime(longest).build();
        for _ in 0..100 {
            let mut client = Client::open(hub.subscribe("a"));
            assert_eq!(client.drain_brief(), "");
        }
    }
}

#[test]
fn no_stream_lasts_longer_than_it_may_and_not_all_end_at_once() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_lifetime(Duration::from_secs(100))
        .keep_alive(fanfare_core::KeepAlive::off())
        .build();
    let mut clients: Vec<_> = (0..1_000)
        .map(|_| Client::open(hub.subscribe("a")))
        .collect();
    for client in &mut clients {
        client.drain();
    }
    timer.advance(Duration::from_secs(89));
    assert!(clients.iter().all(|client| !client.was_woken()));
    let mut moments = HashSet::new();
    for second in 90..=100 {
        timer.advance(Duration::from_secs(1));
        clients.retain_mut(|client| {
            let ended = client.was_woken();
            if ended {
                moments.insert(second);
                assert_eq!(client.drain_brief(), "retry end");
            }
            !ended
        });
    }
    assert!(clients.is_empty(), "{} are left", clients.len());
    assert!(moments.len() >= 10, "{moments:?}");
    assert_eq!(hub.stats().ended.of(EndReason::Lifetime), 1_000);
}

#[test]
fn the_earlier_of_two_deadlines_counts() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder()
        .timer(timer.clone())
        .max_lifetime(Duration::from_secs(100))
        .end_name("bye")
        .build();
    let ends = |seconds: u64| {
        let expires = Duration::from_secs(seconds);
        let mut subscriber = hub.subscribe("a").expires_in(expires).open().expect("open");
        let _opening = next_now(&mut subscriber);
        timer.advance(Duration::from_secs(200));
        let farewell = next_now(&mut subscriber).expect("a farewell");
        String::from_utf8_lossy(&farewell).into_owned()
    };
    assert!(ends(10).contains(r#"{"reason":"expired"}"#));
    assert!(ends(150).contains(r#"{"reason":"lifetime"}"#));
}

#[test]
fn a_stream_can_say_why_it_ends() {
    let hub = Broadcaster::builder()
        .history(1)
        .on_lag(LagPolicy::Disconnect)
        .end_name("bye")
        .build();
    let open = |key: &str| hub.subscribe("a").key(key).open().expect("admitted");
    let farewell = |subscriber: &mut fanfare_core::Subscriber| {
        let mut text = String::new();
        while let Some(bytes) = next_now(subscriber) {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let bye = text.find("event: bye\n").expect("said");
        text[bye..].to_owned()
    };
    let expect = |text: &str, reason: &str| {
        let start = format!("event: bye\ndata: {{\"reason\":\"{reason}\"}}\n\nretry: ");
        assert!(text.starts_with(&start), "{text:?}");
        assert!(text.ends_with("\n\n"));
    };
    let mut subscriber = open("k");
    hub.disconnect("k");
    expect(&farewell(&mut subscriber), "disconnected");
    let mut subscriber = open("k");
    publish_many(&hub, "a", 3);
    expect(&farewell(&mut subscriber), "lagged");
    let mut subscriber = open("k");
    hub.close();
    expect(&farewell(&mut subscriber), "closed");
}

#[test]
fn a_private_stream_is_ended_by_its_key_and_its_producer_is_told() {
    let timer = ManualTimer::new();
    let hub = Broadcaster::builder().timer(timer.clone()).build();
    let (mut producer, stream) = channel(4);
    let private = hub.private(stream).key("k");
    let mut body = private
        .expires_in(Duration::from_secs(60))
        .open()
        .expect("open");
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut poll = || futures_core::Stream::poll_next(std::pin::Pin::new(&mut body), &mut cx);
    assert!(poll().is_ready(), "the opening");
    assert!(poll().is_pending());
    wakes.take();
    assert_eq!(hub.disconnect("k"), 1);
    assert_eq!(wakes.take(), 1);
    assert!(matches!(poll(), Poll::Ready(Some(bytes)) if bytes.starts_with(b"retry: ")));
    assert!(matches!(poll(), Poll::Ready(None)));
    assert!(matches!(poll(), Poll::Ready(None)), "for good");
    drop(body);
    future::block_on(producer.closed());
    assert_eq!(hub.stats().ended.of(EndReason::Disconnected), 1);
}
