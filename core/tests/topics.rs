//! One selection covers another exactly if every topic of the other is in it.

use fanfare_core::{Topic, Topics};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None, // The failing selections are printed; a test run leaves no files.
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_covered_is_what_matches(ours in selection(), other in selection()) {
        let missing = topics().find(|topic| other.matches(topic) && !ours.matches(topic));
        prop_assert_eq!(
            ours.covers(&other),
            missing.is_none(),
            "{} in {}, {:?}",
            other,
            ours,
            missing
        );
    }

    #[test]
    fn a_selection_covers_itself(selection in selection()) {
        prop_assert!(selection.covers(&selection));
        prop_assert!(Topics::all().covers(&selection));
    }
}

/// Names and patterns of up to three segments.
fn selection() -> impl Strategy<Value = Topics> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("*")];
    let name = (vec(segment, 0..3), any::<bool>()).prop_map(|(mut segments, is_open)| {
        if is_open || segments.is_empty() {
            segments.push(">");
        }
        segments.join(".")
    });
    let names = prop_oneof![9 => vec(name, 1..4), 1 => Just(vec!["all".to_owned()])];
    names.prop_map(|names| names.join(",").parse().expect("they select topics"))
}

/// Every topic of up to five segments, some of which no selection names.
fn topics() -> impl Iterator<Item = Topic> {
    (1..=5).flat_map(|length| {
        (0..3_usize.pow(length)).map(move |number| {
            let digits = (0..length).map(|place| number / 3_usize.pow(place) % 3);
            let segments: Vec<&str> = digits.map(|digit| ["a", "b", "z"][digit]).collect();
            Topic::new(segments.join(".")).expect("it is a topic")
        })
    })
}
