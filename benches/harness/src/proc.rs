//! What Linux tells of a process, below `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// Processor time that a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it, to the nanosecond; of threads that have ended it is not counted.
    pub total: Duration,
    /// The user part, in ticks. It is sampled, so it is good for a share and no more.
    pub user_ticks: u64,
    /// The system part, in ticks.
    pub system_ticks: u64,
}

impl Cpu {
    /// Of a process so far.
    ///
    /// # Errors
    ///
    /// The process is gone, or this is not Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end while we look.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                total += parse_schedstat(&text).ok_or_else(|| unexpected("schedstat"))?;
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (user_ticks, system_ticks) = parse_stat(&stat).ok_or_else(|| unexpected("stat"))?;
        Ok(Self {
            total,
            user_ticks,
            system_ticks,
        })
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// This and what was used at another time.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            total: self.total + other.total,
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
        }
    }

    /// The user's share of the time; `None` if there were too few ticks to tell.
    #[must_use]
    pub fn user_share(&self) -> Option<f64> {
        const ENOUGH: u64 = 20;
        let ticks = self.user_ticks + self.system_ticks;
        (ticks >= ENOUGH).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What is resident.
    pub resident: u64,
    /// The most that was.
    pub peak: u64,
}

impl Memory {
    /// Of a process now.
    ///
    /// # Errors
    ///
    /// The process is gone, or this is not Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        parse_status(&status).ok_or_else(|| unexpected("status"))
    }
}

fn unexpected(file: &str) -> io::Error {
    let text = format!("/proc/PID/{file} has another form than expected");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// `utime` and `stime`. The name of the program, in parentheses, may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The first number: time on a processor, in nanoseconds.
fn parse_schedstat(text: &str) -> Option<Duration> {
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn parse_status(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Memory {
        resident: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_any_name() {
        let text = "71 (a) b (c) S 1 71 71 0 -1 4194304 93 0 0 0 17 29 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(text), Some((17, 29)));
        assert_eq!(parse_stat("71 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn schedstat_is_in_nanoseconds() {
        let second = Duration::from_nanos(1_021_194_425);
        assert_eq!(parse_schedstat("1021194425 71300 23\n"), Some(second));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn status_is_in_kibibytes() {
        let text = "Name:\tcat\nVmPeak:\t  9000 kB\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let memory = Memory {
            resident: 1000 * 1024,
            peak: 2000 * 1024,
        };
        assert_eq!(parse_status(text), Some(memory));
        assert_eq!(parse_status("Name:\tcat\n"), None);
    }

    #[test]
    fn this_process_has_both() {
        let pid = std::process::id();
        let memory = Memory::of(pid).expect("this is Linux");
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert!(Cpu::of(pid).is_ok());
    }

    #[test]
    fn a_share_needs_ticks() {
        let cpu = |user_ticks, system_ticks| Cpu {
            total: Duration::ZERO,
            user_ticks,
            system_ticks,
        };
        assert_eq!(cpu(5, 5).user_share(), None);
        assert_eq!(cpu(10, 30).user_share(), Some(0.25));
    }
}
