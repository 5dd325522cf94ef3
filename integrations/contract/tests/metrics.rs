//! Metrics: what Prometheus reads is what the demo itself says.

use std::collections::BTreeSet;

use fanfare_contract::{each_framework, wait_for, Demo, Events, Request};
use fanfare_metrics::METRICS;
use prometheus_parse::{LineInfo, Scrape, Value};
use tempfile::TempDir;

/// The page as Prometheus reads it, which must take every line of it.
#[track_caller]
fn scrape(demo: &Demo) -> Scrape {
    let answer = Request::get("/metrics").send(demo.addr());
    assert_eq!(answer.head.status, 200);
    // Else Prometheus does not know that it is its own format, and of which version.
    assert_eq!(
        answer.head.all("content-type"),
        ["text/plain; version=0.0.4; charset=utf-8"]
    );
    let page = answer.text();
    for line in page.lines() {
        // What it cannot read, the parser passes over.
        assert_ne!(LineInfo::parse(line), LineInfo::Ignored, "{line}");
    }
    let lines = page.lines().map(|line| Ok(line.to_owned()));
    Scrape::parse(lines).unwrap_or_else(|error| panic!("{error} in: {page}"))
}

/// The sum over all labels; none if there is no such metric.
fn sum(scrape: &Scrape, name: &str) -> Option<f64> {
    let samples = scrape.samples.iter().filter(|sample| sample.metric == name);
    let values = samples.map(|sample| match sample.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
        ref other => panic!("{name} is {other:?}"),
    });
    values.reduce(|sum, value| sum + value)
}

fn prometheus_reads_what_the_stats_say(framework: &str) {
    let flags = [
        "--metrics-every",
        "0",
        "--max-clients",
        "3",
        "--history",
        "5",
    ];
    let demo = Demo::start(framework, &flags);
    let first = demo.publish("news", "0");
    let request = Request::get("/events/news");
    let mut streams: Vec<Events> = (0..2)
        .map(|_| Events::open(demo.addr(), &request))
        .collect();
    for n in 1..10 {
        demo.publish("news", n.to_string());
    }
    let last = demo.publish("news", "last");
    // Live; then what is left of the past, and a gap.
    for events in &mut streams {
        assert_eq!(events.up_to(&last).len(), 10);
    }
    let late = request.clone().header("Last-Event-ID", &first);
    let mut late = Events::open(demo.addr(), &late);
    assert_eq!(late.gap()["reason"], "expired");
    late.up_to(&last);
    assert_eq!(request.send(demo.addr()).head.status, 503);

    let same = [
        ("fanfare_subscribers", "subscribers", 3),
        ("fanfare_events_published_total", "published", 12),
        ("fanfare_events_delivered_total", "delivered", 25),
        ("fanfare_events_replayed_total", "replayed", 5),
        ("fanfare_gaps_total", "gaps", 1),
        ("fanfare_streams_refused_total", "rejected", 1),
    ];
    // What is written is counted a moment later.
    let count = |name: &str| demo.stats()[name].clone();
    let is_so = || same.iter().all(|(_, stat, expect)| count(stat) == *expect);
    wait_for("the stats", || is_so().then_some(()));
    let scraped = scrape(&demo);
    for (metric, _, expect) in same {
        assert_eq!(sum(&scraped, metric), Some(f64::from(expect)), "{metric}");
    }
    assert_eq!(sum(&scraped, "fanfare_streams_opened_total"), Some(3.0));
    assert_eq!(sum(&scraped, "fanfare_streams_ended_total"), Some(0.0));

    drop(streams);
    wait_for("two to have left", || {
        demo.publish("news", "somebody there?");
        (count("subscribers") == 1).then_some(())
    });
    let scraped = scrape(&demo);
    assert_eq!(sum(&scraped, "fanfare_subscribers"), Some(1.0));
    let ended = scraped.samples.iter().find(|sample| {
        let is_left = sample.labels.get("reason") == Some("left");
        sample.metric == "fanfare_streams_ended_total" && is_left
    });
    assert_eq!(
        ended.map(|sample| &sample.value),
        Some(&Value::Counter(2.0))
    );
}

fn every_documented_name_is_on_a_page(framework: &str) {
    let directory = TempDir::new().expect("a folder for a history");
    let directory = directory.path().display().to_string();
    let flags = ["--metrics-every", "0", "--data-dir", &directory];
    let mut demo = Demo::start_with_history(framework, &flags);
    let first = demo.publish("news", "0");
    demo.publish("news", "1");
    // One that has nothing in its window reads from its backend.
    demo.kill_9();
    demo.restart();
    let request = Request::get("/events/news").header("Last-Event-ID", &first);
    let mut events = Events::open(demo.addr(), &request);
    let last = demo.publish("news", "2");
    assert_eq!(events.up_to(&last).len(), 2);

    let scraped = scrape(&demo);

    let shown: BTreeSet<&str> = scraped
        .samples
        .iter()
        .map(|sample| &*sample.metric)
        .collect();
    let missing: Vec<&str> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(name))
        .collect();
    assert_eq!(missing, [""; 0], "not among {shown:?}");
    assert_eq!(sum(&scraped, "fanfare_backend_ready"), Some(1.0));
    assert_eq!(
        sum(&scraped, "fanfare_backend_reads_total"),
        demo.stats()["backend"]["reads"].as_f64()
    );
    assert!(sum(&scraped, "fanfare_backend_reads_total") > Some(0.0));
}

each_framework!(
    prometheus_reads_what_the_stats_say,
    every_documented_name_is_on_a_page,
);
