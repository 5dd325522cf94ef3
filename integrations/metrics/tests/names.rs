//! Each name moves when it should, and when not, not: on a page as Prometheus reads it.

#[path = "../../../core/tests/support/remote.rs"]
mod remote;
#[path = "../../../core/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fanfare_core::broadcaster::{Drain, EndReason, KeyFull, Rate, Reason as _};
use fanfare_core::timer::ManualTimer;
use fanfare_core::{
    Broadcaster, Event, EventId, GapReason, KeepAlive, LagPolicy, LastEventId, RefusedReason,
    Subscriber,
};
use fanfare_metrics::{Exporter, LAG_BUCKETS, LATENCY_BUCKETS, METRICS};
use futures_lite::future::block_on;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use prometheus_parse::{LineInfo, Scrape, Value};
use remote::Remote;
use support::{next_now, poll_now, publish, publish_many, read, wait_for, Client, Wakes};

/// A broadcaster whose metrics are read, and what they were when last looked at.
struct Watched {
    hub: Broadcaster,
    timer: ManualTimer,
    exporter: Exporter,
    recorder: PrometheusRecorder,
    before: Page,
}

/// Each series but its own label, and its value; of a histogram, how many are in it.
type Page = BTreeMap<String, f64>;

impl Watched {
    fn new() -> Self {
        Self::with(Broadcaster::builder())
    }

    fn with(builder: fanfare_core::broadcaster::Builder) -> Self {
        let timer = ManualTimer::new();
        let hub = builder.timer(timer.clone()).build();
        let matcher = |name: &str| Matcher::Full(name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(matcher("fanfare_lag"), &LAG_BUCKETS)
            .and_then(|builder| {
                let latency = matcher("fanfare_backend_latency_seconds");
                builder.set_buckets_for_metric(latency, &LATENCY_BUCKETS)
            })
            .expect("buckets")
            .build_recorder();
        metrics::with_local_recorder(&recorder, Exporter::describe);
        let mut watched = Self {
            exporter: Exporter::new(&hub).label("hub", "test"),
            hub,
            timer,
            recorder,
            before: Page::new(),
        };
        watched.before = watched.page();
        watched
    }

    fn rendered(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || self.exporter.update());
        self.recorder.handle().render()
    }

    fn page(&self) -> Page {
        let text = self.rendered();
        for line in text.lines() {
            let parsed = LineInfo::parse(line);
            assert_ne!(parsed, LineInfo::Ignored, "{line}");
        }
        let lines = text.lines().map(|line| io::Result::Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).expect("a page for Prometheus");
        let samples = scrape.samples.into_iter().filter_map(|sample| {
            assert_eq!(sample.labels.get("hub"), Some("test"), "{sample:?}");
            let labels = sample.labels.iter().filter(|(name, _)| *name != "hub");
            let labels: Vec<_> = labels.map(|(_, value)| value.as_str()).collect();
            let value = match &sample.value {
                Value::Counter(value) | Value::Gauge(value) => *value,
                Value::Histogram(buckets) => buckets.last()?.count,
                // The sum and the count of a histogram.
                Value::Untyped(_) => return None,
                Value::Summary(_) => panic!("{sample:?}: it has buckets"),
            };
            Some((format!("{} {}", sample.metric, labels.join(" ")), value))
        });
        samples
            .map(|(series, value)| (series.trim_end().to_owned(), value))
            .collect()
    }

    /// What has changed since the last look, but for what changes with everything.
    #[track_caller]
    fn changed(&mut self, expect: &[(&str, f64)]) {
        let page = self.page();
        let mut changes = Page::new();
        for (series, now) in &page {
            let before = self.before.get(series).copied().unwrap_or(0.0);
            if now != &before {
                changes.insert(series.clone(), now - before);
            }
        }
        let expect = expect
            .iter()
            .map(|(series, by)| (format!("fanfare_{series}"), *by));
        assert_eq!(changes, expect.collect::<Page>());
        self.before = page;
    }

    /// Forgets what has changed until now.
    fn look(&mut self) {
        self.before = self.page();
    }
}

