//! Topics are data: whatever they are called, no file is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fanfare_core::history::{Append, History};
use fanfare_core::{Event, LastEventId, Topic, Topics};
use fanfare_redb::Redb;
use futures_lite::future::block_on;

fn files_in(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        files.insert(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            files.extend(files_in(&entry.path()));
        }
    }
    files
}

#[test]
fn a_topic_is_no_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let history = Redb::builder(folder.path().join("history"))
        .open()
        .expect("opens");
    let files = files_in(folder.path());

    // Two dots beside each other are no topic at all.
    assert!(Topic::new("../escape").is_err());
    let names = [
        "/escape",
        "a/b",
        "a\\b",
        "~",
        "C:\\escape",
        "con",
        "%2e%2e%2fescape",
    ];
    for name in names {
        let topic = Topic::new(name).expect("a topic");
        let append = Append::new(topic, &Event::data(name));
        block_on(history.append(append)).expect("stored");
    }
    let page = block_on(history.replay(&Topics::all(), &LastEventId::none(), 100));
    let records = page.expect("read").records;
    let found: Vec<_> = records
        .iter()
        .map(|record| record.topic().as_str())
        .collect();
    assert_eq!(found, names);
    assert_eq!(files_in(folder.path()), files);
}
