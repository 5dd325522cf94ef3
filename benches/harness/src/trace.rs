//! System calls, counted by `strace`.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};

use crate::load::Failure;

/// A process whose system calls are being counted. It is slow meanwhile.
#[derive(Debug)]
pub struct Trace {
    strace: Child,
    /// What strace says: first that it is attached, at the end the counts.
    words: BufReader<ChildStderr>,
}

/// Whether system calls can be counted here: strace may be missing, or may not be allowed to.
///
/// # Errors
///
/// Why not.
pub fn is_available() -> Result<(), Failure> {
    // It waits for input, as a server does.
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let traced = Trace::of(child.id());
    drop(child.stdin.take());
    child.wait()?;
    traced.map(drop)
}

impl Trace {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// strace cannot be started, or may not trace the process.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let mut strace = Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Server(format!("strace: {error}")))?;
        let Some(stderr) = strace.stderr.take() else {
            return Err(Failure::Server("strace has no output".to_owned()));
        };
        let mut trace = Self {
            strace,
            words: BufReader::new(stderr),
        };
        let mut line = String::new();
        trace.words.read_line(&mut line)?;
        if !line.contains("attached") {
            return Err(Failure::Server(line.trim().to_owned()));
        }
        Ok(trace)
    }

    /// How many calls there were until now.
    ///
    /// # Errors
    ///
    /// strace does not say.
    pub fn count(mut self) -> Result<u64, Failure> {
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::Server("strace has no process id".to_owned()))?;
        kill_process(pid, Signal::INT).map_err(std::io::Error::from)?;
        let mut lines = Vec::new();
        for line in self.words.by_ref().lines() {
            lines.push(line?);
        }
        parse_total(&lines.join("\n"))
            .ok_or_else(|| Failure::Server("strace has counted nothing".to_owned()))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It has ended if it has been asked to; if not, the process under test must not stay slow.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The calls in the line of totals: percent, seconds, microseconds per call, calls, errors if any.
fn parse_total(summary: &str) -> Option<u64> {
    let total = summary.lines().rfind(|line| line.ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 99.00    0.000099           1        28           write
  1.00    0.000001           1         1         1 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.000100           3        29         1 total
";
        assert_eq!(parse_total(summary), Some(29));
        assert_eq!(parse_total(""), None);
    }
}
