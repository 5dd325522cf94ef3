//! `cargo xtask bench`: the comparison of frameworks, over sockets, release build.

use std::ffi::OsString;
use std::process::Command;

use crate::run::{self, Failure};
use crate::workspace::Workspace;

/// Builds the harness and every server under test, and becomes the harness.
pub(crate) fn run(workspace: &Workspace, flags: &[OsString]) -> Result<(), Failure> {
    let flags = without_separator(flags);
    if asks_for_help(flags) {
        return help(workspace, flags);
    }
    let servers = workspace.servers_under_test();
    if servers.is_empty() {
        return Err(Failure::new(
            "the workspace has no server to measure: no package is named bench-server-*",
        ));
    }
    let mut build = run::cargo();
    build.args(["build", "--release", "--package", HARNESS]);
    for server in servers {
        build.args(["--package", server]);
    }
    run::run(&mut build)?;

    // It finds the servers beside itself.
    run::become_it(Command::new(workspace.release_binary(HARNESS)).args(flags))
}

fn asks_for_help(flags: &[OsString]) -> bool {
    flags.iter().any(|flag| flag == "--help" || flag == "-h")
}

/// The harness explains its own flags. No server is built for that, and nothing where it has been
/// built before.
fn help(workspace: &Workspace, flags: &[OsString]) -> Result<(), Failure> {
    let harness = workspace.release_binary(HARNESS);
    if harness.is_file() {
        return run::become_it(Command::new(harness).args(flags));
    }
    let mut command = run::cargo();
    command.args(["run", "--quiet", "--package", HARNESS, "--"]);
    run::become_it(command.args(flags))
}

/// The flags for the harness: `--` may stand before them.
fn without_separator(flags: &[OsString]) -> &[OsString] {
    match flags.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => flags,
    }
}

const HARNESS: &str = "fanfare-bench";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_harness_own() {
        let words =
            |line: &str| -> Vec<OsString> { line.split_whitespace().map(OsString::from).collect() };
        let check = |line, expect| assert_eq!(without_separator(&words(line)), words(expect));

        check("", "");
        check("--quick", "--quick");
        check("-- --quick --", "--quick --");
    }

    #[test]
    fn help_is_asked_for_anywhere() {
        let asks = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            asks_for_help(&words)
        };
        assert!(asks("--help") && asks("--quick -h"));
        assert!(!asks("") && !asks("--quick --scenarios help"));
    }
}
