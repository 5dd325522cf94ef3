//! Run with `cargo run -p instances`, open <http://127.0.0.1:3000> in two windows, and publish. Then
//! press Enter: both instances are deployed anew, one after the other, and no page misses an event.
//!
//! `nginx` and `redis-server` have to be installed. The app is in `app.rs`, what is between it and the
//! browsers in `nginx.conf`, and what starts all of it in `stack.rs`.

#![forbid(unsafe_code)]

mod app;
mod stack;

use std::env;
use std::io;

use stack::{Ports, Stack};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // One instance, as a deployment starts it.
        ["serve", name, port, redis] => app::serve(name, port, redis),
        [] => try_it(),
        _ => Err(io::Error::other("usage: instances [serve NAME PORT REDIS]")),
    }
}

fn try_it() -> io::Result<()> {
    let ports = Ports {
        nginx: 3000,
        instances: [3001, 3002],
        redis: 3003,
    };
    let mut stack = Stack::start(&env::current_exe()?, ports)?;
    println!("open http://127.0.0.1:3000 in two windows; Enter deploys both instances anew");
    while io::stdin().read_line(&mut String::new())? > 0 {
        for index in 0..ports.instances.len() {
            stack.deploy(index)?;
            println!("instance {} is a new one", app::NAMES[index]);
        }
    }
    Ok(())
}
