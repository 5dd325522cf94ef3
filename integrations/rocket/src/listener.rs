//! The listener that Rocket binds and gives to nobody: found, so that it has room for many clients and
//! options can be set on it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use fanfare_server::{TcpOptions, BACKLOG};
use rustix::io::Errno;
use rustix::net::{getsockname, listen, sockopt};
use rustix::process::{getpid, pidfd_getfd, pidfd_open, PidfdFlags, PidfdGetfdFlags};

/// Sets options on this process's listener at an address; its connections inherit them. As many of those
/// may wait to be accepted as on a listener of ours.
///
/// # Errors
///
/// If the process may not look at its own files, or listens nowhere there.
pub(crate) fn set_options(address: SocketAddr, options: TcpOptions) -> io::Result<()> {
    let listener = find(address)?;
    options.apply(&listener)?;
    // To listen again changes the backlog and nothing else.
    listen(&listener, BACKLOG.into())?;
    Ok(())
}

/// The listener at an address, as a file of our own: options belong to what both stand for.
fn find(address: SocketAddr) -> io::Result<OwnedFd> {
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match pidfd_getfd(&this_process, number, PidfdGetfdFlags::empty()) {
            Ok(file) if is_listener_at(&file, address) => return Ok(file),
            // Another file, or one that was closed since the folder was read.
            Ok(_) | Err(Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn is_listener_at(file: &OwnedFd, address: SocketAddr) -> bool {
    // What is no socket refuses both.
    let is_there = |found| SocketAddr::try_from(found).is_ok_and(|found| found == address);
    sockopt::socket_acceptconn(file).unwrap_or(false) && getsockname(file).is_ok_and(is_there)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn options_reach_the_listener_at_the_address_and_no_other() {
        let found = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = found.local_addr().expect("it is bound");
        let options = TcpOptions::new().user_timeout(Duration::from_secs(5));
        set_options(address, options).expect("it listens");
        let timeout = |listener| sockopt::tcp_user_timeout(listener).expect("TCP has it");
        assert_eq!((timeout(&found), timeout(&other)), (5_000, 0));
    }

    #[test]
    fn more_may_wait_to_be_accepted_than_rocket_has_room_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        listen(&listener, 1).expect("it listens");
        set_options(address, TcpOptions::new()).expect("it listens");
        let deadline = Duration::from_secs(30);
        // Nobody is accepted: where there is no room, they come in vain until the deadline.
        let clients: Vec<_> = (0..10)
            .map(|_| TcpStream::connect_timeout(&address, deadline).expect("there is room"))
            .collect();
        drop(clients);
    }

    #[test]
    fn where_nobody_listens_nothing_is_found() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = set_options(nowhere, TcpOptions::new()).expect_err("no port is 0");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
