//! What became slower or faster since an older run, in words.

use std::collections::BTreeSet;
use std::fmt;

use super::words::{kept_apart, percent, Words};
use crate::figures::{Figure, Machine, Report, Row, Scenario, Server, Spread};

/// Compares two runs.
///
/// A figure has changed if the ranges of its rounds do not overlap and its medians differ by more
/// than 5 %. Less is more than chance can do in most runs, and more than matters in all.
#[must_use]
pub fn compare(old: &Report, new: &Report) -> Comparison {
    let mut comparison = Comparison {
        cautions: cautions(old, new),
        ..Comparison::default()
    };
    for scenario in &new.scenarios {
        match find(&old.scenarios, &scenario.name) {
            None => comparison.came.push(scenario.name.clone()),
            Some(before) if before.parameters != scenario.parameters => {
                comparison.cautions.push(format!(
                    "{} was another piece of work then ({}; now {}): not compared.",
                    scenario.name,
                    parameters(before),
                    parameters(scenario),
                ));
            }
            Some(before) => comparison.scenario(before, scenario),
        }
    }
    let gone = old.scenarios.iter().map(|scenario| &scenario.name);
    let gone = gone.filter(|name| find(&new.scenarios, name).is_none());
    comparison.gone.extend(gone.cloned());
    if comparison.is_from_single_rounds {
        comparison.cautions.push(
            "some figures come from a single round: how much they vary by themselves is not known."
                .to_owned(),
        );
    }
    comparison
}

/// What differs between two runs; as text, the worst news first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Why the two runs may not be comparable: other machines, other formats.
    pub cautions: Vec<String>,
    /// Servers that lost or doubled something in this run and not in the older one.
    pub now_fail: Vec<String>,
    /// Servers that failed in the older run and no longer do.
    pub no_longer_fail: Vec<String>,
    /// The figures that changed beyond the spread of both runs.
    pub changes: Vec<Change>,
    /// What this run has and the older one has not.
    pub came: Vec<String>,
    /// What the older run had and this one has not.
    pub gone: Vec<String>,
    /// How many figures stayed within the spread.
    pub unchanged: usize,
    is_from_single_rounds: bool,
}

/// A figure that changed beyond the spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The scenario's name.
    pub scenario: String,
    /// Who served.
    pub server: Server,
    /// What was measured.
    pub figure: Figure,
    /// Then.
    pub old: Spread,
    /// Now.
    pub new: Spread,
}

impl Comparison {
    /// Whether any figure became worse, or a server began to fail.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        !self.now_fail.is_empty() || self.changes.iter().any(Change::is_worse)
    }

    fn scenario(&mut self, old: &Scenario, new: &Scenario) {
        let name = |server: &Server| format!("{}, {}", new.name, server.label());
        for row in &new.rows {
            let Some(before) = old.rows.iter().find(|other| other.server == row.server) else {
                self.came.push(name(&row.server));
                continue;
            };
            match (before.failures.first(), row.failures.first()) {
                (None, None) => self.row(&new.name, before, row),
                (Some(_), Some(_)) => {}
                (None, Some(failure)) => {
                    self.now_fail
                        .push(format!("{}: {failure}", name(&row.server)));
                }
                (Some(_), None) => self.no_longer_fail.push(name(&row.server)),
            }
        }
        for row in &old.rows {
            if !new.rows.iter().any(|other| other.server == row.server) {
                self.gone.push(name(&row.server));
            }
        }
    }

    fn row(&mut self, scenario: &str, old: &Row, new: &Row) {
        let figures: BTreeSet<&Figure> = old.figures.keys().chain(new.figures.keys()).collect();
        for figure in figures {
            let name = || {
                format!(
                    "{scenario}, {}: {}",
                    new.server.label(),
                    figure.words().title
                )
            };
            match (old.figures.get(figure), new.figures.get(figure)) {
                (Some(before), Some(now)) => {
                    self.is_from_single_rounds |= before.rounds < 2 || now.rounds < 2;
                    if has_changed(before, now) {
                        self.changes.push(Change {
                            scenario: scenario.to_owned(),
                            server: new.server.clone(),
                            figure: *figure,
                            old: *before,
                            new: *now,
                        });
                    } else {
                        self.unchanged += 1;
                    }
                }
                (None, Some(_)) => self.came.push(name()),
                (Some(_), None) => self.gone.push(name()),
                (None, None) => {}
            }
        }
    }
}

