//! `cargo xtask demo`: the demo of one framework, release build.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use crate::run::{self, Failure};
use crate::workspace::Workspace;

/// Builds the demo and becomes it.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<(), Failure> {
    let (framework, flags) = split(arguments);
    let framework = framework.to_string_lossy();
    let demos = workspace.demos();
    if !demos.contains(&&*framework) {
        let known = demos.join(", ");
        return Err(Failure::new(format!(
            "no demo for `{framework}`; there is one for: {known}"
        )));
    }

    let package = format!("demo-{framework}");
    let mut build = run::cargo();
    build.args(["build", "--release", "--package", &package]);
    // Who does not ask for it does not wait for it to be built.
    for (flag, feature) in FEATURES {
        if flags.iter().any(|given| is_flag(given, flag))
            && workspace.has_feature(&package, feature)
        {
            build.args(["--features", feature]);
        }
    }
    run::run(&mut build)?;

    run::become_it(Command::new(workspace.release_binary(&package)).args(flags))
}

/// The flags that need more to be built than the demo does without them.
const FEATURES: [(&str, &str); 3] = [
    ("--tls", "tls"),
    ("--data-dir", "data-dir"),
    ("--redis", "redis"),
];

/// Whether a word is this flag, alone or with its value.
fn is_flag(given: &OsStr, flag: &str) -> bool {
    let given = given.to_string_lossy();
    given.split('=').next() == Some(flag)
}

/// The framework, and the flags for its demo: a first word that is no flag names the framework,
/// and `--` may stand before the flags.
fn split(arguments: &[OsString]) -> (OsString, &[OsString]) {
    let (framework, flags) = match arguments.split_first() {
        Some((first, rest)) if !first.to_string_lossy().starts_with('-') => (first.clone(), rest),
        _ => (OsString::from(DEFAULT_FRAMEWORK), arguments),
    };
    match flags.split_first() {
        Some((first, rest)) if first == "--" => (framework, rest),
        _ => (framework, flags),
    }
}

const DEFAULT_FRAMEWORK: &str = "axum";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, framework: &str, flags: &[&str]) {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let flags: Vec<OsString> = flags.iter().map(OsString::from).collect();
        assert_eq!(
            split(&arguments),
            (framework.into(), flags.as_slice()),
            "{line}"
        );
    }

    #[test]
    fn framework_and_flags_are_told_apart() {
        check("", "axum", &[]);
        check("--port 4000", "axum", &["--port", "4000"]);
        check("-- --port 4000", "axum", &["--port", "4000"]);
        check("actix-web", "actix-web", &[]);
        check("actix-web --port 4000", "actix-web", &["--port", "4000"]);
        check("warp -- --tls --", "warp", &["--tls", "--"]);
    }
}
