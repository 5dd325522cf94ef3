//! Run with `cargo run -p before-and-after -- after` (or `before`), then listen with
//! `curl -N localhost:3000/chat` and speak with `curl -d hello localhost:3000/chat`.

#![forbid(unsafe_code)]

mod after;
mod before;
#[cfg(test)]
mod tests;

use std::io;

#[tokio::main]
async fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("before") => before::run().await,
        None | Some("after") => after::run().await,
        Some(other) => Err(io::Error::other(format!(
            "`{other}` is neither before nor after"
        ))),
    }
}
