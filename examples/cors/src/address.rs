//! Where each of the servers listens, and how its test learns that.

use std::net::{Ipv4Addr, SocketAddr};

/// Port 3000 of this machine, or the port that is given.
pub(crate) fn from_arguments() -> SocketAddr {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    (Ipv4Addr::LOCALHOST, port.unwrap_or(3000)).into()
}

pub(crate) fn announce(address: SocketAddr) {
    println!("http://{address}/prices");
}
