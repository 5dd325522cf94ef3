//! What a run is made on: the machine, the commit, the compiler.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use rustix::thread::{sched_getaffinity, CpuSet};

use crate::figures::{Machine, Pinned};

/// Describes this machine. What it does not tell is `unknown` or 0.
#[must_use]
pub fn describe(pinned: Option<Pinned>) -> Machine {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| {
        let kibibytes: u64 = text.trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    });
    let kernel = rustix::system::uname();
    Machine {
        processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        memory: memory.unwrap_or(0),
        kernel: format!(
            "{} {}",
            kernel.sysname().to_string_lossy(),
            kernel.release().to_string_lossy()
        ),
        pinned,
    }
}

/// The first two processors that this process may run on, if there are two.
///
/// # Errors
///
/// The system does not say.
pub fn two_processors() -> io::Result<Option<Pinned>> {
    let set = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor));
    Ok(match (processors.next(), processors.next()) {
        (Some(server), Some(load)) => Some(Pinned { server, load }),
        _ => None,
    })
}

/// Lets this process, and those that it starts, open as many files as they may. Returns how many.
///
/// # Errors
///
/// The system refuses.
pub fn raise_file_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// The commit that is checked out, if this is a repository.
#[must_use]
pub fn commit() -> Option<String> {
    output("git", &["rev-parse", "--short", "HEAD"])
}

/// The compiler's version.
#[must_use]
pub fn rustc() -> Option<String> {
    let version = output("rustc", &["--version"])?;
    version.split(' ').nth(1).map(str::to_owned)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
