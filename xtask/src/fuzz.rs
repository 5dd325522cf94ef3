//! `cargo xtask fuzz`: libFuzzer on what reads the text of strangers, on a stable compiler.
//!
//! cargo-fuzz would need nothing else, but be built first; all it does here is a few flags.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Failure};
use crate::tools;
use crate::workspace::Workspace;

/// The workspace of the targets.
const FOLDER: &str = "fuzz";

/// How long each target runs unless it is said.
const SECONDS: u64 = 60;

/// The longest input, in bytes: what there is to find needs few, and more only take time.
const MAX_INPUT: usize = 2048;

/// What instruments the code for libFuzzer. These are the flags of cargo-fuzz, less those of the
/// sanitizers, which only a nightly compiler has: there is no unsafe code here to watch.
const RUSTFLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// How long each target runs.
    pub(crate) seconds: u64,
    /// One target instead of all.
    pub(crate) target: Option<String>,
}

impl Options {
    /// Reads `[--seconds N] [TARGET]`.
    pub(crate) fn parse(arguments: &[OsString]) -> Option<Self> {
        let mut options = Self {
            seconds: SECONDS,
            target: None,
        };
        let mut words = arguments.iter().map(|word| word.to_str());
        while let Some(word) = words.next() {
            match word? {
                "--seconds" => options.seconds = words.next()??.parse().ok().filter(|&n| n > 0)?,
                flag if flag.starts_with('-') => return None,
                _ if options.target.is_some() => return None,
                target => options.target = Some(target.to_owned()),
            }
        }
        Some(options)
    }
}

/// Makes sure of what else it takes: a C++ compiler, and libFuzzer's source.
pub(crate) fn prepare(workspace: &Workspace) -> Result<(), Failure> {
    tools::cpp_compiler()?;
    run::fetch(&workspace.root.join(FOLDER))
}

/// Runs every target that was asked for, also after one with a finding.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    prepare(workspace)?;
    let fuzz = Fuzz::new(workspace)?;
    let mut targets = fuzz.targets()?;
    if let Some(chosen) = &options.target {
        if !targets.contains(chosen) {
            let names = targets.join(", ");
            return Err(Failure::new(format!("{chosen} is none of {names}")));
        }
        targets = vec![chosen.clone()];
    }
    fuzz.build()?;
    let outcomes = targets
        .iter()
        .map(|target| fuzz.run(target, options.seconds));
    let failures: Vec<_> = outcomes.filter_map(Result::err).collect();
    if failures.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = failures.iter().map(ToString::to_string).collect();
    Err(Failure::new(reasons.join("\nerror: ")))
}

/// The folders, and whom it is built for.
struct Fuzz {
    /// The workspace of the targets.
    source: PathBuf,
    /// What is built and found.
    output: PathBuf,
    host: String,
}

impl Fuzz {
    fn new(workspace: &Workspace) -> Result<Self, Failure> {
        Ok(Self {
            source: workspace.root.join(FOLDER),
            output: workspace.target.join("fuzz"),
            host: run::host()?,
        })
    }

    /// The names of the targets, in order.
    fn targets(&self) -> Result<Vec<String>, Failure> {
        let folder = self.source.join("fuzz_targets");
        let unreadable = |error| Failure::new(format!("{}: {error}", folder.display()));
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into()));
        }
        names.sort();
        Ok(names)
    }

    fn build(&self) -> Result<(), Failure> {
        run::run(
            run::cargo()
                .args(["build", "--release", "--manifest-path"])
                .arg(self.source.join("Cargo.toml"))
                // With a target, even if it is this machine, build scripts go without the flags.
                .args(["--target", &self.host, "--target-dir"])
                .arg(&self.output)
                .env("RUSTFLAGS", RUSTFLAGS.join(" ")),
        )
    }

    /// Begins with the corpus that is committed and what earlier runs have added to it.
    fn run(&self, target: &str, seconds: u64) -> Result<(), Failure> {
        let corpus = self.folder("corpus", target)?;
        let findings = self.folder("findings", target)?;
        let program = self.output.join(&self.host).join("release").join(target);
        let mut command = Command::new(program);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={MAX_INPUT}"))
            .args(["-timeout=10", "-rss_limit_mb=1024"])
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .arg(corpus)
            .arg(self.source.join("corpus").join(target));
        let said = run::standard_error(&mut command).map_err(|failure| {
            Failure::new(format!(
                "{failure}: the input is in {}; copy it to fuzz/corpus/{target}, and \
                 `cargo test -p fanfare-core --test corpus` fails until it holds",
                findings.display()
            ))
        })?;
        // `Done 12345 runs in 60 second(s)`
        let done = said.lines().rev().find(|line| line.starts_with("Done "));
        let done =
            done.ok_or_else(|| Failure::new(format!("{target} does not say what it did")))?;
        println!("{target}: {done}");
        Ok(())
    }

    fn folder(&self, kind: &str, target: &str) -> Result<PathBuf, Failure> {
        let folder = self.output.join(kind).join(target);
        let failed = |error| Failure::new(format!("{}: {error}", Path::new(&folder).display()));
        fs::create_dir_all(&folder).map_err(failed)?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_a_time_can_be_chosen() {
        let parse = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            Options::parse(&words)
        };
        let options = |seconds, target: Option<&str>| {
            let target = target.map(str::to_owned);
            Some(Options { seconds, target })
        };
        assert_eq!(parse(""), options(SECONDS, None));
        assert_eq!(parse("topics"), options(SECONDS, Some("topics")));
        assert_eq!(parse("--seconds 5"), options(5, None));
        assert_eq!(parse("topics --seconds 5"), options(5, Some("topics")));
        for line in ["--seconds", "--seconds 0", "--seconds x", "a b", "--help"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