/// One poll of a future that is not ready.
fn poll_once(future: impl Future) {
    let (_, waker) = Wakes::new();
    let poll = pin!(future).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
}

#[track_caller]
fn read_to_end(subscriber: &mut Subscriber) {
    let mut has_ended = || poll_now(subscriber) == Poll::Ready(None);
    wait_for("its end", || has_ended().then_some(()));
}

/// The encoded size of an event, as it is delivered.
fn size(id: EventId, data: &str) -> f64 {
    format!("id: {id}\ndata: {data}\n\n").len() as f64
}

#[test]
fn every_name_is_there_from_the_beginning_but_for_those_of_a_backend() {
    let watched = Watched::new();
    let page = watched.page();
    assert!(page.values().all(|value| *value == 0.0), "{page:?}");
    for metric in METRICS {
        let is_there = page
            .keys()
            .any(|series| series.split(' ').next() == Some(metric.name));
        let is_of_backend = metric.name.starts_with("fanfare_backend_");
        assert_eq!(is_there, !is_of_backend, "{}", metric.name);
    }
    let words = |metric: &str| {
        let series = page.keys().filter_map(|series| series.strip_prefix(metric));
        series
            .map(|word| word.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let sorted = |mut words: Vec<&'static str>| {
        words.sort_unstable();
        words
    };
    let ended = EndReason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(
        words("fanfare_streams_ended_total"),
        sorted(ended.collect())
    );
    let refused = RefusedReason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(
        words("fanfare_streams_refused_total"),
        sorted(refused.collect())
    );
    let gaps = GapReason::ALL.iter().map(|reason| reason.as_str());
    assert_eq!(words("fanfare_gaps_total"), sorted(gaps.collect()));
}

#[test]
fn every_metric_is_described() {
    let watched = Watched::with(Broadcaster::builder().backend(Remote::new(10)));
    let text = watched.rendered();
    for metric in METRICS {
        let help = format!("# HELP {} {}\n", metric.name, metric.help);
        let kind = format!("{:?}", metric.kind).to_lowercase();
        assert!(text.contains(&help), "{help}{text}");
        assert!(
            text.contains(&format!("# TYPE {} {kind}\n", metric.name)),
            "{text}"
        );
    }
}

#[test]
fn the_front_page_has_the_same_names() {
    let page = include_str!("../src/lib.rs");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `fanfare_"));
    let rows: Vec<_> = rows
        .map(|row| row.split(" | ").collect::<Vec<_>>())
        .collect();
    let documented = rows
        .iter()
        .map(|row| format!("fanfare_{} {}", row[0], row[1]));
    let exported = METRICS.iter().map(|metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("{}` {kind}", metric.name)
    });
    assert_eq!(documented.collect::<Vec<_>>(), exported.collect::<Vec<_>>());
    for (row, metric) in rows.iter().zip(METRICS) {
        let label = metric
            .label
            .map_or(String::new(), |label| format!("`{label}`"));
        assert!(row[3].starts_with(&label), "{}", metric.name);
        assert_eq!(
            row[3].trim() == "|",
            metric.label.is_none(),
            "{}",
            metric.name
        );
    }
}

#[test]
fn streams_are_counted_as_they_open_and_leave() {
    let mut watched = Watched::new();
    let subscribers = [(); 2].map(|()| watched.hub.subscribe("a").open().expect("open"));
    watched.changed(&[
        ("subscribers", 2.0),
        ("streams_opened_total", 2.0),
        ("topics", 1.0),
    ]);
    drop(subscribers);
    watched.changed(&[
        ("subscribers", -2.0),
        ("streams_ended_total left", 2.0),
        ("topics", -1.0),
    ]);
}

