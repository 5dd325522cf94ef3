//! `cargo xtask ci`: all that a change must pass, each step named and timed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{self, Failure};
use crate::workspace::{self, array, text, Workspace};
use crate::{fuzz, test, tidy, tools};

/// Runs every step, also after one that failed, and prints a summary.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.run("format", || {
        run::run(cargo(workspace).args(["fmt", "--all", "--check"]))
    });
    steps.run("tidy", || tidy(workspace));
    steps.run("clippy", || clippy(workspace));
    steps.run("documentation", || documentation(workspace));
    steps.run("each feature alone", || each_feature(workspace));
    steps.run("each framework alone", || each_framework(workspace));
    steps.run("no runtime in core and tickets", || no_runtime(workspace));
    steps.run("rust-version", || rust_version(workspace));

    // What the network has to bring first: a machine without it can do all the rest.
    let cargo_deny = tools::cargo_deny(workspace);
    match run::fetch(&workspace.root).and(cargo_deny) {
        Ok(program) => steps.run(LICENCES, || licences(workspace, &program)),
        Err(reason) => steps.leave_out(LICENCES, &reason),
    }
    match fuzz::prepare(workspace) {
        Ok(()) => steps.run(FUZZ, || fuzz::run(workspace, &FUZZ_BRIEFLY)),
        Err(reason) => steps.leave_out(FUZZ, &reason),
    }

    let mut tests = None;
    steps.run("test", || {
        let report = test::report(workspace);
        println!("\n{report}");
        let outcome = report.outcome();
        tests = Some(report);
        outcome
    });

    println!("\n{steps}");
    if let Some(tests) = tests {
        println!("{}", tests.closing_line());
    }
    steps.outcome()
}

#[derive(Debug, Default)]
struct Steps(Vec<Step>);

#[derive(Debug)]
struct Step {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Passed,
    Failed,
    /// What it takes is not on this machine, and could not be installed.
    LeftOut,
}

