//! What `cargo metadata` says of this workspace.

use std::path::PathBuf;

use serde_json::Value;

use crate::run::{self, Failure};

/// The workspace that xtask was started in.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
    pub(crate) is_published: bool,
    /// The library's name in code, if there is a library.
    pub(crate) library: Option<String>,
    /// Whether it has files in `tests/`.
    pub(crate) has_integration_tests: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self, Failure> {
        let metadata = metadata(&["--no-deps"])?;
        let path = |key: &str| {
            let text = metadata[key].as_str();
            text.map(PathBuf::from)
                .ok_or_else(|| Failure::new(format!("metadata has no {key}")))
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            packages: array(&metadata["packages"]).iter().map(package).collect(),
        })
    }

    /// The packages that users depend on.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_published)
    }

    /// Whether a package has a feature.
    pub(crate) fn has_feature(&self, package: &str, feature: &str) -> bool {
        let mut packages = self.packages.iter();
        packages
            .find(|candidate| candidate.name == package)
            .is_some_and(|package| package.features.iter().any(|name| name == feature))
    }

    /// The frameworks that have a demo, by the names of the packages.
    pub(crate) fn demos(&self) -> Vec<&str> {
        let binaries = self.binaries();
        binaries
            .filter_map(|name| name.strip_prefix("demo-"))
            .collect()
    }

    /// The packages of servers that `cargo xtask bench` measures.
    pub(crate) fn servers_under_test(&self) -> Vec<&str> {
        let binaries = self.binaries();
        binaries
            .filter(|name| name.starts_with("bench-server-"))
            .collect()
    }

    /// Where a release build puts the binary of that name.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.target.join("release").join(file)
    }

    /// The names of the packages without a library.
    fn binaries(&self) -> impl Iterator<Item = &str> {
        let is_binary = |package: &&Package| package.library.is_none();
        self.packages
            .iter()
            .filter(is_binary)
            .map(|package| package.name.as_str())
    }
}

/// Runs `cargo metadata` with further arguments.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Value, Failure> {
    let mut command = run::cargo();
    command
        .args(["metadata", "--format-version", "1"])
        .args(arguments);
    serde_json::from_str(&run::output(&mut command)?)
        .map_err(|error| Failure::new(format!("cargo metadata did not print JSON: {error}")))
}

/// The elements of a JSON array; of anything else, none.
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A JSON string's text; of anything else, the empty text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn package(value: &Value) -> Package {
    let targets = array(&value["targets"]);
    let is_a = |target: &&Value, kind: &str| array(&target["kind"]).iter().any(|k| k == kind);
    Package {
        id: text(&value["id"]).to_owned(),
        name: text(&value["name"]).to_owned(),
        features: value["features"]
            .as_object()
            .map(|features| features.keys().cloned().collect())
            .unwrap_or_default(),
        // `publish = false` becomes an empty list of registries; no list means any registry.
        is_published: value["publish"].is_null(),
        library: targets
            .iter()
            .find(|target| is_a(target, "lib"))
            .map(|target| text(&target["name"]).replace('-', "_")),
        has_integration_tests: targets.iter().any(|target| is_a(&target, "test")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_metadata() {
        let value = serde_json::from_str(
            r#"{"id": "path+file:///a#0.1.0", "name": "fanfare-core", "publish": null,
                "features": {"json": [], "default": []},
                "targets": [{"kind": ["lib"], "name": "fanfare_core"},
                            {"kind": ["test"], "name": "walk"}]}"#,
        )
        .expect("the sample is JSON");

        let package = package(&value);

        assert_eq!(package.name, "fanfare-core");
        assert_eq!(package.features, ["default", "json"]);
        assert!(package.is_published && package.has_integration_tests);
        assert_eq!(package.library.as_deref(), Some("fanfare_core"));
    }

    #[test]
    fn demos_and_servers_are_found_by_their_names() {
        let named = |name: &str, library: Option<&str>| Package {
            id: String::new(),
            name: name.to_owned(),
            features: Vec::new(),
            is_published: false,
            library: library.map(str::to_owned),
            has_integration_tests: false,
        };
        let workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::from("target"),
            packages: vec![
                named("demo-axum", None),
                named("demo-shared", Some("demo_shared")),
                named("bench-server-axum", None),
                named("bench-server-shared", Some("bench_server_shared")),
                named("bench-server-floor", None),
                named("fanfare-bench", Some("fanfare_bench")),
            ],
        };

        assert_eq!(workspace.demos(), ["axum"]);
        assert_eq!(
            workspace.servers_under_test(),
            ["bench-server-axum", "bench-server-floor"]
        );
    }
}
