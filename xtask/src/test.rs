//! `cargo xtask test`: every test there is, counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::process::Command;

use serde_json::Value;

use crate::contract::{self, Contract};
use crate::results::{file_name, Counts, Heading, Reader};
use crate::run::{self, Failure};
use crate::tools;
use crate::workspace::{Package, Workspace};

/// Runs every test, prints the table and closes with one line, `N passed, N failed`.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let report = report(workspace);
    println!("\n{report}\n{}", report.closing_line());
    report.outcome()
}

/// Runs every test. A part that fails does not keep the others from running.
pub(crate) fn report(workspace: &Workspace) -> Report {
    let mut report = Report::default();
    for package in &workspace.packages {
        if package.is_published || package.has_integration_tests {
            report.parts.insert(package.name.clone(), Counts::default());
        }
    }
    for part in [LOOM, CONTRACT_IN_DIRECTORY, CONTRACT_IN_REDIS] {
        report.parts.insert(part.to_owned(), Counts::default());
    }

    for failure in tools::ensure(workspace) {
        report.note(Err(failure));
    }
    match build(workspace) {
        Ok(executables) => {
            let outcome = test_workspace(workspace, &executables, &mut report);
            report.note(outcome);
            let outcome = test_histories(workspace, &executables, &mut report);
            report.note(outcome);
        }
        Err(failure) => report.problems.push(failure.to_string()),
    }
    let outcome = test_loom(workspace, &mut report);
    report.note(outcome);
    report
}

/// How many tests ran in each part, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The packages of the workspace that have tests, and the core under loom.
    parts: BTreeMap<String, Counts>,
    /// The tests of the contract, requirement by framework.
    contract: String,
    problems: Vec<String>,
}

impl Report {
    fn note(&mut self, outcome: Result<(), Failure>) {
        self.problems
            .extend(outcome.err().map(|failure| failure.to_string()));
    }

    fn add(&mut self, part: &str, counts: Counts) {
        *self.parts.entry(part.to_owned()).or_default() += counts;
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.parts.values().for_each(|counts| total += *counts);
        total
    }

    /// The line that says it all, for people and for machines that look for it.
    pub(crate) fn closing_line(&self) -> String {
        let Counts { passed, failed, .. } = self.total();
        format!("{passed} passed, {failed} failed")
    }

    /// An error unless every part ran tests, ignored none, and none failed.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        let mut problems = self.problems.clone();
        for (part, counts) in &self.parts {
            match counts {
                Counts { failed: 1.., .. } => problems.push(format!("{part}: tests failed")),
                Counts { ignored: 1.., .. } => problems.push(format!("{part}: tests were ignored")),
                Counts { passed: 0, .. } => problems.push(format!("{part}: no test ran")),
                Counts { .. } => {}
            }
        }
        match problems.as_slice() {
            [] => Ok(()),
            problems => Err(Failure::new(problems.join("\nerror: "))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28}{:>8}{:>8}{:>9}",
            "part", "passed", "failed", "ignored"
        )?;
        for (part, counts) in &self.parts {
            let Counts {
                passed,
                failed,
                ignored,
            } = counts;
            writeln!(f, "{part:<28}{passed:>8}{failed:>8}{ignored:>9}")?;
        }
        write!(f, "\n{}", self.contract)
    }
}

/// Builds the demos beside the tests that start them. Returns which package each test executable
/// belongs to, which cargo does not say when it runs them.
fn build(workspace: &Workspace) -> Result<HashMap<String, String>, Failure> {
    let mut command = run::cargo();
    command
        .current_dir(&workspace.root)
        .args([
            "build",
            "--workspace",
            "--all-features",
            "--bins",
            "--tests",
        ])
        .arg("--message-format=json-render-diagnostics");
    let messages = run::output(&mut command)?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executables = messages.filter_map(|message| executable(&workspace.packages, &message));
    Ok(executables.collect())
}

/// The file name of the test executable that a message of cargo tells of, and its package.
fn executable(packages: &[Package], message: &Value) -> Option<(String, String)> {
    let path = message["executable"].as_str()?;
    let package = packages
        .iter()
        .find(|package| message["package_id"] == package.id.as_str())?;
    let is_test = message["profile"]["test"] == true;
    is_test.then(|| (file_name(path).to_owned(), package.name.clone()))
}

/// The package that has a library, by the library's name in code.
fn package_of(packages: &[Package], library: String) -> String {
    let mut packages = packages.iter();
    match packages.find(|package| package.library.as_ref() == Some(&library)) {
        Some(package) => package.name.clone(),
        None => library,
    }
}

fn test_workspace(
    workspace: &Workspace,
    executables: &HashMap<String, String>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut command = cargo_test(workspace);
    command.args(["--workspace", "--all-features", "--no-fail-fast"]);
    let mut reader = Reader::default();
    let outcome = run::watch(command, |line| reader.line(line));

    let results = reader.finish();
    note_contract(workspace, executables, &results.tests, report);
    for (heading, counts) in results.counts {
        let part = match heading {
            Heading::Executable(file) => executables.get(&file).cloned().unwrap_or(file),
            Heading::Documentation(library) => package_of(&workspace.packages, library),
        };
        // What has no test of any kind is no part: an example, say, or the benchmarks.
        if counts != Counts::default() || report.parts.contains_key(&part) {
            report.add(&part, counts);
        }
    }
    outcome
}

