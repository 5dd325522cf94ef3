//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

use std::io;

use maud::{html, Markup, PreEscaped, DOCTYPE};

use super::charts;
use super::words::{count, kept_apart, number, round_number};
use crate::figures::{Figure, Machine, Report, Row, Scenario, Skipped, Spread};

/// The whole page.
///
/// # Errors
///
/// If a chart cannot be drawn.
pub(super) fn render(report: &Report) -> io::Result<String> {
    let scenarios = report
        .scenarios
        .iter()
        .map(|scenario| section(scenario).map_err(io::Error::other))
        .collect::<io::Result<Vec<Markup>>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Fanfare: server-sent events compared" }
                style { (PreEscaped(charts::style())) (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Server-sent events compared" }
                    p { (summary(report)) }
                    (legend(report))
                }
                main {
                    (contents(report))
                    (at_a_glance(report))
                    @for scenario in scenarios { (scenario) }
                    (not_measured(&report.skipped))
                    (how_to_read(report))
                    (measured_on(report))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn summary(report: &Report) -> String {
    let run = if report.quick {
        "The short run"
    } else {
        "The full run"
    };
    let commit = match &report.commit {
        Some(commit) => format!("commit {commit}"),
        None => "a commit that is not known".to_owned(),
    };
    let minutes = round_number(report.seconds / 60.0);
    format!(
        "{run} of {commit}, begun {}, {minutes} minutes, on {} ({}).",
        report.began,
        report.machine.processor,
        count(report.machine.processors, "processor"),
    )
}

fn legend(report: &Report) -> Markup {
    let mut kinds: Vec<&str> = Vec::new();
    for row in report.scenarios.iter().flat_map(|scenario| &scenario.rows) {
        if !kinds.contains(&&*row.server.kind) {
            kinds.push(&row.server.kind);
        }
    }
    html! {
        ul.legend {
            @for kind in kinds {
                li {
                    (swatch(kind))
                    b { (kind) }
                    @if let Some(meaning) = meaning_of_kind(kind) { ": " (meaning) }
                }
            }
        }
    }
}

fn meaning_of_kind(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "fanfare" => "the framework with Fanfare",
        "fanfare-inline" => "the same, where the publisher wakes everybody itself",
        "control" => "Fanfare once more: equal servers must come out equal",
        "bare" => "the framework by itself, with a body that only copies",
        "native" => "what its users write without",
        "floor" => "a bare loop that writes the bytes to every socket",
        "peer" => "another project, in another language",
        "sse" => "server-sent events",
        "websocket" => "a message per event",
        "long-poll" => "a request that waits for the next events",
        "poll" => "a request now and then",
        _ => return None,
    })
}

fn swatch(kind: &str) -> Markup {
    let colour = format!("background:var(--{})", charts::colour_name(kind));
    html! { span.swatch style=(colour) {} }
}

fn contents(report: &Report) -> Markup {
    html! {
        nav {
            @for scenario in &report.scenarios { a href={ "#" (anchor(scenario)) } { (scenario.name) } " " }
            a href="#reading" { "How to read it" } " "
            a href="#machine" { "Machine and versions" }
        }
    }
}

/// Fanfare beside each framework's native way, in every scenario.
fn at_a_glance(report: &Report) -> Markup {
    let scenarios: Vec<(&Scenario, Figure)> = report
        .scenarios
        .iter()
        .filter(|scenario| compared(scenario).next().is_some())
        .filter_map(|scenario| Some((scenario, scenario.main_figure()?)))
        .collect();
    let mut frameworks: Vec<&str> = Vec::new();
    for row in scenarios
        .iter()
        .flat_map(|(scenario, _)| compared(scenario))
    {
        if !frameworks.contains(&&*row.server.name) {
            frameworks.push(&row.server.name);
        }
    }
    html! {
        @if !scenarios.is_empty() {
            section {
                h2 { "At a glance" }
                p {
                    "Fanfare as a multiple of the same framework's native way, by each scenario's main \
                     figure. Under 1 Fanfare needs less (" (BETTER) "), above 1 it needs more (" (WORSE)
                     "). There is no mark within 5 %, nor where the rounds' ratios lie on both sides of 1."
                }
                div.scroll {
                    table {
                        thead { tr {
                            th { "scenario" }
                            th { "main figure" }
                            @for framework in &frameworks { th.number { (framework) } }
                        } }
                        tbody {
                            @for (scenario, figure) in &scenarios {
                                tr {
                                    th { a href={ "#" (anchor(scenario)) } { (scenario.name) } }
                                    td { (figure.words().title) }
                                    @for framework in &frameworks {
                                        td.number { (glance(scenario, framework)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The rows of Fanfare that have a native one beside them.
fn compared(scenario: &Scenario) -> impl Iterator<Item = &Row> {
    let rows = scenario.rows.iter();
    rows.filter(|row| row.server.kind == "fanfare" && scenario.base_of(row).is_some())
}

fn glance(scenario: &Scenario, framework: &str) -> String {
    let Some(row) = compared(scenario).find(|row| row.server.name == framework) else {
        return "-".to_owned();
    };
    let native = scenario.base_of(row);
    if !row.failures.is_empty() {
        return "failed".to_owned();
    }
    if native.is_some_and(|native| !native.failures.is_empty()) {
        return "native failed".to_owned();
    }
    let Some(ratio) = row.figure(Figure::RatioToNative) else {
        return "-".to_owned();
    };
    let shown = number(ratio.median);
    // A mark says more than chance can do: all rounds are on one side.
    if ratio.median < 0.95 && ratio.max < 1.0 {
        format!("{shown} {BETTER}")
    } else if ratio.median > 1.05 && ratio.min > 1.0 {
        format!("{shown} {WORSE}")
    } else {
        shown
    }
}

fn section(scenario: &Scenario) -> Result<Markup, charts::DrawError> {
    let charts = charts_of(scenario)?;
    let parameters = scenario.parameters.iter();
    let parameters: Vec<String> = parameters
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    Ok(html! {
        section id=(anchor(scenario)) {
            h2 { (scenario.name) }
            p {
                (scenario.description)
                @if !parameters.is_empty() { " " span.faint { "(" (parameters.join(", ")) ")" } }
            }
            (failures(scenario))
            div.charts { @for chart in charts { (chart) } }
            (table(scenario))
        }
    })
}

fn charts_of(scenario: &Scenario) -> Result<Vec<Markup>, charts::DrawError> {
    let mut figures: Vec<Figure> = Vec::new();
    let cpu = if scenario.has(Figure::RatioToFloor) {
        Figure::RatioToFloor
    } else {
        Figure::CpuPerDelivery
    };
    let main = scenario.main_figure();
    let first = main.filter(|figure| *figure != Figure::CpuPerDelivery);
    for figure in first.into_iter().chain([cpu]).chain(ALSO_DRAWN) {
        if scenario.has(figure) && !figures.contains(&figure) {
            figures.push(figure);
        }
    }
    figures.retain(|figure| match figure {
        // Its percentiles are drawn below.
        Figure::PublishP50 | Figure::LatencyP50 => false,
        // Where all send the same, there is nothing to see.
        Figure::BytesPerEvent | Figure::RequestsPerEvent => differs(scenario, *figure),
        _ => true,
    });

    let mut drawn = Vec::new();
    for figure in figures {
        let title = figure.heading();
        let reading = if figure.more_is_better() {
            "Longer is better."
        } else {
            "Shorter is better."
        };
        drawn.push(chart(&title, reading, &charts::bars(scenario, figure)?));
    }
    for (title, figures) in [
        ("latency, µs", &LATENCY[..]),
        ("last subscriber, µs", &LAST),
        ("publish, µs", &PUBLISH),
    ] {
        if figures.iter().any(|figure| scenario.has(*figure)) {
            let reading = if figures.len() > 2 {
                "Logarithmic: dot p50, ring p90, triangle p99, cross the longest; numbers p50 · p99."
            } else {
                "Logarithmic: dot p50, triangle p99; numbers p50 · p99."
            };
            let svg = charts::percentiles(scenario, figures)?;
            // What the scenario is about comes first.
            let place = if main == Some(figures[0]) {
                0
            } else {
                drawn.len().min(1)
            };
            drawn.insert(place, chart(title, reading, &svg));
        }
    }
    Ok(drawn)
}

/// Whether the servers' medians differ by more than 5 %.
fn differs(scenario: &Scenario, figure: Figure) -> bool {
    let medians = scenario.rows.iter().filter_map(|row| row.figure(figure));
    let (least, greatest) = medians.fold((f64::INFINITY, 0.0_f64), |(least, greatest), spread| {
        (least.min(spread.median), greatest.max(spread.median))
    });
    greatest > least * 1.05
}

fn chart(title: &str, reading: &str, svg: &str) -> Markup {
    html! {
        figure {
            figcaption { b { (title) } " " span.faint { (reading) } }
            // The table below says the same in numbers.
            div role="img" aria-label={ "chart: " (title) } { (PreEscaped(svg)) }
        }
    }
}

fn failures(scenario: &Scenario) -> Markup {
    html! {
        @for row in scenario.rows.iter().filter(|row| !row.failures.is_empty()) {
            div.failed {
                b { (row.server.label()) ": " (count(row.failures.len(), "round")) " failed." }
                " Its figures mean nothing and are not shown."
                ul { @for failure in &row.failures { li { (failure) } } }
            }
        }
    }
}

fn table(scenario: &Scenario) -> Markup {
    let figures = scenario.figures();
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "server" }
                    @for figure in &figures { th.number { (figure.column()) } }
                } }
                tbody {
                    @for row in &scenario.rows {
                        tr {
                            th { (swatch(&row.server.kind)) (row.server.label()) }
                            @if !row.failures.is_empty() {
                                td colspan=(figures.len()) { "failed" }
                            } @else {
                                @for figure in &figures { (cell(row, *figure)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(row: &Row, figure: Figure) -> Markup {
    html! {
        td.number {
            @match row.figure(figure) {
                None => "-",
                Some(Spread { median, min, max, rounds }) => {
                    (row.number(figure, *median))
                    @if *rounds > 1 {
                        span.range { (figure.number(*min)) "–" (figure.number(*max)) }
                    }
                }
            }
        }
    }
}

fn not_measured(skipped: &[Skipped]) -> Markup {
    html! {
        @if !skipped.is_empty() {
            section {
                h2 { "Not measured" }
                ul { @for Skipped { what, why } in skipped { li { b { (what) } ": " (why) } } }
            }
        }
    }
}

fn how_to_read(report: &Report) -> Markup {
    let mut figures: Vec<Figure> = report
        .scenarios
        .iter()
        .flat_map(Scenario::figures)
        .collect();
    figures.sort_unstable();
    figures.dedup();
    html! {
        section id="reading" {
            h2 { "How to read it" }
            p {
                "Every server runs as a process of its own, answers the same requests, sends the same \
                 headers and the same events, and has the same number of workers. The rounds go through \
                 the servers in turn, so that what disturbs the machine for a while disturbs them all. \
                 The load checks what it reads: a server that loses or doubles an event has failed."
            }
            p {
                "A number is the median of its rounds; below it, and as a whisker in the charts, stand \
                 the least and the greatest. Where two ranges overlap, the run does not say which server \
                 is better. Compare ratios between machines, never the times themselves. "
                "The ratio to the floor compares processor time with the bare loop's; the ratio to native \
                 compares the scenario's main figure with that of the same framework without Fanfare, \
                 each in the same round. A time is \"at most\" what is shown where the load was busy for \
                 more than 90 % of it."
            }
            dl {
                @for figure in figures {
                    dt { (figure.heading()) }
                    dd { (figure.words().meaning) }
                }
            }
        }
    }
}

fn measured_on(report: &Report) -> Markup {
    let Machine {
        processor,
        processors,
        memory,
        kernel,
        pinned,
    } = &report.machine;
    let apart = kept_apart(*pinned);
    let gibibytes = Figure::PeakMemory.words().unit.size * 1024.0;
    // A memory's size loses nothing that is shown.
    #[allow(clippy::cast_precision_loss)]
    let memory = *memory as f64 / gibibytes;
    html! {
        section id="machine" {
            h2 { "Machine and versions" }
            div.scroll {
                table {
                    tbody {
                        tr { th { "processor" } td { (processor) ", " (count(*processors, "processor")) } }
                        tr { th { "memory" } td { (round_number(memory)) " GiB" } }
                        tr { th { "kernel" } td { (kernel) } }
                        tr { th { "kept apart" } td { (apart) } }
                        @for (name, version) in &report.versions {
                            tr { th { (name) } td { (version) } }
                        }
                    }
                }
            }
        }
    }
}

/// A scenario's place on the page: names are the harness's own, but an id has no white space.
fn anchor(scenario: &Scenario) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let plain = scenario.name.chars();
    let plain: String = plain.map(|c| if is_plain(c) { c } else { '-' }).collect();
    format!("scenario-{plain}")
}

const STYLE: &str = include_str!("page.css");
const BETTER: &str = "▼";
const WORSE: &str = "▲";

/// Drawn wherever they are measured, beside the main figure and the percentiles.
const ALSO_DRAWN: [Figure; 7] = [
    Figure::RatioToWithout,
    Figure::MemoryPerStalled,
    Figure::MemoryPerConnection,
    Figure::BytesPerEvent,
    Figure::RequestsPerEvent,
    Figure::CpuPerConnection,
    Figure::CatchUp,
];
const LATENCY: [Figure; 4] = [
    Figure::LatencyP50,
    Figure::LatencyP90,
    Figure::LatencyP99,
    Figure::LatencyMax,
];
const LAST: [Figure; 2] = [Figure::LastP50, Figure::LastP99];
const PUBLISH: [Figure; 2] = [Figure::PublishP50, Figure::PublishP99];
