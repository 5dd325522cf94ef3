//! The views of a [`Report`]: tables for the terminal, a page, CSV, JSON, and the comparison with
//! an older run.
//!
//! [`write()`] leaves `report.json`, `report.html` and `report.csv` in a folder, [`tables`] is what
//! the terminal shows, [`read`] takes a report back in, and [`compare`] says what became slower.

mod charts;
mod compare;
mod csv;
mod html;
mod terminal;
mod words;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::compare::{compare, Change, Comparison};
use crate::figures::Report;

/// What failed, in words, a line for each row; `None` if nothing has. Whether it is ours to mend says
/// [`Server::is_ours`](crate::figures::Server::is_ours).
#[must_use]
pub fn failures(report: &Report) -> Option<String> {
    let lines: Vec<String> = report
        .failed()
        .map(|(scenario, row)| {
            let whose = if row.server.is_ours() {
                "failed"
            } else {
                "failed, which is a finding"
            };
            let (name, server) = (&scenario.name, row.server.label());
            format!("{name}, {server}: {whose}: {}", row.failures.join("; "))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The report as tables for a terminal of that many columns.
#[must_use]
pub fn tables(report: &Report, width: u16) -> String {
    terminal::render(report, width)
}

/// Writes the report as JSON, page and CSV into a folder, which is made if it is not there. Its figures
/// are [finite](finite_or_failed).
///
/// # Errors
///
/// What the file system reports. The JSON, from which the others can be made again, comes first.
pub fn write(report: &Report, folder: &Path) -> io::Result<Written> {
    fs::create_dir_all(folder)?;
    let written = Written {
        json: folder.join("report.json"),
        html: folder.join("report.html"),
        csv: folder.join("report.csv"),
    };
    fs::write(&written.json, serde_json::to_string_pretty(report)?)?;
    fs::write(&written.html, html::render(report)?)?;
    fs::write(&written.csv, csv::render(report).map_err(io::Error::other)?)?;
    Ok(written)
}

/// Reads what [`write()`] has written as JSON.
///
/// # Errors
///
/// If the file cannot be read, or holds something else.
pub fn read(json: &Path) -> Result<Report, ReadError> {
    let text = fs::read_to_string(json).map_err(ReadError::Io)?;
    serde_json::from_str(&text).map_err(|error| match serde_json::from_str(&text) {
        Ok(Format { format }) => ReadError::Report { format, error },
        Err(_) => ReadError::NoReport(error),
    })
}

/// The files that [`write()`] has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Everything, for `--compare` and for other programs.
    pub json: PathBuf,
    /// The page: open it in a browser.
    pub html: PathBuf,
    /// One line per scenario, server and figure.
    pub csv: PathBuf,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { json, html, csv } = self;
        write!(
            f,
            "{}, {}, {}",
            html.display(),
            csv.display(),
            json.display()
        )
    }
}

/// Why [`read`] gave no report.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    Io(io::Error),
    /// It is no report at all.
    NoReport(serde_json::Error),
    /// It is a report, but of a format that this harness does not know.
    Report {
        /// The format it says it has.
        format: u32,
        /// What does not fit.
        error: serde_json::Error,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the report could not be read"),
            Self::NoReport(_) => f.write_str("this is not a report of fanfare-bench"),
            Self::Report { format, .. } => {
                write!(
                    f,
                    "this report has format {format}, which is not understood"
                )
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoReport(error) | Self::Report { error, .. } => Some(error),
        }
    }
}

/// What every format of a report has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Makes a figure that is not a finite number a failure of its row, before any view is made: JSON has
/// no such numbers, and neither has a chart.
pub fn finite_or_failed(report: &mut Report) {
    for row in report.scenarios.iter_mut().flat_map(|s| &mut s.rows) {
        let failures = &mut row.failures;
        row.figures.retain(|figure, spread| {
            let is_finite = [spread.median, spread.min, spread.max]
                .iter()
                .all(|value| value.is_finite());
            if !is_finite {
                failures.push(format!("{} is not a number", figure.words().title));
            }
            is_finite
        });
    }
}
