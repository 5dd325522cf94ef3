//! Metrics: what Prometheus reads is what the demo itself says.

use fanfare_contract::{each_framework, wait_for, Demo, Events, Request};
use prometheus_parse::{Scrape, Value};

fn scrape(demo: &Demo) -> Scrape {
    let page = Request::get("/metrics").send(demo.addr()).text();
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

each_framework!(prometheus_reads_what_the_stats_say);
