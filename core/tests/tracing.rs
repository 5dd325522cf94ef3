//! What is told to `tracing`: to a subscriber that calls the broadcaster back, as none could from
//! under one of its locks.

#[path = "support/remote.rs"]
mod remote;
mod support;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{mpsc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use fanfare_core::broadcaster::Drain;
use fanfare_core::timer::ManualTimer;
use fanfare_core::{Broadcaster, Event, KeepAlive, LagPolicy, LastEventId};
use futures_lite::future::block_on;
use remote::Remote;
use support::{next_now, place, poll_now, publish, publish_many, wait_for, Client, Wakes};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

/// The process' subscriber: threads of a broadcaster tell it things too.
struct Listener;

/// What was told, in short: `INFO fanfare::drain begun streams=3`.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The broadcaster that is called back.
static HUB: Mutex<Option<Broadcaster>> = Mutex::new(None);

/// One test at a time.
static LISTENING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether it is called back now, which may tell something too.
    static CALLS_BACK: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if CALLS_BACK.get() {
            return;
        }
        let mut words = Words(vec![
            event.metadata().level().to_string(),
            event.metadata().target().to_owned(),
        ]);
        event.record(&mut words);
        lock(&TOLD).push(words.0.join(" "));
        let hub = lock(&HUB).clone();
        if let Some(hub) = hub {
            CALLS_BACK.set(true);
            call_back(&hub);
            CALLS_BACK.set(false);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Takes every lock that there is.
fn call_back(hub: &Broadcaster) {
    let _ = (
        hub.stats(),
        hub.streams(),
        hub.last_id(),
        hub.disconnect("nobody"),
    );
    drop(hub.subscribe("elsewhere").key("other").open());
    let mut replay = pin!(hub.replay("a", LastEventId::none(), 1));
    let (_, waker) = Wakes::new();
    let _ = replay.as_mut().poll(&mut Context::from_waker(&waker));
}

struct Words(Vec<String>);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push(match field.name() {
            "message" => format!("{value:?}"),
            name => format!("{name}={value:?}"),
        });
    }
}

/// Runs a test's body on a thread of its own, so that it may fail if a lock is never free.
fn listening(body: fn()) {
    let one_at_a_time = lock(&LISTENING);
    // Fails if it is there already.
    let _ = tracing::subscriber::set_global_default(Listener);
    lock(&TOLD).clear();
    let (done, is_done) = mpsc::channel();
    let runs = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    let outcome = is_done.recv_timeout(2 * support::DEADLINE);
    assert_ne!(outcome, Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    let joined = runs.join();
    *lock(&HUB) = None;
    drop(one_at_a_time);
    joined.expect("the body's own report is above");
}

fn call_back_to(hub: &Broadcaster) {
    *lock(&HUB) = Some(hub.clone());
}

/// What has been told since this was last asked.
fn told() -> Vec<String> {
    std::mem::take(&mut lock(&TOLD))
}

#[test]
fn the_front_page_has_every_event() {
    // Of `opened(..): DEBUG "fanfare::stream" "opened" {`.
    let events = include_str!("../src/trace.rs").lines().filter_map(|line| {
        let mut parts = line.split('"');
        let level = parts.next()?.split_whitespace().last()?;
        let target = parts.next()?;
        Some(format!("{target} {level} {}", parts.nth(1)?))
    });
    // Of `//! | `fanfare::stream` | DEBUG | `opened` | .. |`.
    let page = include_str!("../src/lib.rs").lines();
    let rows = page.filter_map(|line| line.strip_prefix("//! | `fanfare::"));
    let documented = rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`'));
        let (target, level) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        let message = cells.next().unwrap_or("").split('`').nth(1).unwrap_or("");
        format!("fanfare::{target} {level} {message}")
    });
    let events: Vec<_> = events.collect();
    assert_eq!(documented.collect::<Vec<_>>(), events);
    assert!(events.len() > 10, "{events:?}");
}

#[test]
fn streams_tell_how_they_come_and_go() {
    listening(|| {
        let hub = Broadcaster::builder().max_per_key(1).retry(None).build();
        call_back_to(&hub);
        let secret = "alice@example.org";
        let mut stream = hub
            .subscribe("secret-topic")
            .key(secret)
            .open()
            .expect("open");
        assert_eq!(told(), ["DEBUG fanfare::stream opened"]);

        hub.subscribe("a")
            .key(secret)
            .open()
            .expect_err("one too many");
        let refused = told();
        let expect = "DEBUG fanfare::stream refused reason=\"key_full\" retry_after_seconds=";
        assert!(
            refused.len() == 1 && refused[0].starts_with(expect),
            "{refused:?}"
        );

        hub.disconnect(secret);
        while poll_now(&mut stream) != Poll::Ready(None) {}
        assert!(told().is_empty(), "not before it is dropped");
        drop(stream);
        assert_eq!(
            told(),
            ["DEBUG fanfare::stream ended reason=\"disconnected\""]
        );
    });
}

#[test]
fn publishing_tells_the_topic_and_the_id_and_no_data() {
    listening(|| {
        let hub = Broadcaster::builder().max_event_bytes(64).build();
        call_back_to(&hub);
        let id = hub.try_publish("a", Event::data("secret")).expect("open");
        let published = format!("TRACE fanfare::publish published topic=\"a\" id={id}");
        assert_eq!(told(), [published]);
        let _ = block_on(hub.publish("a", Event::data("x".repeat(100)))).expect_err("large");
        let told = told();
        assert_eq!(told.len(), 1, "{told:?}");
        let expect = "DEBUG fanfare::publish not published error=an event of ";
        assert!(told[0].starts_with(expect), "{told:?}");
    });
}

