//! The Grafana dashboard speaks of the names that are exported, and of each of them.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_metrics::{Kind, METRICS};
use serde_json::Value;

/// The names of the series that Prometheus keeps, and the metric of each.
fn series() -> BTreeMap<String, &'static str> {
    let names = METRICS.iter().flat_map(|metric| {
        let endings: &[&str] = match metric.kind {
            Kind::Histogram => &["_bucket", "_count", "_sum"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        let of_metric = |ending: &&str| (format!("{}{ending}", metric.name), metric.name);
        endings.iter().map(of_metric).collect::<Vec<_>>()
    });
    names.collect()
}

fn dashboard() -> Value {
    let text = include_str!("../../../docs/grafana-dashboard.json");
    serde_json::from_str(text).expect("JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row")
}

fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    let targets = panel["targets"].as_array().expect("targets");
    targets
        .iter()
        .map(|target| target["expr"].as_str().expect("a query"))
}

/// The words of a text that may be names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

#[test]
fn it_mentions_only_names_that_exist() {
    let series = series();
    let text = dashboard().to_string();
    let names: Vec<_> = words(&text)
        .filter(|word| word.starts_with("fanfare_"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(series.contains_key(name), "{name}");
    }
}

#[test]
fn it_shows_every_metric() {
    let (series, dashboard) = (series(), dashboard());
    let shown: BTreeSet<_> = panels(&dashboard)
        .flat_map(queries)
        .flat_map(words)
        .filter_map(|word| series.get(word).copied())
        .collect();
    let all: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all);
}

#[test]
fn what_only_grows_is_shown_as_a_rate_and_by_a_label_that_it_has() {
    let dashboard = dashboard();
    for query in panels(&dashboard).flat_map(queries) {
        for metric in METRICS.iter().filter(|metric| query.contains(metric.name)) {
            let is_rate = query.contains(&format!("rate({}", metric.name));
            assert_eq!(is_rate, metric.kind != Kind::Gauge, "{query}");
            for label in ["reason", "operation"] {
                let is_by = words(query).any(|word| word == label);
                assert!(!is_by || metric.label == Some(label), "{query}");
            }
        }
    }
}

#[test]
fn its_panels_are_told_apart_and_do_not_overlap() {
    let dashboard = dashboard();
    let all = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), all.len());
    let mut taken = BTreeSet::new();
    for panel in all {
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(side("x") + side("w") <= 24, "{panel}");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{panel}");
            }
        }
    }
    for panel in panels(&dashboard) {
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        assert!(panel["description"].is_string(), "{panel}");
    }
}