#[test]
fn events_are_counted_as_they_are_published_and_delivered() {
    let mut watched = Watched::new();
    let mut subscriber = watched.hub.subscribe("a").open().expect("open");
    let _ = next_now(&mut subscriber);
    watched.look();

    let id = watched
        .hub
        .try_publish("a", Event::data("x"))
        .expect("open");
    watched.changed(&[
        ("events_published_total", 1.0),
        ("history_records", 1.0),
        ("history_bytes", size(id, "x")),
    ]);
    let _ = next_now(&mut subscriber);
    watched.changed(&[
        ("events_delivered_total", 1.0),
        ("delivered_bytes_total", size(id, "x")),
    ]);

    publish(&watched.hub, "another");
    let mut returns = watched
        .hub
        .subscribe("a")
        .from_oldest()
        .open()
        .expect("open");
    watched.look();
    let _ = (next_now(&mut returns), next_now(&mut returns));
    watched.changed(&[
        ("events_delivered_total", 1.0),
        ("delivered_bytes_total", size(id, "x")),
        ("events_replayed_total", 1.0),
    ]);
}

#[test]
fn topics_and_what_is_held_of_them_rise_and_fall() {
    let mut watched = Watched::with(Broadcaster::builder().history(1));
    let id = watched
        .hub
        .try_publish("a", Event::data("long"))
        .expect("open");
    let first = [
        ("events_published_total", 1.0),
        ("topics", 1.0),
        ("history_records", 1.0),
        ("history_bytes", size(id, "long")),
    ];
    watched.changed(&first);
    watched
        .hub
        .try_publish("a", Event::data("x"))
        .expect("open");
    watched.changed(&[("events_published_total", 1.0), ("history_bytes", -3.0)]);
}

#[test]
fn a_sign_of_life_is_counted() {
    let every = KeepAlive::every(Duration::from_secs(15));
    let mut watched = Watched::with(Broadcaster::builder().keep_alive(every));
    let mut subscriber = watched.hub.subscribe("a").open().expect("open");
    let _ = next_now(&mut subscriber);
    assert!(poll_now(&mut subscriber).is_pending());
    watched.look();
    watched.timer.advance(Duration::from_secs(15));
    watched.changed(&[]);
    let _ = next_now(&mut subscriber);
    watched.changed(&[("keep_alives_total", 1.0)]);
}

#[test]
fn refusals_are_counted_by_reason() {
    let refused_by = |reason: RefusedReason| {
        let builder = Broadcaster::builder();
        let mut watched = Watched::with(match reason {
            RefusedReason::Full => builder.max_subscribers(1),
            RefusedReason::KeyFull => builder.max_per_key(1),
            RefusedReason::Rate => builder.max_rate_per_key(Rate::new(1, Duration::from_secs(1))),
            _ => builder,
        });
        let first = watched.hub.subscribe("a").key("k").open().expect("open");
        if reason == RefusedReason::Closing {
            watched.hub.close();
        }
        watched.look();
        let refused = watched
            .hub
            .subscribe("a")
            .key("k")
            .open()
            .expect_err("refused");
        assert_eq!(refused.reason, reason);
        let series = format!("streams_refused_total {}", reason.as_str());
        watched.changed(&[(&series, 1.0)]);
        drop(first);
    };
    RefusedReason::ALL.iter().copied().for_each(refused_by);
}

#[test]
fn ends_are_counted_by_reason() {
    for reason in EndReason::ALL {
        let watched = Watched::with(
            Broadcaster::builder()
                .history(1)
                .on_lag(LagPolicy::Disconnect)
                .max_per_key(1)
                .when_key_full(KeyFull::EndOldest)
                .max_lifetime(Duration::from_secs(600)),
        );
        let others = ended_by(*reason, &watched);
        let by_reason = |(series, count): (&String, &f64)| {
            let word = series.strip_prefix("fanfare_streams_ended_total ")?;
            (*count > 0.0).then(|| (word.to_owned(), *count))
        };
        let ended: Vec<_> = watched.page().iter().filter_map(by_reason).collect();
        assert_eq!(ended, [(reason.as_str().to_owned(), 1.0)]);
        drop(others);
    }
}