#[test]
fn a_delivery_tells_nothing() {
    listening(|| {
        let timer = ManualTimer::new();
        let every = KeepAlive::every(Duration::from_secs(15));
        let hub = Broadcaster::builder()
            .timer(timer.clone())
            .keep_alive(every)
            .build();
        publish(&hub, "a");
        let mut stream = hub.subscribe("a").from_oldest().open().expect("open");
        let _ = told();
        let _ = (next_now(&mut stream), next_now(&mut stream));
        timer.advance(Duration::from_secs(30));
        let _ = next_now(&mut stream);
        assert!(told().is_empty());
    });
}

#[test]
fn who_lags_and_every_gap_is_told_of() {
    listening(|| {
        let hub = Broadcaster::builder()
            .history(1)
            .on_lag(LagPolicy::Resume)
            .build();
        call_back_to(&hub);
        let strange = LastEventId::from_request(Some(b"a stranger's text"), None);
        let mut stream = hub.subscribe("a").after(strange).open().expect("open");
        let _ = (next_now(&mut stream), told());
        let _ = next_now(&mut stream);
        let none = place(&hub, 0);
        let gap = format!("DEBUG fanfare::stream gap reason=\"unparsable\" to={none}");
        assert_eq!(told(), [gap]);

        publish_many(&hub, "a", 3);
        let _ = told();
        let _ = next_now(&mut stream);
        let lost = place(&hub, 2);
        assert_eq!(
            told(),
            [
                format!("DEBUG fanfare::stream lagging at={none}"),
                format!("DEBUG fanfare::stream gap reason=\"lagged\" to={lost}"),
            ]
        );
    });
}

#[test]
fn a_drain_tells_its_begin_its_progress_and_its_end() {
    listening(|| {
        let timer = ManualTimer::new();
        let hub = Broadcaster::builder().timer(timer.clone()).build();
        let mut streams: Vec<_> = (0..20)
            .map(|_| hub.subscribe("a").open().expect("open"))
            .collect();
        for stream in &mut streams {
            let _ = next_now(stream);
            assert!(poll_now(stream).is_pending());
        }
        call_back_to(&hub);
        let _ = told();
        let mut drain = pin!(hub.drain(Drain::over(Duration::from_secs(2))));
        let (_, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        assert!(drain.as_mut().poll(&mut cx).is_pending());
        assert_eq!(
            told(),
            ["INFO fanfare::drain begun streams=20 window_seconds=2.0"]
        );

        timer.advance(Duration::from_secs(2));
        let progress = told();
        assert!((5..=10).contains(&progress.len()), "{progress:?}");
        for line in &progress {
            assert_eq!(line, "INFO fanfare::drain progress streams=20 open=20");
        }
        // One does not read its end.
        let stays = streams.pop();
        for mut stream in streams {
            while poll_now(&mut stream) != Poll::Ready(None) {}
        }
        assert_eq!(
            told(),
            ["DEBUG fanfare::stream ended reason=\"drained\""; 19]
        );
        timer.advance(Duration::from_secs(1));
        assert!(drain.as_mut().poll(&mut cx).is_ready());
        let over = "INFO fanfare::drain over streams=20 forced=1 took_seconds=3.0";
        assert_eq!(told(), [over]);
        drop(stays);
    });
}

#[test]
fn a_backend_that_goes_and_comes_is_told_of_once_each_time() {
    listening(|| {
        let remote = Remote::new(100);
        let timer = ManualTimer::new();
        let off = KeepAlive::off();
        let builder = Broadcaster::builder().timer(timer.clone()).keep_alive(off);
        let hub = builder.backend(remote.clone()).build();
        let line_is =
            |line: &'static str| wait_for(line, || told().contains(&line.into()).then_some(()));
        line_is("INFO fanfare::backend available");
        call_back_to(&hub);

        let id = block_on(hub.publish("a", Event::data("x"))).expect("up");
        let published = format!("TRACE fanfare::publish published topic=\"a\" id={id}");
        assert!(told().contains(&published));

        remote.set_up(false);
        line_is("WARN fanfare::backend unavailable error=the history's engine is not available");
        let _ = block_on(hub.publish("a", Event::data("x"))).expect_err("away");
        assert_eq!(
            told(),
            ["DEBUG fanfare::publish not published error=the history did not take the event"]
        );
        // A read is tried again and again, and the tail is not told of again.
        *lock(&HUB) = None;
        let mut returns = Client::open(hub.subscribe("b").from_oldest());
        for tries in 0..3 {
            let _ = (returns.poll(), returns.poll());
            let failed = format!(
                "DEBUG fanfare::backend read failed \
                 error=the history's engine is not available tries={tries}"
            );
            let told = told();
            assert!(told.contains(&failed), "{told:?}");
            assert!(
                !told.iter().any(|line| line.starts_with("WARN")),
                "{told:?}"
            );
            timer.advance(Duration::from_secs(5));
        }
        remote.set_up(true);
        line_is("INFO fanfare::backend available");
    });
}
