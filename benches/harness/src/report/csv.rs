//! The report as lines of CSV: one per scenario, server and figure, in the report's own units.

use serde::Serialize;

use crate::figures::{Figure, Report, Row, Scenario};

/// The whole file, its head included.
///
/// A row that failed has one line, without a figure and with the failures in words.
pub(super) fn render(report: &Report) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for scenario in &report.scenarios {
        for row in &scenario.rows {
            for line in lines(scenario, row) {
                writer.serialize(line)?;
            }
        }
    }
    let bytes = writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    server: &'a str,
    kind: &'a str,
    figure: Option<Figure>,
    unit: &'static str,
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    rounds: Option<usize>,
    failures: String,
    /// `at most` or `at least`, where the figure is only a bound.
    bound: Option<String>,
}

fn lines<'a>(scenario: &'a Scenario, row: &'a Row) -> Vec<Line<'a>> {
    let empty = || Line {
        scenario: &scenario.name,
        server: &row.server.name,
        kind: &row.server.kind,
        figure: None,
        unit: "",
        median: None,
        min: None,
        max: None,
        rounds: None,
        failures: row.failures.join("; "),
        bound: None,
    };
    if !row.failures.is_empty() {
        return vec![empty()];
    }
    let figures = row.figures.iter();
    figures
        .map(|(figure, spread)| Line {
            figure: Some(*figure),
            unit: figure.words().base_unit,
            median: Some(spread.median),
            min: Some(spread.min),
            max: Some(spread.max),
            rounds: Some(spread.rounds),
            bound: row.bound(*figure).map(|bound| bound.to_string()),
            ..empty()
        })
        .collect()
}
