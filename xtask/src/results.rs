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
    counts: BTreeMap<Heading, Counts>,
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
            self.counts.entry(heading.clone()).or_default();
            self.heading = Some(heading);
            self.is_open = true;
        } else if let (Some(counts), Some(heading)) = (result(line), &self.heading) {
            *self.counts.entry(heading.clone()).or_default() += counts;
            self.is_open = false;
        }
    }

    pub(crate) fn finish(mut self) -> BTreeMap<Heading, Counts> {
        self.close();
        self.counts
    }

    /// A test executable that never printed its result crashed: that is one failure.
    fn close(&mut self) {
        if let (true, Some(heading)) = (self.is_open, &self.heading) {
            self.counts.entry(heading.clone()).or_default().failed += 1;
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
        reader.finish().into_iter().collect()
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
