//! Servers that are not Rust, and not ours to install: nchan, and better-sse on Node.js.
//!
//! Each is a program in `benches/servers/peers` that takes the flags of the other servers, and
//! serves their interface as far as it can; [`Peer`] says how far.

use std::env;
use std::path::{Path, PathBuf};

use crate::figures::Skipped;

/// A peer that can be started: `PROGRAM peer --port 0 --workers 1 --history 1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What the report calls it.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Whether it publishes each line of a body and says how long that took. nchan publishes a body
    /// as one event, whatever is in it, and answers with words of its own; so it has no bursts.
    pub publishes_lines: bool,
    /// Whether its ids are `epoch-sequence`, and count over all topics. nchan's are the second and
    /// the number in it, for each topic of the stream; one in a `Last-Event-ID` resumes as ours do.
    pub has_usual_ids: bool,
}

/// What they are called.
pub const NAMES: [&str; 2] = ["nchan", "better-sse"];

/// Where Debian's package `libnginx-mod-nchan` puts the module.
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// The peers below `servers`, the folder `benches/servers`; and those that are not installed.
#[must_use]
pub fn find(servers: &Path) -> (Vec<Peer>, Vec<Skipped>) {
    let folder = servers.join("peers");
    let better_sse = folder.join("better-sse");
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let mut add = |peer: Peer, missing: Option<&str>| match missing {
        None => found.push(peer),
        Some(why) => skipped.push(Skipped {
            what: peer.name.to_owned(),
            why: why.to_owned(),
        }),
    };
    let nchan = Peer {
        name: "nchan",
        program: folder.join("nchan/server"),
        publishes_lines: false,
        has_usual_ids: false,
    };
    let missing = if !Path::new(NCHAN_MODULE).exists() {
        Some("not installed: Debian's packages are nginx-light and libnginx-mod-nchan")
    } else if !is_program("nginx") {
        Some("nginx is not installed")
    } else if !is_program("bash") {
        Some("bash, which starts it, is not installed")
    } else {
        None
    };
    add(nchan, missing);
    let missing = if !is_program("node") {
        Some("Node.js is not installed")
    } else if !better_sse.join("node_modules/better-sse").exists() {
        Some("not installed: run `npm ci` in benches/servers/peers/better-sse")
    } else {
        None
    };
    let better_sse = Peer {
        name: "better-sse",
        program: better_sse.join("server.mjs"),
        publishes_lines: true,
        has_usual_ids: true,
    };
    add(better_sse, missing);
    (found, skipped)
}

/// Reads the answer to `GET /subscribers`: a number, or nchan's status, in which it has a line.
#[must_use]
pub fn subscribers(answer: &str) -> Option<usize> {
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("subscribers: "));
    line.unwrap_or(answer).trim().parse().ok()
}

/// Whether there is such a program, where it is looked for, or where administrators' programs are.
fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use bench_server_check::Server;
    use fanfare_contract::{wait_for, Events, Request};

    use super::*;

    #[test]
    fn both_forms_of_the_count_are_read() {
        assert_eq!(subscribers("12"), Some(12));
        assert_eq!(
            subscribers("channels: 3\nsubscribers: 12\nnchan: 1\n"),
            Some(12)
        );
        assert_eq!(subscribers("channels: 3\n"), None);
    }

    #[test]
    fn who_is_not_installed_is_named() {
        let (found, skipped) = find(Path::new("/nowhere"));
        assert_eq!(found.len() + skipped.len(), 2);
        assert!(skipped.iter().any(|one| one.what == "better-sse"));
    }

    /// Those that are not installed are written to the test's output.
    #[test]
    fn peers_serve_the_same_events() {
        let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servers");
        let (found, skipped) = find(&servers);
        for Skipped { what, why } in skipped {
            eprintln!("{what} is not tested: {why}");
        }
        for peer in found {
            let program = peer.program.to_str().expect("our own path is text");
            let server = Server::start(program, "peer");
            let follow = Request::get("/events?topics=a,b").header("Accept", "text/event-stream");
            let mut stream = Events::open(server.address, &follow);
            let count = |expect: usize| {
                wait_for("the number of subscribers", || {
                    let answer = Request::get("/subscribers").send(server.address).text();
                    (subscribers(&answer)? == expect).then_some(())
                });
            };
            count(1);
            let publish = |topic: &str, data: &str| {
                let target = format!("/publish/{topic}");
                let status = Request::post(&target, data)
                    .send(server.address)
                    .head
                    .status;
                assert!((200..300).contains(&status), "{}: {status}", peer.name);
            };
            if peer.publishes_lines {
                publish("a", "one\ntwo\n");
            } else {
                publish("a", "one");
                publish("a", "two");
            }
            let first = stream.event();
            assert_eq!(first.data, "one");
            assert_eq!(stream.event().data, "two");

            let back = follow.header("Last-Event-ID", &*first.last_event_id);
            let mut back = Events::open(server.address, &back);
            assert_eq!(back.event().data, "two");
            count(2);
            publish("b", "three");
            assert_eq!(back.event().data, "three");
            assert_eq!(stream.event().data, "three");
            drop((stream, back));
            count(0);
        }
    }
}
