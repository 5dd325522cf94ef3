//! A report as a run would leave it, with everything in it that a view must bear.

use std::collections::BTreeMap;

use fanfare_bench::figures::{
    Figure, Machine, Pinned, Report, Row, Scenario, Server, Skipped, Spread,
};

pub(crate) fn report() -> Report {
    Report {
        format: 1,
        began: "2026-08-20T12:00:00Z".to_owned(),
        seconds: 1_260.0,
        commit: Some("0123abc".to_owned()),
        quick: false,
        machine: Machine {
            processor: "A <processor> & more".to_owned(),
            processors: 2,
            memory: 24 << 30,
            kernel: "Linux 6.12".to_owned(),
            pinned: Some(Pinned {
                server: 0,
                load: 1,
                share_a_core: false,
            }),
        },
        versions: BTreeMap::from([
            ("axum".to_owned(), "0.8.9".to_owned()),
            ("rustc".to_owned(), "1.95.0".to_owned()),
        ]),
        scenarios: vec![steady(), idle(), resume(), publish(), hostile()],
        skipped: vec![Skipped {
            what: "nchan".to_owned(),
            why: "libnginx-mod-nchan is not installed".to_owned(),
        }],
    }
}

/// A row whose rounds vary by that share of their medians.
pub(crate) fn row(name: &str, kind: &str, share: f64, medians: &[(Figure, f64)]) -> Row {
    let figures = medians.iter().filter_map(|(figure, median)| {
        let rounds = [median * (1.0 - share), *median, median * (1.0 + share)];
        Some((*figure, Spread::of(&rounds)?))
    });
    Row {
        server: Server {
            name: name.to_owned(),
            kind: kind.to_owned(),
        },
        figures: figures.collect(),
        failures: Vec::new(),
    }
}

pub(crate) fn scenario(name: &str, description: &str, rows: Vec<Row>) -> Scenario {
    Scenario {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: BTreeMap::from([("clients".to_owned(), 1_000), ("rate".to_owned(), 20)]),
        main_figure: Some(Figure::CpuPerDelivery),
        rows,
    }
}

/// One that is about another figure.
fn about(main_figure: Figure, scenario: Scenario) -> Scenario {
    Scenario {
        main_figure: Some(main_figure),
        ..scenario
    }
}

fn steady() -> Scenario {
    let floor = 8.4;
    let figures = |ratio: f64| {
        let cpu = floor * ratio;
        vec![
            (Figure::CpuPerDelivery, cpu),
            (Figure::UserPerDelivery, cpu * 0.3),
            (Figure::SystemPerDelivery, cpu * 0.7),
            (Figure::RatioToFloor, ratio),
            (Figure::DeliveriesPerCpuSecond, 1e6 / cpu),
            (Figure::LatencyP50, 4_100.0 * ratio),
            (Figure::LatencyP90, 7_900.0 * ratio),
            (Figure::LatencyP99, 9_300.0 * ratio),
            (Figure::LatencyMax, 21_000.0 * ratio),
            (Figure::BytesPerEvent, 139.0),
            (Figure::MemoryPerConnection, 12_800.0 * ratio),
            (Figure::SyscallsPerDelivery, 1.01),
        ]
    };
    let mut rows = vec![row("floor", "floor", 0.02, &figures(1.0))];
    for (framework, fanfare, native) in [
        ("actix-web", 1.27, 1.7),
        ("axum", 1.39, 1.93),
        ("hyper", 1.36, 1.41),
        ("rocket", 2.15, 2.6),
        ("warp", 1.44, 1.29),
    ] {
        rows.push(row(framework, "fanfare", 0.03, &figures(fanfare)));
        rows.push(row(framework, "native", 0.06, &figures(native)));
    }
    let mut failed = row("rocket", "native", 0.1, &figures(2.6));
    failed.failures = vec![
        "round 1: client 17 lost event 4,081 of topic a".to_owned(),
        "round 3: client 903 got event 12 twice".to_owned(),
    ];
    rows[8] = failed;
    rows.push(row("better-sse", "peer", 0.08, &figures(3.1)));
    scenario(
        "steady",
        "1,000 clients, 20 events a second of 100 bytes.",
        rows,
    )
}

fn idle() -> Scenario {
    let memory = |bytes| [(Figure::MemoryPerConnection, bytes)];
    let rows = vec![
        row("floor", "floor", 0.0, &memory(0.0)),
        row("axum", "fanfare", 0.01, &memory(18_900.0)),
        row("axum", "native", 0.01, &memory(19_600.0)),
        row("warp", "fanfare", 0.01, &[]),
    ];
    about(
        Figure::MemoryPerConnection,
        scenario("idle", "Clients that wait, and no events.", rows),
    )
}

fn resume() -> Scenario {
    let figures = |ms, busy| {
        [
            (Figure::CpuPerDelivery, ms / 1e4),
            (Figure::CatchUp, ms),
            (Figure::PeakMemory, 9e4 * ms),
            (Figure::LoadBusy, busy),
        ]
    };
    let mut fanfare = row("axum", "fanfare", 0.05, &figures(812.0, 91.0));
    // In every round it was less, though the two rows' ranges overlap.
    fanfare
        .figures
        .extend(Spread::of(&[0.19, 0.2, 0.22]).map(|ratio| (Figure::RatioToNative, ratio)));
    let rows = vec![fanfare, row("axum", "native", 0.2, &figures(4_120.0, 30.0))];
    scenario("resume", "All clients return at once.", rows)
}

fn publish() -> Scenario {
    let figures = |p50| {
        [
            (Figure::CpuPerDelivery, 1.0),
            (Figure::PublishP50, p50),
            (Figure::PublishP99, p50 * 4.0),
            (Figure::LastP50, p50 * 40.0),
            (Figure::LastP99, p50 * 90.0),
        ]
    };
    let mut fanfare = row("axum", "fanfare", 0.1, &figures(31.0));
    // Less at the median, but not in every round.
    fanfare
        .figures
        .extend(Spread::of(&[0.8, 0.9, 1.1]).map(|ratio| (Figure::RatioToNative, ratio)));
    let rows = vec![fanfare, row("axum", "native", 0.1, &figures(2_400.0))];
    about(
        Figure::PublishP50,
        scenario("publish", "What a publish takes.", rows),
    )
}

/// Names that would break out of a page or a line, one round, and nothing but zeros.
fn hostile() -> Scenario {
    let mut single = row(
        "a,\"b\"<&>",
        "x</script>",
        0.0,
        &[(Figure::CpuPerDelivery, 7.5)],
    );
    for spread in single.figures.values_mut() {
        spread.rounds = 1;
    }
    let zeros = [
        (Figure::CpuPerDelivery, 0.0),
        (Figure::LatencyP50, 0.0),
        (Figure::LatencyP99, 0.0),
        (Figure::Gaps, 0.0),
    ];
    let rows = vec![single, row("zero", "native", 0.0, &zeros)];
    scenario(
        "<hostile> & \"co\"",
        "Names with <&>, commas and\nlines.",
        rows,
    )
}