impl Steps {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), Failure>) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = match work() {
            Ok(()) => Outcome::Passed,
            Err(failure) => {
                println!("error: {failure}");
                Outcome::Failed
            }
        };
        self.0.push(Step {
            name,
            took: start.elapsed(),
            outcome,
        });
    }

    /// For what a machine without a network cannot be asked for. The summary says so too.
    fn leave_out(&mut self, name: &'static str, reason: &Failure) {
        println!("\n==> {name}\nnot run: {reason}");
        let is_ci = env::var_os("CI").is_some_and(|value| value == "true" || value == "1");
        self.0.push(Step {
            name,
            took: Duration::ZERO,
            outcome: left_out(is_ci, has_network),
        });
    }

    fn outcome(&self) -> Result<(), Failure> {
        let failed: Vec<&str> = self
            .0
            .iter()
            .filter(|step| matches!(step.outcome, Outcome::Failed))
            .map(|step| step.name)
            .collect();
        match failed.as_slice() {
            [] => Ok(()),
            names => Err(Failure::new(format!("failed: {}", names.join(", ")))),
        }
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{:>8}  result", "step", "seconds")?;
        for Step {
            name,
            took,
            outcome,
        } in &self.0
        {
            let result = match outcome {
                Outcome::Passed => "ok",
                Outcome::Failed => "FAILED",
                Outcome::LeftOut => "NOT RUN: what it takes is missing, see above",
            };
            writeln!(f, "{name:<28}{:>8.1}  {result}", took.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Where others rely on it, a step that was left out has failed, unless there is no network.
fn left_out(is_ci: bool, has_network: impl FnOnce() -> bool) -> Outcome {
    if is_ci && has_network() {
        println!("there is a network, and with CI=true nothing may be left out");
        Outcome::Failed
    } else {
        Outcome::LeftOut
    }
}

/// Whether the registry can be reached, as far as `curl` can tell, which knows of proxies. If it cannot be
/// asked, it can.
fn has_network() -> bool {
    /// No proxy, no name, no connection, no answer in time.
    const UNREACHABLE: [i32; 4] = [5, 6, 7, 28];

    let asked = Command::new("curl")
        .args(["--silent", "--head", "--max-time", "20"])
        .arg("https://index.crates.io/config.json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let status = asked.ok().and_then(|status| status.code());
    !status.is_some_and(|status| UNREACHABLE.contains(&status))
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = run::cargo();
    command.current_dir(&workspace.root);
    command
}

fn tidy(workspace: &Workspace) -> Result<(), Failure> {
    let problems = tidy::check(&workspace.root)?;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(problems.join("\nerror: ")))
    }
}

fn clippy(workspace: &Workspace) -> Result<(), Failure> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run::run(
        cargo(workspace)
            .args(arguments)
            .args(["--", "-D", "warnings"]),
    )
}

fn documentation(workspace: &Workspace) -> Result<(), Failure> {
    let arguments = ["doc", "--workspace", "--no-deps", "--all-features"];
    run::run(
        cargo(workspace)
            .args(arguments)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Every published package must build, without a warning, with each of its features alone, with
/// none and with all: features add modules, so no two may need one another without saying so.
fn each_feature(workspace: &Workspace) -> Result<(), Failure> {
    let check = |package: &str, features: &[&str]| {
        let arguments = ["clippy", "--quiet", "--package", package];
        run::run(
            cargo(workspace)
                .args(arguments)
                .args(features)
                .args(["--", "-D", "warnings"]),
        )
    };
    for package in workspace.published() {
        check(&package.name, &["--no-default-features"])?;
        for feature in &package.features {
            check(
                &package.name,
                &["--no-default-features", "--features", feature],
            )?;
        }
        check(&package.name, &["--all-features"])?;
    }
    Ok(())
}

/// Nothing may be in the tree whose licence or origin `deny.toml` does not name.
fn licences(workspace: &Workspace, cargo_deny: &Path) -> Result<(), Failure> {
    run::run(
        Command::new(cargo_deny)
            .current_dir(&workspace.root)
            .args(["--workspace", "--offline"])
            .args(["check", "--hide-inclusion-graph"])
            .args(["licenses", "bans", "sources"]),
    )
}

/// The facade with one framework must not build another, and without any it is the core.
fn each_framework(workspace: &Workspace) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let core = dependencies(workspace, "fanfare-core", &[])?;
    let mut alone = dependencies(workspace, "fanfare", &["--no-default-features"])?;
    alone.remove("fanfare");
    if alone != core {
        let difference: Vec<&String> = alone.symmetric_difference(&core).collect();
        problems.push(format!(
            "without features, fanfare and the core differ by {difference:?}"
        ));
    }
    let frameworks = workspace.demos();
    for chosen in &frameworks {
        let features = ["--no-default-features", "--features", chosen];
        let built = dependencies(workspace, "fanfare", &features)?;
        let others = frameworks.iter().filter(|other| *other != chosen);
        for name in others.flat_map(|other| crates_of(other)) {
            if built.contains(&name) {
                problems.push(format!("with {chosen} alone, fanfare builds {name}"));
            }
        }
        if !built.contains(&format!("fanfare-{chosen}")) {
            problems.push(format!("with {chosen}, fanfare does not build for it"));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(problems.join("\nerror: ")))
    }
}

/// The crates that only a user of the framework should build. Others are built on hyper itself.
fn crates_of(framework: &str) -> Vec<String> {
    let mut names = vec![format!("fanfare-{framework}")];
    if framework != "hyper" {
        names.extend([framework.to_owned(), format!("{framework}-core")]);
    }
    names
}

/// These run on any executor, so they may depend on none.
fn no_runtime(workspace: &Workspace) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for package in ["fanfare-core", "fanfare-tickets"] {
        let built = dependencies(workspace, package, &["--all-features"])?;
        let found = RUNTIMES.iter().filter(|&&runtime| built.contains(runtime));
        problems.extend(found.map(|runtime| format!("{package} depends on {runtime}")));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(problems.join(", ")))
    }
}

/// The names of all crates that a package is built of, its own included.
fn dependencies(
    workspace: &Workspace,
    package: &str,
    features: &[&str],
) -> Result<BTreeSet<String>, Failure> {
    let tree = run::output(
        cargo(workspace)
            .args(["tree", "--package", package])
            .args(["--edges", "normal", "--prefix", "none"])
            .args(features),
    )?;
    Ok(names_in(&tree))
}

/// The names in what `cargo tree --prefix none` prints.
fn names_in(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// What a published package depends on must not ask for a newer compiler than the package does.
/// One toolchain cannot prove more than what the dependencies say of themselves.
fn rust_version(workspace: &Workspace) -> Result<(), Failure> {
    // Dependencies of other platforms never reach this compiler.
    let host = run::host()?;
    let metadata = workspace::metadata(&["--all-features", "--filter-platform", &host])?;
    let mut problems = Vec::new();
    let mut silent = BTreeSet::new();
    for package in workspace.published() {
        let findings = compare_rust_versions(&metadata, &package.id);
        problems.extend(findings.problems);
        silent.extend(findings.silent);
    }
    if !silent.is_empty() {
        let silent: Vec<String> = silent.into_iter().collect();
        println!("these state no rust-version: {}", silent.join(", "));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(problems.join("\nerror: ")))
    }
}

#[derive(Debug, Default, PartialEq)]
struct RustVersions {
    problems: Vec<String>,
    /// The dependencies that say nothing.
    silent: Vec<String>,
}

