//! The report as text: one table per scenario, a server per line.

use std::fmt::Write as _;

use comfy_table::{
    presets, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width,
};

use super::words::{count, kept_apart, percent};
use crate::figures::{Figure, Machine, Report, Row, Scenario, Spread};

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
    text += &measured_on(report);
    text +=
        "Each figure is the median of its rounds, ± the round farthest from it. Less is better, \
             unless the column says otherwise.\nThe parts of each figure and its range are in the \
             page and in the CSV.\n";
    text
}

/// The machine and the versions, in two lines.
fn measured_on(report: &Report) -> String {
    let Machine {
        processor,
        processors,
        ..
    } = &report.machine;
    let apart = kept_apart(report.machine.pinned);
    let versions: Vec<String> = report
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!(
        "Machine: {processor}, {}; {apart}.\nVersions: {}.\n\n",
        count(*processors, "processor"),
        versions.join(", ")
    )
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
    for table in tables(scenario, width) {
        let _ = writeln!(text, "{table}");
    }
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

/// As many tables below each other as it takes for none to be wider than the terminal.
fn tables(scenario: &Scenario, width: u16) -> Vec<Table> {
    let servers = Column::new("server".to_owned(), scenario, |row| row.server.label());
    let mut tables = Vec::new();
    let mut fitting: Vec<Column> = Vec::new();
    for column in columns(scenario) {
        // A space stands between two columns.
        let taken: usize = fitting
            .iter()
            .chain([&servers])
            .map(|column| column.width() + 1)
            .sum();
        if !fitting.is_empty() && taken + column.width() > usize::from(width) {
            tables.push(table(&servers, &fitting));
            fitting.clear();
        }
        fitting.push(column);
    }
    tables.push(table(&servers, &fitting));
    tables
}

fn columns(scenario: &Scenario) -> Vec<Column> {
    let mut figures = scenario.figures();
    figures.retain(|figure| !DETAILS.contains(figure));
    let columns = figures
        .iter()
        .map(|figure| Column::new(figure.column(), scenario, |row| cell(row, *figure)));
    columns.collect()
}

fn table(servers: &Column, columns: &[Column]) -> Table {
    let columns: Vec<&Column> = [servers].into_iter().chain(columns).collect();
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(columns.iter().map(|column| &column.heading));
    // Lines between servers would double the table's height.
    for line in LINES_BETWEEN_ROWS {
        table.remove_style(line);
    }
    for row in 0..servers.cells.len() {
        table.add_row(columns.iter().map(|column| &column.cells[row]));
    }
    for (column, shown) in columns.iter().zip(table.column_iter_mut()) {
        // Only headings are broken into lines, and only between words.
        let width = u16::try_from(column.width()).unwrap_or(u16::MAX);
        shown.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A heading, and a cell for each server.
struct Column {
    heading: String,
    cells: Vec<String>,
}

impl Column {
    fn new(heading: String, scenario: &Scenario, cell: impl Fn(&Row) -> String) -> Self {
        let cells = scenario.rows.iter().map(cell).collect();
        Self { heading, cells }
    }

    /// How wide it must be for its cells and for the heading's longest word, with a space on either
    /// side.
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(String::as_str);
        let parts = cells.chain(self.heading.split(' '));
        parts.map(|part| part.chars().count()).max().unwrap_or(0) + 2
    }
}

fn cell(row: &Row, figure: Figure) -> String {
    match row.figure(figure) {
        _ if !row.failures.is_empty() => "failed".to_owned(),
        None => "-".to_owned(),
        Some(spread) => value(row, figure, spread),
    }
}

fn value(row: &Row, figure: Figure, spread: &Spread) -> String {
    let median = row.number(figure, spread.median);
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

const LINES_BETWEEN_ROWS: [TableComponent; 4] = [
    TableComponent::HorizontalLines,
    TableComponent::LeftBorderIntersections,
    TableComponent::MiddleIntersections,
    TableComponent::RightBorderIntersections,
];
