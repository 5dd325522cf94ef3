//! Topics and selections: what they hold, that they read back, and what matches.

use fanfare_core::{Topic, Topics};

use super::SEPARATOR;

/// A selection, a separator, and a topic.
pub(crate) fn check(input: &[u8]) {
    let at = input.iter().position(|&byte| byte == SEPARATOR);
    let (selection, topic) = input.split_at(at.unwrap_or(input.len()));
    let selection = String::from_utf8_lossy(selection);
    let topic = String::from_utf8_lossy(topic.get(1..).unwrap_or_default());

    for text in [&topic, &selection] {
        if let Ok(topic) = Topic::new(text) {
            a_topic_holds_nothing_that_others_would_misread(&topic, text);
        }
    }
    if let Ok(topics) = selection.parse::<Topics>() {
        a_selection_reads_back(&topics);
        let both = [Topic::new(&topic), Topic::new(&selection)];
        for topic in both.into_iter().flatten() {
            what_matches_is_what_was_written(&selection, &topics, &topic);
        }
    }
}

fn a_topic_holds_nothing_that_others_would_misread(topic: &Topic, text: &str) {
    assert_eq!(topic.as_str(), text);
    assert_eq!(topic.to_string().parse().as_ref(), Ok(topic));
    assert!((1..=255).contains(&text.len()));
    assert!(!text.contains(|c: char| c.is_control() || c == ','));

    // A topic is a selection of itself, however it is made one.
    let itself = Topics::from(topic);
    assert_eq!(text.parse().as_ref(), Ok(&itself));
    assert!(itself.matches(topic));
    assert_eq!(itself.listed(), Some(&[topic.clone()][..]));
}

fn a_selection_reads_back(topics: &Topics) {
    let written = topics.to_string();
    assert_eq!(written.parse().as_ref(), Ok(topics), "{written}");
    assert!(written.len() <= 64 * 256, "{} bytes", written.len());
    if let Some(listed) = topics.listed() {
        assert!((1..=64).contains(&listed.len()));
        assert!(listed.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(listed.iter().all(|topic| topics.matches(topic)));
        assert_eq!(Topics::try_from(listed.to_vec()).as_ref(), Ok(topics));
    }
}

fn what_matches_is_what_was_written(selection: &str, topics: &Topics, topic: &Topic) {
    let segments = |text: &'_ str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let expect = selection
        .split(',')
        .any(|name| name == "all" || reaches(&segments(name), &segments(topic.as_str())));
    assert_eq!(topics.matches(topic), expect, "{selection:?}, {topic}");
    assert!(Topics::all().matches(topic));
}

/// Whether a pattern covers a topic, both in segments.
fn reaches(pattern: &[String], topic: &[String]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([rest], [_, ..]) if rest == ">" => true,
        ([part, parts @ ..], [segment, segments @ ..]) => {
            (part == "*" || part == segment) && reaches(parts, segments)
        }
        _ => false,
    }
}
