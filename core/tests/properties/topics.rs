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
            assert_eq!(topics.covers(&Topics::from(&topic)), topics.matches(&topic));
        }
        if let Ok(part) = topic.parse() {
            what_is_covered_is_matched(&topics, &part);
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

/// Every selection covers itself; what a part of one matches, the whole does.
fn what_is_covered_is_matched(topics: &Topics, part: &Topics) {
    assert!(topics.covers(topics) && Topics::all().covers(topics));
    if !topics.covers(part) {
        return;
    }
    // No pattern that was not written for it knows this word.
    const WORD: &str = "\u{1f980}";
    for name in part.to_string().split(',') {
        let name = if name == "all" { ">" } else { name };
        let segments = name.split('.').map(|segment| match segment {
            "*" | ">" => WORD,
            segment => segment,
        });
        let topic = segments.collect::<Vec<_>>().join(".");
        for topic in [topic.clone(), format!("{topic}.{WORD}")] {
            if let Some(topic) = Topic::new(topic).ok().filter(|topic| part.matches(topic)) {
                assert!(
                    topics.matches(&topic),
                    "{topics} covers {part}, but not {topic}"
                );
            }
        }
    }
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
