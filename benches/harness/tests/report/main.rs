//! The views of a report, of one that has everything in it which they must bear.

mod sample;

use std::path::{Path, PathBuf};

use fanfare_bench::figures::{Figure, Pinned, Report, Spread};
use fanfare_bench::report::{self, compare, Change, ReadError};
use sample::{row, scenario};

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let folder = folder("page");
    let written = report::write(&sample::report(), &folder).expect("written");
    let page = read(&written.html);

    assert_eq!(unbalanced(&page), None);
    // Every address in it is the name of SVG's vocabulary.
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for word in [
        "http:", "https:", "//", "url(", "@import", "<script", "<link",
    ] {
        assert!(!elsewhere.contains(word), "{word}");
    }
    assert!(page.contains("a,&quot;b&quot;&lt;&amp;&gt; x&lt;/script&gt;"));
    for word in [
        "steady",
        "round 3: client 903 got event 12 twice",
        "libnginx-mod-nchan is not installed",
        "A &lt;processor&gt; &amp; more",
        "prefers-color-scheme",
        "KiB",
    ] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn a_report_without_anything_has_every_view() {
    let mut empty = sample::report();
    empty.scenarios = vec![scenario("nobody", "No rows.", Vec::new())];
    empty.skipped.clear();
    let written = report::write(&empty, &folder("empty")).expect("written");

    assert_eq!(unbalanced(&read(&written.html)), None);
    assert!(report::tables(&empty, 100).contains("nobody"));
    assert_eq!(report::read(&written.json).expect("read"), empty);
}

#[test]
fn json_is_read_back_as_it_was() {
    let written = report::write(&sample::report(), &folder("json")).expect("written");
    assert_eq!(report::read(&written.json).expect("read"), sample::report());
}

#[test]
fn what_is_no_report_is_refused_in_words() {
    let folder = folder("refused");
    let refusal = |text: &str| {
        let path = folder.join("old.json");
        std::fs::write(&path, text).expect("written");
        report::read(&path).expect_err("refused").to_string()
    };
    assert_eq!(refusal("[]"), "this is not a report of fanfare-bench");
    assert_eq!(
        refusal(r#"{"format": 7, "figures": []}"#),
        "this report has format 7, which is not understood"
    );
    let missing = report::read(&folder.join("missing.json"));
    assert!(matches!(missing, Err(ReadError::Io(_))), "{missing:?}");
}

#[test]
fn a_figure_that_is_no_number_fails_its_row() {
    let mut report = with_cpu(&[1.0]);
    report.scenarios[0].rows[0].figures.insert(
        Figure::LatencyP50,
        Spread {
            median: f64::NAN,
            min: 0.0,
            max: f64::INFINITY,
            rounds: 3,
        },
    );
    report::finite_or_failed(&mut report);
    assert_eq!(
        report.scenarios[0].rows[0].failures,
        ["latency p50 is not a number"]
    );
    let written = report::write(&report, &folder("nan")).expect("written");
    assert_eq!(report::read(&written.json).expect("read"), report);
}

#[test]
fn csv_has_a_line_per_figure_and_per_failed_row() {
    let written = report::write(&sample::report(), &folder("csv")).expect("written");
    let text = read(&written.csv);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("scenario,server,kind,figure,unit,median,min,max,rounds,failures,bound")
    );
    for line in [
        "idle,axum,fanfare,memory_per_connection,bytes,18900.0,18711.0,19089.0,3,,",
        "resume,axum,fanfare,catch_up,ms,812.0,771.4,852.6,3,,at most",
        "steady,rocket,native,,,,,,,\"round 1: client 17 lost event 4,081 of topic a; \
         round 3: client 903 got event 12 twice\",",
        "\"<hostile> & \"\"co\"\"\",\"a,\"\"b\"\"<&>\",x</script>,cpu_per_delivery,µs,7.5,7.5,7.5,1,,",
    ] {
        assert!(lines.clone().any(|other| other == line), "{line}\n{text}");
    }
}

