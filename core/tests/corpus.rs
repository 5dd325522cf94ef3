//! What libFuzzer found worth keeping holds everything that is fuzzed.
//!
//! `cargo xtask fuzz` looks for more; this replays what is in `fuzz/corpus`, on any compiler.

mod properties;

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

/// The inputs of one target, in order.
fn inputs(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let folder = fs::read_dir(corpus.join(target)).expect("each target has a corpus");
    let mut paths: Vec<_> = folder
        .map(|entry| entry.expect("the corpus can be read").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn everything_that_is_checked_is_fuzzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for (target, _) in properties::CHECKS {
        let path = folder.join(target).with_extension("rs");
        assert!(path.is_file(), "there is no {}", path.display());
    }
}

#[test]
fn every_input_in_the_corpus_holds() {
    for (target, check) in properties::CHECKS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "the corpus of {target} is empty");
        for path in inputs {
            let input = fs::read(&path).expect("the corpus can be read");
            let outcome = panic::catch_unwind(|| check(&input));
            assert!(outcome.is_ok(), "{} does not hold", path.display());
        }
    }
}