impl Change {
    /// Whether it is a change for the worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        (self.new.median > self.old.median) != self.figure.more_is_better()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for caution in &self.cautions {
            writeln!(f, "Mind: {caution}")?;
        }
        let (worse, better): (Vec<&Change>, Vec<&Change>) =
            self.changes.iter().partition(|change| change.is_worse());
        section(f, "Now fail", &self.now_fail)?;
        section(f, "Worse", &worse)?;
        section(f, "Better", &better)?;
        section(f, "No longer fail", &self.no_longer_fail)?;
        section(f, "Only in this run", &self.came)?;
        section(f, "Only in the older run", &self.gone)?;
        let beyond = percent(SHARE);
        let unchanged = self.unchanged;
        writeln!(
            f,
            "The same: {unchanged} of {} figures, whose rounds overlap or whose medians differ by no \
             more than {beyond}.",
            unchanged + self.changes.len(),
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            server,
            figure,
            old,
            new,
        } = self;
        let server = server.label();
        let Words { title, .. } = figure.words();
        let how_much = match (old.median, new.median > old.median) {
            (0.0, _) => "up from nothing".to_owned(),
            (before, true) => format!("{} more", percent(new.median / before - 1.0)),
            (before, false) => format!("{} less", percent(1.0 - new.median / before)),
        };
        write!(
            f,
            "{scenario}, {server}: {title} is {how_much}{}, {} after {}",
            adjective(*figure, self.is_worse()),
            range(*figure, new),
            range(*figure, old),
        )
    }
}

fn section<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, lines: &[T]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

/// Slower or faster, where the figure is about time.
fn adjective(figure: Figure, is_worse: bool) -> &'static str {
    let is_time = matches!(figure.words().base_unit, "µs" | "ms")
        || figure.more_is_better()
        || matches!(
            figure,
            Figure::RatioToFloor | Figure::RatioToNative | Figure::RatioToWithout
        );
    match (is_time, is_worse) {
        (true, true) => " (slower)",
        (true, false) => " (faster)",
        (false, _) => "",
    }
}

fn range(figure: Figure, spread: &Spread) -> String {
    let median = figure.amount(spread.median);
    if spread.rounds < 2 {
        return median;
    }
    let [min, max] = [spread.min, spread.max].map(|value| figure.number(value));
    format!("{median} ({min} to {max})")
}

fn has_changed(old: &Spread, new: &Spread) -> bool {
    let overlap = old.min <= new.max && new.min <= old.max;
    let (less, more) = if old.median < new.median {
        (old.median, new.median)
    } else {
        (new.median, old.median)
    };
    // Of the lesser one, so that both directions agree on what has changed.
    !overlap && more - less > SHARE * less.abs()
}

fn cautions(old: &Report, new: &Report) -> Vec<String> {
    let mut cautions = Vec::new();
    if old.format != new.format {
        cautions.push(format!(
            "the reports have different formats ({} then, {} now): figures may have changed their \
             meaning.",
            old.format, new.format
        ));
    }
    if old.machine != new.machine {
        cautions.push(format!(
            "the machines differ: {} then, {} now.",
            machine(&old.machine),
            machine(&new.machine)
        ));
    }
    if old.quick != new.quick {
        let [then, now] = [old, new].map(|r| if r.quick { "the short" } else { "the full" });
        cautions.push(format!("{then} run then, {now} run now."));
    }
    for (name, version) in &new.versions {
        match old.versions.get(name) {
            Some(before) if before != version => {
                cautions.push(format!("{name} was {before}, and is {version} now."));
            }
            _ => {}
        }
    }
    cautions
}

fn machine(machine: &Machine) -> String {
    let pinned = kept_apart(machine.pinned);
    format!(
        "{} ({} processors, {} GiB, {}, {pinned})",
        machine.processor,
        machine.processors,
        machine.memory >> 30,
        machine.kernel,
    )
}

fn parameters(scenario: &Scenario) -> String {
    let parameters = scenario.parameters.iter();
    let parameters: Vec<String> = parameters.map(|(k, v)| format!("{k} {v}")).collect();
    parameters.join(", ")
}

fn find<'a>(scenarios: &'a [Scenario], name: &str) -> Option<&'a Scenario> {
    scenarios.iter().find(|scenario| scenario.name == name)
}

/// By how much medians must differ, as a share of the lesser one.
const SHARE: f64 = 0.05;
