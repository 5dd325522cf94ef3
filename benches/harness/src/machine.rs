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

/// Two processors that this process may run on, of two cores if possible; `None` if there is but one.
///
/// # Errors
///
/// The system does not say.
pub fn two_processors() -> io::Result<Option<Pinned>> {
    let set = sched_getaffinity(None)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&processor| set.is_set(processor))
        .collect();
    Ok(choose(&processors, siblings))
}

/// The first, and the first of another core, or else the second.
fn choose(processors: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Option<Pinned> {
    let (&server, others) = processors.split_first()?;
    let of_its_core = siblings(server);
    let apart = others.iter().find(|other| !of_its_core.contains(other));
    let load = *apart.or(others.first())?;
    Some(Pinned {
        server,
        load,
        share_a_core: apart.is_none(),
    })
}

/// The processors that are threads of the same core. Where the system does not say it is alone.
fn siblings(processor: usize) -> Vec<usize> {
    let file = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
    parse_list(&fs::read_to_string(file).unwrap_or_default())
}

/// A list as Linux writes one: `0,4` or `0-1`.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let ranges = text.trim().split(',').filter_map(range);
    ranges.flatten().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(processors: &[usize], siblings: &str) -> Option<(usize, usize, bool)> {
        let pinned = choose(processors, |_| parse_list(siblings))?;
        Some((pinned.server, pinned.load, pinned.share_a_core))
    }

    #[test]
    fn server_and_load_are_on_two_cores_if_there_are_two() {
        assert_eq!(chosen(&[0, 1, 2, 3], "0-1\n"), Some((0, 2, false)));
        assert_eq!(chosen(&[0, 1, 2, 3], "0,2\n"), Some((0, 1, false)));
        assert_eq!(chosen(&[4, 6], ""), Some((4, 6, false)));
        assert_eq!(chosen(&[0, 1], "0-1\n"), Some((0, 1, true)));
        assert_eq!(chosen(&[3], "3\n"), None);
        assert_eq!(chosen(&[], ""), None);
    }
}