/// Ends one stream for this reason. Who had to come for that is still there.
fn ended_by(reason: EndReason, Watched { hub, timer, .. }: &Watched) -> Option<Subscriber> {
    if reason == EndReason::Finished {
        let events = futures_lite::stream::once(Event::data("x"));
        let stream = fanfare_core::EventStream::new(events);
        let mut private = hub.private(stream).open().expect("open");
        let mut ended = || matches!(poll_now(&mut private), Poll::Ready(None));
        wait_for("its end", || ended().then_some(()));
        return None;
    }
    let subscribe = hub.subscribe("a").key("k").expires_in(match reason {
        EndReason::Expired => Duration::from_secs(60),
        _ => Duration::from_secs(6_000),
    });
    let mut subscriber = subscribe.open().expect("open");
    let _ = next_now(&mut subscriber);
    let mut newer = None;
    match reason {
        EndReason::Left => return None,
        EndReason::Closed => hub.close(),
        EndReason::Drained => poll_once(hub.drain(Drain::over(Duration::ZERO))),
        EndReason::Lagged => publish_many(hub, "a", 3),
        EndReason::Disconnected => assert_eq!(hub.disconnect("k"), 1),
        EndReason::Expired => timer.advance(Duration::from_secs(60)),
        EndReason::Unauthorized => {
            let interval = Duration::from_secs(1);
            let mut asking = pin!(hub.authorize_every(interval, |_| std::future::ready(false)));
            let (_, waker) = Wakes::new();
            let mut cx = Context::from_waker(&waker);
            assert!(asking.as_mut().poll(&mut cx).is_pending());
            timer.advance(interval);
            // Once to begin the round, once to ask.
            for _ in 0..2 {
                assert!(asking.as_mut().poll(&mut cx).is_pending());
            }
        }
        EndReason::Lifetime => timer.advance(Duration::from_secs(600)),
        EndReason::Replaced => newer = Some(hub.subscribe("a").key("k").open().expect("open")),
        other => panic!("{other:?} is not tested"),
    }
    read_to_end(&mut subscriber);
    drop(subscriber);
    newer
}

#[test]
fn gaps_are_counted_by_reason() {
    for reason in GapReason::ALL {
        let mut watched = Watched::with(Broadcaster::builder().history(1));
        let hub = watched.hub.clone();
        let ids: Vec<_> = (0..3).map(|_| publish(&hub, "a")).collect();
        let after = match reason {
            GapReason::Expired | GapReason::Lagged => ids[0].to_string(),
            GapReason::Epoch => "7-7".to_owned(),
            GapReason::Ahead => format!("{}-99", ids[0].major),
            GapReason::Unparsable => "nonsense".to_owned(),
            other => panic!("{other:?} is not tested"),
        };
        let after = LastEventId::from_request(Some(after.as_bytes()), None);
        let subscribe = match reason {
            GapReason::Lagged => hub.subscribe("a"),
            _ => hub.subscribe("a").after(after),
        };
        let mut subscriber = subscribe.open().expect("open");
        let _ = next_now(&mut subscriber);
        if *reason == GapReason::Lagged {
            publish_many(&hub, "a", 2);
        }
        watched.look();
        let _ = next_now(&mut subscriber);
        watched.changed(&[(&format!("gaps_total {}", reason.as_str()), 1.0)]);
    }
}

#[test]
fn a_lag_is_recorded_once_in_its_bucket() {
    let mut watched = Watched::new();
    let mut subscriber = watched.hub.subscribe("a").open().expect("open");
    let _ = next_now(&mut subscriber);
    // Three that do not go out together.
    for _ in 0..3 {
        let large = Event::data("x".repeat(200_000));
        watched.hub.try_publish("a", large).expect("open");
    }
    watched.look();
    for left in [1.0, 1.0, 0.0] {
        let before = watched.hub.stats().delivered_bytes;
        let _ = next_now(&mut subscriber);
        let bytes = watched.hub.stats().delivered_bytes - before;
        let mut expect = vec![
            ("events_delivered_total", 1.0),
            ("delivered_bytes_total", bytes as f64),
            ("lag", left),
        ];
        expect.retain(|(_, by)| *by != 0.0);
        watched.changed(&expect);
    }
    let rendered = watched.rendered();
    for line in [
        "fanfare_lag_bucket{hub=\"test\",le=\"4\"} 2",
        "fanfare_lag_bucket{hub=\"test\",le=\"+Inf\"} 2",
        "fanfare_lag_count{hub=\"test\"} 2",
    ] {
        assert!(rendered.contains(line), "{line}\n{rendered}");
    }
}

