//! The project's own commands: `cargo xtask demo | test | tools | bench | fuzz | ci`.
//!
//! This file only parses and dispatches; each command is a file of its own.

mod bench;
mod ci;
mod contract;
mod demo;
mod fuzz;
mod results;
mod run;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use run::Failure;
use workspace::Workspace;

fn main() -> ExitCode {
    env::set_var("PATH", tools::search_path());
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = match parse(&arguments) {
        Some(Request::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Some(Request::Demo(arguments)) => Workspace::load().and_then(|w| demo::run(&w, arguments)),
        Some(Request::Test) => Workspace::load().and_then(|w| test::run(&w)),
        Some(Request::Tools) => Workspace::load().and_then(|w| tools::run(&w)),
        Some(Request::Bench(flags)) => Workspace::load().and_then(|w| bench::run(&w, flags)),
        Some(Request::Fuzz(options)) => Workspace::load().and_then(|w| fuzz::run(&w, &options)),
        Some(Request::Ci) => Workspace::load().and_then(|w| ci::run(&w)),
        None => Err(Failure::new(format!(
            "this is not a command of cargo xtask\n\n{HELP}"
        ))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
enum Request<'a> {
    Help,
    Demo(&'a [OsString]),
    Test,
    Tools,
    Bench(&'a [OsString]),
    Fuzz(fuzz::Options),
    Ci,
}

fn parse(arguments: &[OsString]) -> Option<Request<'_>> {
    let Some((command, rest)) = arguments.split_first() else {
        return Some(Request::Help);
    };
    match (command.to_str()?, rest) {
        ("help" | "--help" | "-h", []) => Some(Request::Help),
        ("demo", rest) => Some(Request::Demo(rest)),
        ("test", []) => Some(Request::Test),
        ("tools", []) => Some(Request::Tools),
        ("bench", rest) => Some(Request::Bench(rest)),
        ("fuzz", rest) => fuzz::Options::parse(rest).map(Request::Fuzz),
        ("ci", []) => Some(Request::Ci),
        _ => None,
    }
}

const HELP: &str = "\
cargo xtask demo [FRAMEWORK] [FLAGS]  run the demo, release build; FRAMEWORK is axum unless named,
                                      FLAGS are the demo's own (--port 4000, --history 5000, ...)
cargo xtask test                      every test: unit, doc, loom, sockets, clients and a real browser
cargo xtask tools                     install what the tests use and cargo does not build: Chromium,
                                      curl, nginx, Node, Python, Redis, clients from npm and PyPI (test
                                      does so too)
cargo xtask bench [FLAGS]             measure every framework beside its own way, and write
                                      target/bench/report.html; --quick takes 3 minutes, all of it
                                      40; --compare OLD.json says what changed; --help: the rest
cargo xtask fuzz [--seconds N] [TARGET]
                                      look for input that breaks what reads the text of strangers, for
                                      60 seconds a target; fuzz/fuzz_targets has their names
cargo xtask ci                        all that a change must pass, the tests included
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let demo = words("demo axum --port 0");

        assert_eq!(parse(&[]), Some(Request::Help));
        assert_eq!(parse(&demo), Some(Request::Demo(&demo[1..])));
        assert_eq!(parse(&words("test")), Some(Request::Test));
        assert_eq!(parse(&words("tools")), Some(Request::Tools));
        assert_eq!(parse(&words("ci")), Some(Request::Ci));
        let bench = words("bench --quick");
        assert_eq!(parse(&bench), Some(Request::Bench(&bench[1..])));
        assert!(matches!(
            parse(&words("fuzz topics")),
            Some(Request::Fuzz(_))
        ));
        assert_eq!(parse(&words("fuzz --fast")), None);
        assert_eq!(parse(&words("ci --fast")), None);
        assert_eq!(parse(&words("deploy")), None);
    }
}
