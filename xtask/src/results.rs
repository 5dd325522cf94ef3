//! Counting tests by reading what `cargo test` prints.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Adds up result lines under the headings they stand below.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    heading: Option<Heading>,
    /// Whether the current heading still waits for its result line.
    is_open: bool,
    results: Results,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By what cargo tested.
    pub(crate) counts: BTreeMap<Heading, Counts>,
    /// The same for each single test of the executables, by its name.
    pub(crate) tests: BTreeMap<(Heading, String), Counts>,
}

/// What cargo says it is about to test.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Heading {
    /// A test executable, by its file's name, which is unique.
    Executable(String),
    /// A library's documentation, by the library's name in code.
    Documentation(String),
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(heading) = heading(line) {
            self.close();
            self.results.counts.entry(heading.clone()).or_default();
            self.heading = Some(heading);
            self.is_open = true;
        } else if let (Some(counts), Some(heading)) = (result(line), &self.heading) {
            *self.results.counts.entry(heading.clone()).or_default() += counts;
            self.is_open = false;
        } else if let (Some((name, counts)), Some(heading)) = (single(line), &self.heading) {
            let test = (heading.clone(), name.to_owned());
            *self.results.tests.entry(test).or_default() += counts;
        }
    }

    pub(crate) fn finish(mut self) -> Results {
        self.close();
        self.results
    }

    /// A test executable that never printed its result crashed: that is one failure.
    fn close(&mut self) {
        if let (true, Some(heading)) = (self.is_open, &self.heading) {
            let counts = self.results.counts.entry(heading.clone()).or_default();
            counts.failed += 1;
        }
        self.is_open = false;
    }
}

/// Reads `Running tests/walk.rs (target/debug/deps/walk-0123abcd)` and `Doc-tests fanfare_core`.
fn heading(line: &str) -> Option<Heading> {
    let line = line.trim();
    if let Some(library) = line.strip_prefix("Doc-tests ") {
        return Some(Heading::Documentation(library.to_owned()));
    }
    let (_, path) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once('(')?;
    Some(Heading::Executable(file_name(path).to_owned()))
}

/// Reads `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`.
fn result(line: &str) -> Option<Counts> {
    let (_, numbers) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |what: &str| {
        let fields = numbers.split(';').map(str::trim);
        fields
            .filter_map(|field| field.strip_suffix(what))
            .find_map(|n| n.trim().parse().ok())
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored")?,
    })
}

/// Reads `test axum::one_event_is_one_chunk ... ok`.
fn single(line: &str) -> Option<(&str, Counts)> {
    let (name, outcome) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
    let mut counts = Counts::default();
    match outcome.split([' ', ',']).next()? {
        "ok" => counts.passed = 1,
        "FAILED" => counts.failed = 1,
        "ignored" => counts.ignored = 1,
        _ => return None,
    }
    Some((name, counts))
}

/// A path's last component, whichever way its slashes lean.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Vec<(Heading, Counts)> {
        let mut reader = Reader::default();
        output.lines().for_each(|line| reader.line(line));
        reader.finish().counts.into_iter().collect()
    }

    fn counts(passed: u64, failed: u64, ignored: u64) -> Counts {
        Counts {
            passed,
            failed,
            ignored,
        }
    }

    #[test]
    fn results_are_added_up_below_their_headings() {
        let output = "
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.10s
     Running unittests src/lib.rs (target/debug/deps/fanfare_core-0a1b)

running 2 tests
test encode::tests::a ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/walk.rs (target/debug/deps/walk-2c3d)
test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.20s
   Doc-tests fanfare_core
test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(
            read(output),
            [
                (
                    Heading::Executable("fanfare_core-0a1b".to_owned()),
                    counts(2, 0, 0)
                ),
                (Heading::Executable("walk-2c3d".to_owned()), counts(3, 1, 2)),
                (
                    Heading::Documentation("fanfare_core".to_owned()),
                    counts(5, 0, 0)
                ),
            ]
        );
    }

    #[test]
    fn an_executable_without_a_result_counts_as_failed() {
        let output = "
     Running tests/crash.rs (target/debug/deps/crash-1)
running 1 test
     Running tests/last.rs (target/debug/deps/last-2)
running 1 test";
        assert_eq!(
            read(output),
            [
                (Heading::Executable("crash-1".to_owned()), counts(0, 1, 0)),
                (Heading::Executable("last-2".to_owned()), counts(0, 1, 0)),
            ]
        );
    }

    #[test]
    fn single_tests_are_counted_by_name() {
        let output = "
     Running tests/resume.rs (target/debug/deps/resume-1)
test axum::a ... ok
test axum::b has been running for over 60 seconds
test axum::b ... FAILED
test rocket::a ... ignored, not there yet
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out";
        let mut reader = Reader::default();
        output.lines().for_each(|line| reader.line(line));
        let heading = Heading::Executable("resume-1".to_owned());
        let test = |name: &str| (heading.clone(), name.to_owned());
        let expect = [
            (test("axum::a"), counts(1, 0, 0)),
            (test("axum::b"), counts(0, 1, 0)),
            (test("rocket::a"), counts(0, 0, 1)),
        ];
        assert_eq!(reader.finish().tests, expect.into());
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in [
            "",
            "running 3 tests",
            "Running",
            "test result: ok",
            "test result: ok. x",
        ] {
            assert_eq!((heading(line), result(line)), (None, None), "{line}");
        }
    }
}