#[test]
fn a_drain_shows_how_far_it_has_come() {
    let mut watched = Watched::new();
    let hub = watched.hub.clone();
    let mut subscribers = [(); 3].map(|()| hub.subscribe("a").open().expect("open"));
    for subscriber in &mut subscribers {
        let _ = next_now(subscriber);
    }
    watched.look();
    let mut drain = pin!(hub.drain(Drain::over(Duration::ZERO)));
    let (_, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(drain.as_mut().poll(&mut cx).is_pending());
    watched.changed(&[("drain_streams", 3.0), ("drain_open", 3.0)]);

    let [mut one, ..] = subscribers;
    read_to_end(&mut one);
    drop(one);
    watched.changed(&[
        ("drain_open", -1.0),
        ("subscribers", -1.0),
        ("streams_ended_total drained", 1.0),
    ]);
}

#[test]
fn what_a_backend_does_is_counted_and_timed() {
    let remote = Remote::new(100);
    let off = KeepAlive::off();
    let builder = Broadcaster::builder().history(1).keep_alive(off);
    let mut watched = Watched::with(builder.backend(remote.clone()));
    let hub = watched.hub.clone();
    let is_ready = || hub.stats().backend.is_some_and(|backend| backend.is_ready);
    wait_for("the tail", || is_ready().then_some(()));
    watched.look();
    assert_eq!(watched.before["fanfare_backend_ready"], 1.0);

    let publish = || block_on(hub.publish("a", Event::data("x")));
    let first = publish().expect("up");
    let last = publish().expect("up");
    wait_for("both to come back", || {
        (hub.stats().last == last).then_some(())
    });
    watched.changed(&[
        ("events_published_total", 2.0),
        ("backend_latency_seconds append", 2.0),
        ("topics", 1.0),
        ("history_records", 1.0),
        ("history_bytes", size(last, "x")),
    ]);

    let mut returns = Client::open(hub.subscribe("a").from_oldest());
    watched.look();
    assert_eq!(read(&mut returns, 2).len(), 2);
    watched.changed(&[
        ("backend_reads_total", 1.0),
        ("backend_records_read_total", 2.0),
        ("backend_latency_seconds replay", 1.0),
        ("events_delivered_total", 2.0),
        ("events_replayed_total", 2.0),
        ("delivered_bytes_total", size(first, "x") + size(last, "x")),
    ]);

    remote.set_up(false);
    wait_for("it to be noticed", || (!is_ready()).then_some(()));
    let interruptions = || hub.stats().backend.map(|backend| backend.interruptions);
    wait_for("it to be counted", || {
        (interruptions() == Some(1)).then_some(())
    });
    watched.changed(&[("backend_ready", -1.0), ("backend_errors_total tail", 1.0)]);
    publish().expect_err("away");
    watched.changed(&[
        ("backend_errors_total append", 1.0),
        ("backend_latency_seconds append", 1.0),
    ]);
    block_on(hub.replay("a", LastEventId::none(), 10)).expect_err("away");
    watched.changed(&[
        ("backend_reads_total", 1.0),
        ("backend_errors_total replay", 1.0),
        ("backend_latency_seconds replay", 1.0),
    ]);
}

#[test]
fn the_buckets_are_those_that_are_counted_in() {
    let lag = Broadcaster::new().stats().lag;
    let bounds: Vec<_> = lag.buckets().filter_map(|(bound, _)| bound).collect();
    let places: Vec<_> = bounds.iter().map(|bound| *bound as f64).collect();
    let seconds: Vec<_> = places.iter().map(|micros| micros / 1e6).collect();
    assert_eq!(
        (places, seconds),
        (LAG_BUCKETS.to_vec(), LATENCY_BUCKETS.to_vec())
    );
}
