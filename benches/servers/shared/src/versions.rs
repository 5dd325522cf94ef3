//! [`about`]: the versions of what a server was built of, from the workspace's lock file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

const LOCK: &str = include_str!("../../../../Cargo.lock");

/// The answer to `GET /about`: the versions of `names` among what `package` depends on.
#[must_use]
pub fn about(package: &str, names: &[&str]) -> String {
    json!({ "versions": versions(LOCK, package, names) }).to_string()
}

/// Several versions of one crate may be locked: what counts is what `package` leads to. The nearest
/// is listed.
fn versions<'a>(lock: &'a str, package: &'a str, names: &[&str]) -> BTreeMap<&'a str, &'a str> {
    let locked: Vec<Locked<'_>> = lock.split("[[package]]").filter_map(Locked::read).collect();
    let mut by_name: HashMap<&str, Vec<&Locked<'_>>> = HashMap::new();
    for one in &locked {
        by_name.entry(one.name).or_default().push(one);
    }
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut next = vec![package];
    while !next.is_empty() {
        let mut behind = Vec::new();
        for dependency in next {
            // The version is given where the name alone would not tell.
            let (name, version) = dependency.split_once(' ').unwrap_or((dependency, ""));
            let mut candidates = by_name.get(name).into_iter().flatten();
            let wanted = |one: &&&Locked<'_>| version.is_empty() || one.version == version;
            let Some(one) = candidates.find(wanted) else {
                continue;
            };
            if seen.insert((one.name, one.version)) {
                if names.contains(&one.name) {
                    found.entry(one.name).or_insert(one.version);
                }
                behind.extend(&one.dependencies);
            }
        }
        next = behind;
    }
    found
}

/// A package of the lock file.
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    dependencies: Vec<&'a str>,
}

impl<'a> Locked<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
                .map(|value| value.trim_matches('"'))
        };
        let dependencies = text
            .lines()
            .filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
            .collect();
        Some(Self {
            name: value("name")?,
            version: value("version")?,
            dependencies,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_versions_the_one_that_is_used_is_told() {
        let lock = r#"
[[package]]
name = "app"
version = "0.1.0"
dependencies = [
 "framework",
]

[[package]]
name = "framework"
version = "5.0.0"
dependencies = [
 "http 1.2.0",
]

[[package]]
name = "http"
version = "0.2.0"

[[package]]
name = "http"
version = "1.2.0"
"#;
        let found = versions(lock, "app", &["framework", "http", "unrelated"]);
        assert_eq!(found, [("framework", "5.0.0"), ("http", "1.2.0")].into());
    }

    #[test]
    fn the_lock_of_this_workspace_is_read() {
        let found = versions(LOCK, env!("CARGO_PKG_NAME"), &["fanfare", "tokio"]);
        assert_eq!(found["fanfare"], env!("CARGO_PKG_VERSION"));
        assert!(found["tokio"].starts_with("1."), "{found:?}");
    }
}
