//! Which servers there are to compare.

use std::path::Path;

use crate::figures::{Server, Skipped};
use crate::peers::{self, Peer};
use crate::server::Contender;

/// Programs beside this one, what they are called in the report, and the kinds they serve.
const SERVERS: [(&str, &[&str]); 6] = [
    ("floor", &["floor"]),
    ("hyper", &["fanfare", "native"]),
    ("axum", &["fanfare", "native"]),
    ("actix-web", &["fanfare", "native"]),
    ("warp", &["fanfare", "native"]),
    ("rocket", &["fanfare", "native"]),
];

/// The servers whose programs are in `folder`, the peers below `benches/servers`, and what is
/// missing. `names` selects some; the floor is always there, since the others are compared with it.
#[must_use]
pub fn find(folder: &Path, servers: &Path, names: &[String]) -> (Vec<Contender>, Vec<Skipped>) {
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    let mut contenders = Vec::new();
    let mut skipped = Vec::new();
    for (name, kinds) in SERVERS {
        if !is_chosen(name) && name != "floor" {
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
                publishes_lines: true,
                has_usual_ids: true,
            });
        }
    }
    let (found, missing) = peers::find(servers);
    let found = found.into_iter().filter(|peer| is_chosen(peer.name));
    contenders.extend(found.map(Contender::from));
    skipped.extend(missing.into_iter().filter(|one| is_chosen(&one.what)));
    (contenders, skipped)
}

/// Fanfare once more in the place of each native way: two servers that are equal must come out equal.
#[must_use]
pub fn control(contenders: Vec<Contender>) -> Vec<Contender> {
    let again = |one: Contender| match &*one.kind {
        "native" => one.under_another_name("control", "fanfare"),
        _ => one,
    };
    contenders.into_iter().map(again).collect()
}

/// What Rocket costs by itself, with a body that only copies, in the place of its native way.
#[must_use]
pub fn bare(contenders: Vec<Contender>) -> Vec<Contender> {
    let alone = |one: Contender| match (&*one.server.name, &*one.kind) {
        ("rocket", "native") => one.under_another_name("bare", "bare"),
        _ => one,
    };
    contenders.into_iter().map(alone).collect()
}

/// All names that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    let servers = SERVERS.into_iter().map(|(name, _)| name);
    servers.chain(peers::NAMES)
}

impl From<Peer> for Contender {
    fn from(peer: Peer) -> Self {
        let kind = "peer".to_owned();
        Self {
            server: Server {
                name: peer.name.to_owned(),
                kind: kind.clone(),
            },
            program: peer.program,
            kind,
            publishes_lines: peer.publishes_lines,
            has_usual_ids: peer.has_usual_ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_there_or_missing_has_a_name_to_select_it_by() {
        let nowhere = Path::new("/nowhere");
        let (found, skipped) = find(nowhere, nowhere, &[]);
        let mut all: Vec<_> = found.into_iter().map(|one| one.server.name).collect();
        all.extend(skipped.into_iter().map(|one| one.what));
        for name in names() {
            assert!(all.iter().any(|one| one == name), "{name}");
            let (found, skipped) = find(nowhere, nowhere, &[name.to_owned()]);
            // With the floor.
            let expect = if name == "floor" { 1 } else { 2 };
            assert_eq!(found.len() + skipped.len(), expect, "{name}");
        }
        assert_eq!(all.len(), names().count());
    }

    fn contender(name: &str, kind: &str) -> Contender {
        Contender {
            server: Server {
                name: name.to_owned(),
                kind: kind.to_owned(),
            },
            program: "unused".into(),
            kind: kind.to_owned(),
            publishes_lines: true,
            has_usual_ids: true,
        }
    }

    #[test]
    fn only_rocket_is_measured_alone() {
        let all = vec![
            contender("rocket", "fanfare"),
            contender("rocket", "native"),
            contender("axum", "native"),
        ];
        let all = bare(all);
        let kinds = all.iter().map(|one| (&*one.server.kind, &*one.kind));
        let expect = [
            ("fanfare", "fanfare"),
            ("bare", "bare"),
            ("native", "native"),
        ];
        assert_eq!(kinds.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_control_is_the_same_server_under_another_name() {
        let both = control(vec![
            contender("axum", "fanfare"),
            contender("axum", "native"),
        ]);
        let kinds = both.iter().map(|one| (&*one.server.kind, &*one.kind));
        let expect = [("fanfare", "fanfare"), ("control", "fanfare")];
        assert_eq!(kinds.collect::<Vec<_>>(), expect);
    }
}
