//! Which servers there are to compare.

use std::path::Path;

use crate::figures::{Server, Skipped};
use crate::server::Contender;

/// Programs beside this one, what they are called in the report, and the kinds they serve.
const SERVERS: [(&str, &[&str]); 8] = [
    ("floor", &["floor"]),
    ("hyper", &["fanfare", "native"]),
    ("axum", &["fanfare", "native"]),
    ("actix-web", &["fanfare", "native"]),
    ("warp", &["fanfare", "native"]),
    ("rocket", &["fanfare", "native"]),
    ("nchan", &["peer"]),
    ("better-sse", &["peer"]),
];

/// The servers whose programs are in a folder, and those that are missing. `names` selects some; the
/// floor is always there, since the others are compared with it.
#[must_use]
pub fn find(folder: &Path, names: &[String]) -> (Vec<Contender>, Vec<Skipped>) {
    let mut contenders = Vec::new();
    let mut skipped = Vec::new();
    for (name, kinds) in SERVERS {
        let is_chosen = names.is_empty() || names.iter().any(|chosen| chosen == name);
        if !is_chosen && name != "floor" {
            continue;
        }
        let program = folder.join(format!("bench-server-{name}"));
        if !program.is_file() {
            skipped.push(Skipped {
                what: name.to_owned(),
                why: format!("there is no bench-server-{name} beside this program"),
            });
            continue;
        }
        for kind in kinds {
            contenders.push(Contender {
                server: Server {
                    name: name.to_owned(),
                    kind: (*kind).to_owned(),
                },
                program: program.clone(),
                kind: (*kind).to_owned(),
            });
        }
    }
    (contenders, skipped)
}

/// All names that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    SERVERS.into_iter().map(|(name, _)| name)
}
