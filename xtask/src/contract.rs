//! The contract of the integrations: `integrations/README.md` read, and held against the tests.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use crate::results::Counts;
use crate::run::Failure;

/// The package whose tests prove the contract.
pub(crate) const PACKAGE: &str = "fanfare-contract";

/// What `integrations/README.md` says.
#[derive(Debug, Default)]
pub(crate) struct Contract {
    frameworks: Vec<String>,
    requirements: Vec<Requirement>,
}

#[derive(Debug, Default, PartialEq)]
struct Requirement {
    /// With its number: `3. First byte`.
    title: String,
    tests: Vec<String>,
    /// The status table's row, a cell for each framework.
    status: Vec<String>,
}

impl Contract {
    pub(crate) fn load(root: &Path) -> Result<Self, Failure> {
        let path = root.join("integrations/README.md");
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut contract = Self::default();
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let Some(row) = line.strip_prefix("| ") else {
                continue;
            };
            let mut cells = row.trim_end_matches(" |").split(" | ").map(str::to_owned);
            let first = cells.next().unwrap_or_default();
            if first == "requirement" {
                contract.frameworks = cells.collect();
            } else {
                rows.insert(first, cells.collect());
            }
        }
        // A requirement is a section whose title has a number; a paragraph of it names its tests.
        for section in text.split("\n### ").skip(1) {
            let title = section.lines().next().unwrap_or_default().to_owned();
            if !title.starts_with(|first: char| first.is_ascii_digit()) {
                continue;
            }
            let tests = section.split_once("\nTests: ").map(|(_, tests)| tests);
            let paragraph = tests.and_then(|tests| tests.split("\n\n").next());
            let names = paragraph.unwrap_or_default().split('`').skip(1).step_by(2);
            contract.requirements.push(Requirement {
                tests: names.map(str::to_owned).collect(),
                status: rows.remove(&title).unwrap_or_default(),
                title,
            });
        }
        contract
    }

    /// How many of each requirement's tests ended how in each framework, of tests named
    /// `framework::test`.
    pub(crate) fn table(&self, tests: &BTreeMap<String, Counts>) -> Table<'_> {
        let count = |requirement: &Requirement, framework: &String| {
            let mut cell = Cell::default();
            for test in &requirement.tests {
                let name = format!("{}::{test}", framework.replace('-', "_"));
                match tests.get(&name) {
                    Some(counts) if counts.passed + counts.failed > 0 => cell.counts += *counts,
                    _ => cell.missing.push(test.clone()),
                }
            }
            cell
        };
        let rows = self.requirements.iter().map(|requirement| {
            let frameworks = self.frameworks.iter();
            frameworks.map(|name| count(requirement, name)).collect()
        });
        Table {
            contract: self,
            rows: rows.collect(),
        }
    }
}

/// The contract's tests, counted: a row for each requirement, a column for each framework.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    contract: &'a Contract,
    rows: Vec<Vec<Cell>>,
}

/// What became of a requirement's tests in one framework.
#[derive(Debug, Default)]
struct Cell {
    counts: Counts,
    /// The tests that did not run there.
    missing: Vec<String>,
}