#[test]
fn the_terminal_says_what_failed_and_what_was_skipped() {
    let text = report::tables(&sample::report(), 140);
    for words in [
        "steady: 1,000 clients, 20 events a second of 100 bytes.",
        "ratio",
        "delivery,",
        "8.40 ±2 %",
        "connection,",
        "rocket native: 2 rounds failed\n  round 1: client 17 lost event 4,081 of topic a",
        "nchan: libnginx-mod-nchan is not installed",
        "Machine: A <processor> & more, 2 processors; server on processor 0, load on processor 1.",
        "Versions: axum 0.8.9, rustc 1.95.0.",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn a_time_that_is_the_load_s_as_well_is_a_bound() {
    let text = report::tables(&sample::report(), 140);
    assert!(text.contains("at most 812 ±5 %"), "{text}");
    assert!(text.contains(" 4,120 ±20 %"), "{text}");
    assert!(!text.contains("at most 4,120"), "{text}");
    let written = report::write(&sample::report(), &folder("bound")).expect("written");
    let page = read(&written.html);
    assert!(
        page.contains("at most 812<"),
        "in the table and in the chart"
    );
}

#[test]
fn only_what_holds_in_every_round_is_marked() {
    let written = report::write(&sample::report(), &folder("marks")).expect("written");
    let page = read(&written.html);
    let glance = page.split("id=\"scenario-").next().expect("it comes first");
    assert!(glance.contains("0.20 ▼"));
    assert!(glance.contains("0.90<") && !glance.contains("0.90 ▼"));
}

#[test]
fn a_failure_of_ours_and_a_finding_are_told_apart() {
    let mut report = sample::report();
    assert_eq!(
        report::failures(&report).as_deref(),
        Some(
            "steady, rocket native: failed, which is a finding: round 1: client 17 lost event 4,081 \
             of topic a; round 3: client 903 got event 12 twice"
        )
    );
    let fails = |report: &Report| report.failed().any(|(_, row)| row.server.is_ours());
    assert!(!fails(&report));
    report.scenarios[1].rows[0]
        .failures
        .push("round 2: gone".to_owned());
    assert!(fails(&report));
    let text = report::failures(&report).expect("two rows failed");
    assert!(
        text.ends_with("\nidle, floor: failed: round 2: gone"),
        "{text}"
    );
    report.scenarios.clear();
    assert_eq!(report::failures(&report), None);
}

#[test]
fn tables_fit_the_terminal_and_break_no_number() {
    for width in [80, 100, 140] {
        let text = report::tables(&sample::report(), width);
        // A table is as wide as its lines.
        for line in text.lines().filter(|line| line.starts_with('─')) {
            assert!(line.chars().count() <= usize::from(width), "{line}");
        }
        assert_eq!(text.matches("12,927 ±3 %").count(), 1, "{width}\n{text}");
        assert!(!text.contains("conne "), "{text}");
    }
}

#[test]
fn a_run_is_the_same_as_itself() {
    let report = sample::report();
    let comparison = compare(&report, &report);
    assert!(comparison.changes.is_empty() && !comparison.is_worse());
    assert!(comparison.came.is_empty() && comparison.gone.is_empty());
}

#[test]
fn only_what_lies_beyond_both_spreads_has_changed() {
    for (old, new, expect) in [
        (&[10.0, 10.1, 10.2][..], &[12.0, 12.1, 12.2][..], Some(true)),
        (&[12.0, 12.1, 12.2], &[10.0, 10.1, 10.2], Some(false)),
        // The ranges overlap.
        (&[10.0, 10.1, 12.1], &[12.0, 12.1, 12.2], None),
        // They touch.
        (&[10.0, 10.1, 12.0], &[12.0, 12.5, 13.0], None),
        // They do not, but they lie within 5 %.
        (&[10.0, 10.1, 10.2], &[10.3, 10.4, 10.5], None),
        (&[0.0, 0.0], &[1.0, 1.0], Some(true)),
        (&[1.0, 1.0], &[0.0, 0.0], Some(false)),
        (&[0.0, 0.0], &[0.0, 0.0], None),
    ] {
        let comparison = compare(&with_cpu(old), &with_cpu(new));
        let worse: Vec<bool> = comparison.changes.iter().map(Change::is_worse).collect();
        assert_eq!(worse, Vec::from_iter(expect), "{old:?} {new:?}");
        assert_eq!(comparison.is_worse(), expect == Some(true));
        assert_eq!(comparison.unchanged, usize::from(expect.is_none()));
    }
}

#[test]
fn a_comparison_reads_in_both_directions() {
    let (old, new) = (with_cpu(&[8.0, 8.0, 8.4]), with_cpu(&[10.0, 10.0, 10.0]));
    assert_eq!(
        compare(&old, &new).to_string(),
        "Worse:\n  steady, axum fanfare: CPU per delivery is 25 % more (slower), 10.0 µs (10.0 to 10.0) \
         after 8.00 µs (8.00 to 8.40)\nThe same: 0 of 1 figures, whose rounds overlap or whose medians \
         differ by no more than 5 %.\n"
    );
    assert_eq!(
        compare(&new, &old).to_string(),
        "Better:\n  steady, axum fanfare: CPU per delivery is 20 % less (faster), 8.00 µs (8.00 to 8.40) \
         after 10.0 µs (10.0 to 10.0)\nThe same: 0 of 1 figures, whose rounds overlap or whose medians \
         differ by no more than 5 %.\n"
    );
}

#[test]
fn where_more_is_better_less_is_worse() {
    let with = |figure, value| {
        let mut report = sample::report();
        report.scenarios = vec![scenario(
            "churn",
            "",
            vec![row("axum", "fanfare", 0.01, &[(figure, value)])],
        )];
        report
    };
    for figure in [Figure::ConnectionsPerSecond, Figure::DeliveriesPerCpuSecond] {
        assert!(compare(&with(figure, 900.0), &with(figure, 500.0)).is_worse());
        assert!(!compare(&with(figure, 500.0), &with(figure, 900.0)).is_worse());
    }
    let memory = Figure::MemoryPerConnection;
    assert!(compare(&with(memory, 500.0), &with(memory, 900.0)).is_worse());
}

#[test]
fn what_makes_two_runs_incomparable_is_said_first() {
    let old = sample::report();
    let mut new = sample::report();
    new.format = 2;
    new.quick = true;
    new.machine.pinned = Some(Pinned {
        server: 1,
        load: 0,
        share_a_core: true,
    });
    new.versions.insert("axum".to_owned(), "0.9.0".to_owned());
    new.scenarios[0]
        .parameters
        .insert("clients".to_owned(), 500);
    new.scenarios[1]
        .rows
        .retain(|row| row.server.name != "floor");
    new.scenarios[2].name = "resume-5000".to_owned();
    new.scenarios[3].rows[0]
        .failures
        .push("round 1: lost".to_owned());

    let comparison = compare(&old, &new);
    let text = comparison.to_string();

    let expect = [
        "Mind: the reports have different formats (1 then, 2 now)",
        "Mind: the machines differ: ",
        "Mind: the full run then, the short run now.",
        "Mind: axum was 0.8.9, and is 0.9.0 now.",
        "Mind: steady was another piece of work then (clients 1000, rate 20; now clients 500, rate \
         20): not compared",
        "Now fail:\n  publish, axum fanfare: round 1: lost\n",
        "Only in this run:\n  resume-5000\n",
        "Only in the older run:\n  idle, floor\n  resume\n",
    ];
    let places: Vec<Option<usize>> = expect.iter().map(|words| text.find(words)).collect();
    assert!(places.iter().all(Option::is_some), "{places:?}\n{text}");
    assert!(places.is_sorted(), "{places:?}\n{text}");
    assert!(comparison.is_worse());
    assert_eq!(
        compare(&new, &old).no_longer_fail,
        ["publish, axum fanfare"]
    );
}

#[test]
fn single_rounds_are_owned_up_to() {
    let comparison = compare(&with_cpu(&[8.0]), &with_cpu(&[8.0]));
    let text = comparison.to_string();
    assert!(
        text.starts_with("Mind: some figures come from a single round"),
        "{text}"
    );
}

/// A report of one server and one figure.
fn with_cpu(rounds: &[f64]) -> Report {
    let mut row = row("axum", "fanfare", 0.0, &[]);
    let spread = Spread::of(rounds).expect("there are rounds");
    row.figures.insert(Figure::CpuPerDelivery, spread);
    let mut report = sample::report();
    report.scenarios = vec![scenario("steady", "", vec![row])];
    report
}

/// A folder of a test's own. What lies there after a run can be looked at.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("report")
        .join(name);
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    folder
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the file was written")
}

/// The first tag that is closed out of order or not at all.
fn unbalanced(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let Some((tag, _)) = piece.split_once('>') else {
            return Some(piece.to_owned());
        };
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("</{name}>"));
            }
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "br"].contains(&name) {
            open.push(name);
        }
    }
    open.pop().map(str::to_owned)
}
