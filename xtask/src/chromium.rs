//! Chromium and its driver, for the tests in a real browser.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{self, Failure};

/// Makes sure that both programs are there, installing Debian's packages where that is allowed.
pub(crate) fn ensure() -> Result<(), Failure> {
    if is_present() {
        return Ok(());
    }
    if let Some(prefix) = privilege().filter(|_| in_path("apt-get")) {
        run::run(&mut apt_get(prefix, &["update"]))?;
        let packages = ["install", "--yes", "--no-install-recommends", "chromium"];
        run::run(apt_get(prefix, &packages).arg("chromium-driver"))?;
        if is_present() {
            return Ok(());
        }
    }
    Err(Failure::new(
        "the browser tests need `chromium` and `chromedriver` in PATH; on Debian:\n    \
         sudo apt-get install chromium chromium-driver",
    ))
}

fn is_present() -> bool {
    in_path("chromium") && in_path("chromedriver")
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
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