impl Table<'_> {
    /// Where the tests do not say what the status table says: `yes` is for where all of them ran, and
    /// none failed; `yes, [but](...)` for the same, and for where some did not run; `no` for where
    /// there are none.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (requirement, row) in self.contract.requirements.iter().zip(&self.rows) {
            for (column, (framework, cell)) in self.contract.frameworks.iter().zip(row).enumerate()
            {
                let Cell { counts, missing } = cell;
                let says = requirement.status.get(column).map_or("", String::as_str);
                let is_true = match (counts.passed, counts.failed) {
                    (1.., 0) if missing.is_empty() => says.starts_with("yes"),
                    (1.., 0) => says.starts_with("yes, [but]"),
                    (0, 0) => says.starts_with("no"),
                    _ => false,
                };
                if is_true {
                    continue;
                }
                let mut problem = format!(
                    "contract, {}: the status of {framework} is `{says}`, but {} passed, {} failed",
                    requirement.title, counts.passed, counts.failed
                );
                if !missing.is_empty() {
                    problem.push_str(&format!(", and these did not run: {}", missing.join(", ")));
                }
                problems.push(problem);
            }
        }
        problems
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<28}", "contract: passed/failed")?;
        for framework in &self.contract.frameworks {
            write!(f, "{framework:>11}")?;
        }
        writeln!(f)?;
        for (requirement, row) in self.contract.requirements.iter().zip(&self.rows) {
            write!(f, "{:<28}", requirement.title)?;
            for Cell { counts, .. } in row {
                let Counts { passed, failed, .. } = counts;
                write!(f, "{:>11}", format!("{passed}/{failed}"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| requirement | axum | actix-web |
|---|---|---|
| 1. Response | yes | yes, [but](#x) |
| 2. HTTP/2 | yes | no |

### x
### 1. Response
Words with `code`.

Tests: `a`,
`b`

### 2. HTTP/2

Tests: `c`

## More

With `code`.
";

    const PASSED: Counts = Counts {
        passed: 1,
        failed: 0,
        ignored: 0,
    };

    fn results(passed: &[&str], failed: &[&str]) -> BTreeMap<String, Counts> {
        let failure = Counts {
            passed: 0,
            failed: 1,
            ignored: 0,
        };
        let passed = passed.iter().map(|&name| (name.to_owned(), PASSED));
        let failed = failed.iter().map(|&name| (name.to_owned(), failure));
        passed.chain(failed).collect()
    }

    #[test]
    fn the_page_is_read() {
        let contract = Contract::parse(PAGE);
        assert_eq!(contract.frameworks, ["axum", "actix-web"]);
        let expect = Requirement {
            title: "1. Response".to_owned(),
            tests: vec!["a".to_owned(), "b".to_owned()],
            status: vec!["yes".to_owned(), "yes, [but](#x)".to_owned()],
        };
        assert_eq!(contract.requirements[0], expect);
        assert_eq!(contract.requirements[1].tests, ["c"]);
        assert_eq!(contract.requirements.len(), 2);
    }

    #[test]
    fn the_status_must_be_what_the_tests_say() {
        let contract = Contract::parse(PAGE);
        let problems =
            |passed: &[&str], failed: &[&str]| contract.table(&results(passed, failed)).problems();
        let all = ["axum::a", "axum::b", "axum::c", "actix_web::a"];

        assert_eq!(problems(&all, &[]), [""; 0]);
        assert_eq!(
            problems(&all, &["actix_web::b"]),
            ["contract, 1. Response: the status of actix-web is `yes, [but](#x)`, but 1 passed, 1 \
              failed"]
        );
        assert_eq!(
            problems(&["axum::a", "axum::c", "actix_web::a"], &[]),
            ["contract, 1. Response: the status of axum is `yes`, but 1 passed, 0 failed, and these \
              did not run: b"]
        );
        assert_eq!(problems(&all[..2], &[]).len(), 2, "neither test nor `no`");
        let more = [&all[..], &["actix_web::c"]].concat();
        assert_eq!(problems(&more, &[]).len(), 1, "a test in spite of `no`");
    }

    #[test]
    fn the_table_counts_by_framework() {
        let contract = Contract::parse(PAGE);
        let results = results(&["axum::a", "axum::b", "axum::c"], &["actix_web::a"]);
        assert_eq!(
            contract.table(&results).to_string(),
            "contract: passed/failed            axum  actix-web
1. Response                         2/0        0/1
2. HTTP/2                           1/0        0/0
"
        );
    }

    /// The functions that take a framework's name and nothing else: the contract's tests.
    fn test_functions(root: &Path) -> Vec<String> {
        let folder = fs::read_dir(root.join("integrations/contract/tests"));
        let mut names = Vec::new();
        for entry in folder.expect("the contract has tests") {
            let path = entry.expect("the folder can be read").path();
            let text = fs::read_to_string(path).expect("a test is text");
            for line in text.lines() {
                let name = line
                    .strip_prefix("fn ")
                    .and_then(|rest| rest.strip_suffix("(framework: &str) {"));
                names.extend(name.map(str::to_owned));
            }
        }
        names
    }

    #[test]
    fn every_framework_has_a_column() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let harness = fs::read_to_string(root.join("integrations/contract/src/lib.rs"));
        let harness = harness.expect("the contract has a harness");
        // `each_framework!(@ actix_web "actix-web" ...`, the call for one framework.
        let calls = harness.split("$crate::each_framework!(@ ").skip(1);
        let mut frameworks: Vec<_> = calls.filter_map(|call| call.split('"').nth(1)).collect();
        let contract = Contract::load(&root).expect("the contract can be read");
        let mut columns = contract.frameworks;
        // Some are called for again where not every framework has what is tested.
        frameworks.sort_unstable();
        frameworks.dedup();
        columns.sort();
        assert_eq!(columns, frameworks);
    }

    #[test]
    fn each_test_of_the_contract_is_named_by_one_requirement() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let contract = Contract::load(&root).expect("the contract can be read");
        let mut named: Vec<String> = Vec::new();
        for (index, requirement) in contract.requirements.iter().enumerate() {
            let title = &requirement.title;
            assert!(title.starts_with(&format!("{}. ", index + 1)), "{title}");
            let columns = contract.frameworks.len();
            assert_eq!(requirement.status.len(), columns, "{title}: its status");
            named.extend_from_slice(&requirement.tests);
        }
        let mut tests = test_functions(&root);
        assert!(!tests.is_empty());
        named.sort();
        tests.sort();
        assert_eq!(named, tests);
    }
}