fn compare_rust_versions(metadata: &Value, root: &str) -> RustVersions {
    let packages: HashMap<&str, &Value> = array(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: HashMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let name = |id: &str| match packages.get(id) {
        Some(package) => text(&package["name"]).to_owned(),
        None => id.to_owned(),
    };
    let stated = |id: &str| {
        packages
            .get(id)
            .and_then(|package| version(&package["rust_version"]))
    };

    let mut findings = RustVersions::default();
    let Some(own) = stated(root) else {
        findings
            .problems
            .push(format!("{} states no rust-version", name(root)));
        return findings;
    };
    // What an optional package of ours asks for, only those who choose it need; it states that
    // itself, and is checked in its turn.
    let is_chosen = |id: &str| {
        array(&packages[root]["dependencies"])
            .iter()
            .filter(|d| d["optional"] == true && d["path"].is_string())
            .any(|d| text(&d["name"]) == name(id))
    };
    let chosen = packages.keys().copied().filter(|id| is_chosen(id));
    let mut seen: HashSet<&str> = chosen.chain([root]).collect();
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        match stated(id) {
            Some(version) if version > own => {
                let (package, dependency) = (name(root), name(id));
                let asked = text(&packages[id]["rust_version"]);
                findings
                    .problems
                    .push(format!("{package}: {dependency} asks for Rust {asked}"));
            }
            Some(_) => {}
            None => findings.silent.push(name(id)),
        }
        let dependencies = nodes.get(id).map_or(&[][..], |node| array(&node["deps"]));
        let normal = dependencies.iter().filter(|d| {
            array(&d["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        });
        pending.extend(normal.map(|d| text(&d["pkg"])).filter(|id| seen.insert(id)));
    }
    findings
}

/// `1.80` and `1.80.1` as numbers that compare.
fn version(value: &Value) -> Option<(u32, u32, u32)> {
    let mut parts = value.as_str()?.split('.').map(|part| part.parse().ok());
    Some((
        parts.next()??,
        parts.next()??,
        parts.next().unwrap_or(Some(0))?,
    ))
}

const LICENCES: &str = "licences and origins";
const FUZZ: &str = "fuzz";

/// Enough to see that the targets build and find nothing at once. The tests replay the corpus.
const FUZZ_BRIEFLY: fuzz::Options = fuzz::Options {
    seconds: 2,
    target: None,
};

const RUNTIMES: [&str; 6] = [
    "actix-rt",
    "async-executor",
    "async-io",
    "async-std",
    "smol",
    "tokio",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_crates_are_read_whole() {
        let tree = "a v0.1.0 (/x)\ntokio-util v0.7.0\ntokio v1.40.0\ntokio v1.40.0 (*)\n";
        let names: Vec<String> = names_in(tree).into_iter().collect();
        assert_eq!(names, ["a", "tokio", "tokio-util"]);
    }

    #[test]
    fn in_ci_nothing_is_left_out_but_for_want_of_a_network() {
        let outcome = |is_ci, has_network| {
            let mut steps = Steps::default();
            steps.0.push(Step {
                name: "fuzz",
                took: Duration::ZERO,
                outcome: left_out(is_ci, || has_network),
            });
            steps.outcome().map_err(|failure| failure.to_string())
        };
        assert_eq!(outcome(true, true), Err("failed: fuzz".to_owned()));
        assert_eq!(outcome(true, false), Ok(()));
        assert_eq!(outcome(false, true), Ok(()));
    }

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text: &str| version(&Value::from(text));
        assert!(version("1.9") < version("1.80"));
        assert!(version("1.80") < version("1.80.1"));
        assert_eq!(version("stable"), None);
    }

    #[test]
    fn only_normal_dependencies_bind_the_rust_version() {
        let metadata: Value = serde_json::from_str(
            r#"{"packages": [
                  {"id": "a", "name": "a", "rust_version": "1.80", "dependencies": [
                     {"name": "chosen", "optional": true, "path": "/chosen"},
                     {"name": "old", "optional": true}]},
                  {"id": "chosen", "name": "chosen", "rust_version": "1.90"},
                  {"id": "old", "name": "old", "rust_version": "1.56"},
                  {"id": "new", "name": "new", "rust_version": "1.85.0"},
                  {"id": "dev", "name": "dev", "rust_version": "1.90"},
                  {"id": "silent", "name": "silent", "rust_version": null}],
                "resolve": {"nodes": [
                  {"id": "a", "deps": [{"pkg": "old", "dep_kinds": [{"kind": null}]},
                                       {"pkg": "chosen", "dep_kinds": [{"kind": null}]},
                                       {"pkg": "dev", "dep_kinds": [{"kind": "dev"}]}]},
                  {"id": "old", "deps": [{"pkg": "new", "dep_kinds": [{"kind": null}]},
                                         {"pkg": "silent", "dep_kinds": [{"kind": null}]}]}]}}"#,
        )
        .expect("the sample is JSON");

        assert_eq!(
            compare_rust_versions(&metadata, "a"),
            RustVersions {
                problems: vec!["a: new asks for Rust 1.85.0".to_owned()],
                silent: vec!["silent".to_owned()],
            }
        );
        assert_eq!(
            compare_rust_versions(&metadata, "silent").problems,
            ["silent states no rust-version"]
        );
    }
}
