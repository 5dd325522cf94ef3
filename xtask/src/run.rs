//! Starting other programs, and what can be said when one fails.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Why a command of xtask did not succeed, in words for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The cargo that runs xtask, so that a `+toolchain` holds for what xtask starts too.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Makes sure of every crate that a workspace may need, whatever the platform.
pub(crate) fn fetch(workspace: &Path) -> Result<(), Failure> {
    run(cargo().arg("fetch").current_dir(workspace))
}

/// Runs a command, its output going where xtask's own goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    announce(command);
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "`{}` ended with {status}",
            shown(command)
        )))
    }
}

/// Runs a command and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::new(format!(
            "`{}` ended with {}",
            shown(command),
            output.status
        )))
    }
}

/// Runs a command that says much on standard error: shown if it fails, else returned.
pub(crate) fn standard_error(command: &mut Command) -> Result<String, Failure> {
    announce(command);
    let output = command
        .output()
        .map_err(|error| not_started(command, &error))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        eprint!("{said}");
        Err(Failure::new(format!(
            "`{}` ended with {}",
            shown(command),
            output.status
        )))
    }
}

/// Runs a command, passing its output on line by line and showing each line to `look` as well.
///
/// Standard output and standard error share one pipe, so that lines keep the order in which they
/// were written.
pub(crate) fn watch(mut command: Command, mut look: impl FnMut(&str)) -> Result<(), Failure> {
    announce(&command);
    let broken = |error: io::Error| Failure::new(format!("reading a command's output: {error}"));
    let (reader, writer) = io::pipe().map_err(broken)?;
    command
        .stdout(writer.try_clone().map_err(broken)?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .map_err(|error| not_started(&command, &error))?;
    let name = shown(&command);
    // It holds the pipe's writing end; the reader below would wait for it forever.
    drop(command);

    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(broken)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        look(text.trim_end());
        line.clear();
    }
    let status = child.wait().map_err(broken)?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{name}` ended with {status}")))
    }
}

/// Takes this process's place, so that signals and the exit status need no passing on.
#[cfg(unix)]
pub(crate) fn become_it(command: &mut Command) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt;

    let error = command.exec();
    Err(not_started(command, &error))
}

#[cfg(not(unix))]
pub(crate) fn become_it(command: &mut Command) -> Result<(), Failure> {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => Err(not_started(command, &error)),
    }
}

/// The machine that this is, as compilers name it.
pub(crate) fn host() -> Result<String, Failure> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let mut lines = rustc.lines();
    lines
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc does not say what machine this is"))
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
}

/// The command as one would type it: the variables it sets, the program's name, the arguments.
fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)))
        .map(|(name, value)| format!("{}={:?}", name.to_string_lossy(), value));
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    variables
        .chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn not_started(command: &Command, error: &io::Error) -> Failure {
    Failure::new(format!(
        "`{}` could not be started: {error}",
        shown(command)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_command_shows_both_outputs_in_order() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);

        let mut lines = Vec::new();
        let outcome = watch(shell, |line| lines.push(line.to_owned()));

        assert_eq!(lines, ["one", "two", "three"]);
        assert!(outcome.is_err_and(|failure| failure.to_string().contains("exit status: 3")));
    }
}