fn is_contract(heading: &Heading, executables: &HashMap<String, String>) -> bool {
    match heading {
        Heading::Executable(file) => executables
            .get(file)
            .is_some_and(|package| package == contract::PACKAGE),
        Heading::Documentation(_) => false,
    }
}

/// Counts the tests of the contract by requirement and framework.
fn note_contract(
    workspace: &Workspace,
    executables: &HashMap<String, String>,
    tests: &BTreeMap<(Heading, String), Counts>,
    report: &mut Report,
) {
    let tests = tests
        .iter()
        .filter(|((heading, _), _)| is_contract(heading, executables))
        .map(|((_, name), counts)| (name.clone(), *counts))
        .collect();
    match Contract::load(&workspace.root) {
        Ok(contract) => {
            let table = contract.table(&tests);
            report.contract = table.to_string();
            report.problems.extend(table.problems());
        }
        Err(failure) => report.problems.push(failure.to_string()),
    }
}

/// The contract once more for each place where the demos' history can be besides in memory.
fn test_histories(
    workspace: &Workspace,
    executables: &HashMap<String, String>,
    report: &mut Report,
) -> Result<(), Failure> {
    let directory = (CONTRACT_IN_DIRECTORY, "directory");
    let in_directory = test_contract_with(workspace, executables, directory, report);
    let redis = (CONTRACT_IN_REDIS, "redis");
    let in_redis = test_contract_with(workspace, executables, redis, report);
    in_directory.and(in_redis)
}

/// The tests that could tell where the history is.
fn test_contract_with(
    workspace: &Workspace,
    executables: &HashMap<String, String>,
    (part, history): (&str, &str),
    report: &mut Report,
) -> Result<(), Failure> {
    let mut command = cargo_test(workspace);
    command
        .args(["--workspace", "--all-features", "--no-fail-fast"])
        .env("FANFARE_HISTORY", history);
    for test in ["departure", "interface", "response", "resume", "shutdown"] {
        command.args(["--test", test]);
    }
    let mut reader = Reader::default();
    let outcome = run::watch(command, |line| reader.line(line));
    for (heading, counts) in reader.finish().counts {
        // Other packages have tests of the same names.
        if is_contract(&heading, executables) {
            report.add(part, counts);
        }
    }
    outcome
}

fn test_loom(workspace: &Workspace, report: &mut Report) -> Result<(), Failure> {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" --cfg loom");
    let mut command = cargo_test(workspace);
    command
        .args(["--package", "fanfare-core", "--test", "loom", "--release"])
        // A folder of its own, or the flag would throw away everything built without it.
        .arg("--target-dir")
        .arg(workspace.target.join("loom"))
        .env("RUSTFLAGS", flags);
    let mut reader = Reader::default();
    let outcome = run::watch(command, |line| reader.line(line));
    reader
        .finish()
        .counts
        .into_values()
        .for_each(|counts| report.add(LOOM, counts));
    outcome
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    // Colours would hide the lines that are counted.
    command
        .arg("test")
        .current_dir(&workspace.root)
        .env("CARGO_TERM_COLOR", "never");
    command
}

const LOOM: &str = "fanfare-core (loom)";
const CONTRACT_IN_DIRECTORY: &str = "contract (in a directory)";
const CONTRACT_IN_REDIS: &str = "contract (in Redis)";

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: Counts) -> Report {
        let parts = [("core".to_owned(), counts), ("other".to_owned(), PASSED)];
        Report {
            parts: parts.into(),
            ..Report::default()
        }
    }

    const PASSED: Counts = Counts {
        passed: 3,
        failed: 0,
        ignored: 0,
    };

    #[test]
    fn only_a_part_that_ran_and_ignored_nothing_is_good() {
        let outcome = |counts| {
            report(counts)
                .outcome()
                .map_err(|failure| failure.to_string())
        };

        assert_eq!(outcome(PASSED), Ok(()));
        assert_eq!(
            outcome(Counts::default()),
            Err("core: no test ran".to_owned())
        );
        assert_eq!(
            outcome(Counts {
                ignored: 1,
                ..PASSED
            }),
            Err("core: tests were ignored".to_owned())
        );
        assert_eq!(
            outcome(Counts {
                failed: 1,
                ..PASSED
            }),
            Err("core: tests failed".to_owned())
        );
    }

    #[test]
    fn the_closing_line_adds_the_parts_up() {
        let report = report(Counts {
            passed: 4,
            failed: 2,
            ignored: 1,
        });
        assert_eq!(report.closing_line(), "7 passed, 2 failed");
    }

    #[test]
    fn test_executables_are_told_from_others() {
        let message = |is_test: bool| {
            let text = format!(
                r#"{{"reason": "compiler-artifact", "package_id": "a#0.1.0",
                     "profile": {{"test": {is_test}}}, "executable": "/t/debug/deps/walk-1"}}"#
            );
            serde_json::from_str::<Value>(&text).expect("the sample is JSON")
        };
        let packages = [Package {
            id: "a#0.1.0".to_owned(),
            name: "a".to_owned(),
            features: Vec::new(),
            is_published: true,
            library: None,
            has_integration_tests: true,
        }];

        let found = Some(("walk-1".to_owned(), "a".to_owned()));
        assert_eq!(executable(&packages, &message(true)), found);
        assert_eq!(executable(&packages, &message(false)), None);
    }
}
