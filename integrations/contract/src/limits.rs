//! How many connections the system lets a test hold.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Files that a process has open beside its connections.
const OTHER_FILES: u64 = 100;

/// Raises this process's limit of open files, and so that of the demos it starts from now on, to
/// what `wanted` connections need. Returns how many of them there is room for, and says so if that
/// is fewer.
///
/// # Panics
///
/// If the system does not let the limit be raised as far as it says.
#[must_use]
pub fn room_for(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let needed = hard.min(wanted as u64 + OTHER_FILES);
    if limit.current.is_some_and(|soft| soft < needed) {
        let raised = Rlimit {
            current: Some(needed),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("a soft limit can be raised to the hard one");
    }
    let room = hard.saturating_sub(OTHER_FILES);
    match usize::try_from(room) {
        Ok(room) if room < wanted => {
            println!("{room} connections instead of {wanted}: a process may open {hard} files");
            room
        }
        _ => wanted,
    }
}
