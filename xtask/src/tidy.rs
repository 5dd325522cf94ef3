//! The house rules that no other tool checks.
//!
//! Every Rust file opens with a `//!` line, relative links in Markdown lead somewhere, no line ends
//! in white space, no large file slips in, and the list of threats names tests that there are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Failure;

/// Every breach of the rules below `root`, as `path:line: what`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    let mut code = String::new();
    let mut threats = Vec::new();
    for path in files(root)? {
        let shown = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = fs::read(&path).map_err(|error| Failure::new(format!("{shown}: {error}")))?;
        let text = String::from_utf8_lossy(&bytes);
        if path.extension() == Some(OsStr::new("rs")) {
            code.push_str(&text);
        } else if shown == THREATS {
            threats = tests_against_threats(&text);
        }
        let complaints = check_file(&path, &bytes, &|target: &Path| target.exists());
        problems.extend(
            complaints
                .into_iter()
                .map(|complaint| format!("{shown}:{complaint}")),
        );
    }
    if threats.is_empty() {
        problems.push(format!("{THREATS}:1: names no test against a threat"));
    }
    for (line, test) in threats {
        if !code.contains(&format!("fn {test}(")) {
            problems.push(format!("{THREATS}:{line}: `{test}` is no test"));
        }
    }
    Ok(problems)
}

/// The names of tests in the table of threats, with their line numbers.
fn tests_against_threats(markdown: &str) -> Vec<(usize, String)> {
    let lines = markdown.lines().enumerate();
    let section = lines
        .skip_while(|(_, line)| *line != "## Threats")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('#'));
    // The last column, and in it what stands between backticks.
    let cells = section.filter_map(|(index, line)| {
        let row = line.trim_end().strip_prefix('|')?.strip_suffix('|')?;
        Some((index + 1, row.rsplit('|').next()?))
    });
    cells
        .flat_map(|(line, cell)| {
            let names = cell.split('`').skip(1).step_by(2);
            names.map(move |name| (line, name.to_owned()))
        })
        .collect()
}

/// The files that belong to the project, in order: not those that builds and tools leave behind.
fn files(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |error| Failure::new(format!("{}: {error}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_file() {
                files.push(entry.path());
            } else if kind.is_dir()
                && !SKIPPED_FOLDERS.contains(&&*entry.file_name().to_string_lossy())
            {
                folders.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn check_file(path: &Path, bytes: &[u8], exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let mut complaints = Vec::new();
    if bytes.len() > MAX_BYTES && !LARGE_EXTENSIONS.contains(&extension) {
        complaints.push(format!("1: larger than {} kB", MAX_BYTES / 1000));
    }
    // Only text has lines.
    let Ok(text) = str::from_utf8(bytes) else {
        return complaints;
    };
    if extension == "rs" && !text.starts_with("//!") {
        complaints.push("1: does not open with a `//!` line that says what the file is".to_owned());
    }
    if extension == "md" {
        let folder = path.parent().unwrap_or(Path::new(""));
        for (line, target) in relative_links(text) {
            if !exists(&folder.join(target)) {
                complaints.push(format!("{line}: link to `{target}` leads nowhere"));
            }
        }
    }
    for (index, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            complaints.push(format!("{}: white space at the end of the line", index + 1));
        }
    }
    complaints
}

/// The targets of links to other files, with their line numbers: `[text](target)` and
/// `[label]: target`, outside code, without the fragment.
fn relative_links(markdown: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code_block = false;
    for (index, line) in markdown.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            in_code_block = !in_code_block;
        } else if !in_code_block {
            // Between backticks stands code: every second piece.
            let inline = line.split('`').step_by(2).flat_map(inline_targets);
            let label = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "));
            let targets = inline
                .chain(label.map(|(_, target)| target))
                .filter_map(file_of);
            links.extend(targets.map(|target| (index + 1, target)));
        }
    }
    links
}

fn inline_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

/// The file that a link's target names, unless it lies elsewhere on the web or on the same page.
fn file_of(target: &str) -> Option<&str> {
    // A title may follow the target.
    let target = target.split_whitespace().next()?;
    let file = target.split('#').next().filter(|file| !file.is_empty())?;
    let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
    (!is_elsewhere).then_some(file)
}

const THREATS: &str = "ARCHITECTURE.md";
const MAX_BYTES: usize = 200_000;
const LARGE_EXTENSIONS: [&str; 8] = ["avif", "gif", "ico", "jpeg", "jpg", "lock", "png", "webp"];
/// What others wrote, and what libFuzzer did.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "corpus", "node_modules", "target"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expect: &[&str]) {
        let exists = |target: &Path| target == Path::new("docs/there.md");
        assert_eq!(
            check_file(&Path::new("docs").join(name), text.as_bytes(), &exists),
            expect
        );
    }

    #[test]
    fn rust_files_open_with_their_purpose() {
        check("a.rs", "//! Adds.\n", &[]);
        let complaint = "1: does not open with a `//!` line that says what the file is";
        check("a.rs", "fn main() {}\n", &[complaint]);
        check("a.rs", "", &[complaint]);
    }

    #[test]
    fn white_space_at_line_ends_is_found() {
        check(
            "a.toml",
            "a = 1 \n\nb = 2\t\nc = 3\n",
            &[
                "1: white space at the end of the line",
                "3: white space at the end of the line",
            ],
        );
    }

    #[test]
    fn links_must_lead_somewhere() {
        check(
            "a.md",
            "[a](there.md) [b](there.md#part \"title\") ![c](gone.png)\n",
            &["1: link to `gone.png` leads nowhere"],
        );
        check(
            "a.md",
            "[label]: gone.md\n",
            &["1: link to `gone.md` leads nowhere"],
        );
        check(
            "a.md",
            "[a](https://example.org/x) [b](#here) [c](mailto:a@example.org)\n",
            &[],
        );
        check("a.md", "`[a](gone.md)`\n```text\n[a](gone.md)\n```\n", &[]);
    }

    #[test]
    fn only_pictures_and_locks_may_be_large() {
        let large = "x".repeat(MAX_BYTES + 1);
        check("a.json", &large, &["1: larger than 200 kB"]);
        check("Cargo.lock", &large, &[]);
    }

    #[test]
    fn the_tests_against_threats_are_those_of_the_last_column() {
        let markdown = "| `no` |\n## Threats\n\n| who | `what` | tests |\n|---|---|---|\n\
                        | a | `no_test` | `one`, `two` |\n### Fuzzing\n| a | `no` |\n";
        let expect = [(6, "one".to_owned()), (6, "two".to_owned())];
        assert_eq!(tests_against_threats(markdown), expect);
    }

    #[test]
    fn this_project_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let problems = super::check(&root).expect("the project can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
