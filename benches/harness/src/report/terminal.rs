//! The report as text: one table per scenario, a server per line.

use std::fmt::Write as _;

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};

use super::words::{count, number, percent};
use crate::figures::{Figure, Report, Row, Scenario, Spread};

/// Tables no wider than `width` characters, with what failed and what was skipped below them.
pub(super) fn render(report: &Report, width: u16) -> String {
    let mut text = String::new();
    for scenario in &report.scenarios {
        text += &section(scenario, width);
        text.push('\n');
    }
    if !report.skipped.is_empty() {
        text += "Not measured:\n";
        for skipped in &report.skipped {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {}: {}", skipped.what, skipped.why);
        }
        text.push('\n');
    }
    text +=
        "Each figure is the median of its rounds, ± the round farthest from it. Less is better, \
             unless the column says otherwise.\nThe parts of each figure and its range are in the \
             page and in the CSV.\n";
    text
}

fn section(scenario: &Scenario, width: u16) -> String {
    let mut text = format!("{}: {}\n", scenario.name, scenario.description);
    let parameters: Vec<String> = scenario
        .parameters
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if !parameters.is_empty() {
        let _ = writeln!(text, "({})", parameters.join(", "));
    }
    let _ = writeln!(text, "{}", table(scenario, width));
    for row in &scenario.rows {
        if !row.failures.is_empty() {
            let failed = count(row.failures.len(), "round");
            let _ = writeln!(text, "{}: {failed} failed", row.server.label());
            for failure in &row.failures {
                let _ = writeln!(text, "  {failure}");
            }
        }
    }
    text
}

fn table(scenario: &Scenario, width: u16) -> Table {
    let mut figures = scenario.figures();
    figures.retain(|figure| !DETAILS.contains(figure));
    let ratios: Vec<Option<f64>> = scenario
        .rows
        .iter()
        .map(|row| scenario.ratio_to_native(row))
        .collect();
    let has_ratios = ratios.iter().any(Option::is_some);

    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    let mut header = vec!["server".to_owned()];
    header.extend(has_ratios.then(|| "× of native".to_owned()));
    header.extend(figures.iter().map(|figure| heading(*figure)));
    table.set_header(header);
    for (row, ratio) in scenario.rows.iter().zip(ratios) {
        let mut cells = vec![row.server.label()];
        cells.extend(has_ratios.then(|| ratio.map_or_else(String::new, number)));
        cells.extend(figures.iter().map(|figure| cell(row, *figure)));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn heading(figure: Figure) -> String {
    let heading = figure.heading();
    if figure.more_is_better() {
        heading + " (more is better)"
    } else {
        heading
    }
}

fn cell(row: &Row, figure: Figure) -> String {
    match row.figure(figure) {
        _ if !row.failures.is_empty() => "failed".to_owned(),
        None => "-".to_owned(),
        Some(spread) => value(figure, spread),
    }
}

fn value(figure: Figure, spread: &Spread) -> String {
    let median = figure.number(spread.median);
    match spread.deviation() {
        Some(deviation) => format!("{median} ±{}", percent(deviation)),
        None => median,
    }
}

/// What a terminal has no room for: parts of other figures, or their reciprocals.
const DETAILS: [Figure; 5] = [
    Figure::UserPerDelivery,
    Figure::SystemPerDelivery,
    Figure::DeliveriesPerCpuSecond,
    Figure::LatencyP90,
    Figure::LatencyMax,
];
