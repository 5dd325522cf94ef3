//! How large a test is, and how many connections the system lets it hold.

use std::env;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Files that a process has open beside its connections.
const OTHER_FILES: u64 = 100;

/// Raises this process's limit of open files, and so that of the demos it starts from now on, to
/// what so many connections need.
///
/// # Panics
///
/// If the system does not let the limit be raised so far: the test would show less than it says.
#[track_caller]
pub fn make_room_for(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + OTHER_FILES;
    if let Some(hard) = limit.maximum.filter(|&hard| hard < needed) {
        panic!(
            "{connections} connections take {needed} files, and a process may open {hard}: raise the hard \
             limit, with `ulimit -Hn {needed}` as root or `nofile` in /etc/security/limits.conf"
        );
    }
    if limit.current.is_some_and(|soft| soft < needed) {
        let raised = Rlimit {
            current: Some(needed),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("a soft limit can be raised to the hard one");
    }
}

/// How much of something a test is about: what an environment variable says, or else this.
///
/// # Panics
///
/// If that is no number.
#[must_use]
#[track_caller]
pub fn chosen(variable: &str, default: usize) -> usize {
    match env::var(variable) {
        Ok(number) => match number.parse() {
            Ok(number) => number,
            Err(error) => panic!("{variable} is `{number}`: {error}"),
        },
        Err(_) => default,
    }
}
