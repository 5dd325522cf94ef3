//! Every event that is told to `tracing`, if the feature is on: all of them, so that their targets,
//! levels and fields are in one place.
//!
//! None is told from under one of our locks, since a subscriber is foreign code; and none where an
//! event is delivered.

#[cfg(feature = "tracing")]
use std::error::Error;
use std::time::Duration;

use crate::broadcaster::{Drained, EndReason};
use crate::error::{PublishError, RefusedReason};
use crate::gap::Gap;
use crate::history::HistoryError;
use crate::id::EventId;
use crate::topic::Topic;

/// A function for each event, which does nothing without the feature.
macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty),*):
            $level:ident $target:literal $message:literal { $($fields:tt)* }
    )+) => {$(
        $(#[$doc])*
        #[cfg(feature = "tracing")]
        pub(crate) fn $name($($argument: $type),*) {
            tracing::event!(target: $target, tracing::Level::$level, { $($fields)* }, $message);
        }

        $(#[$doc])*
        #[cfg(not(feature = "tracing"))]
        #[inline(always)]
        pub(crate) fn $name($(_: $type),*) {}
    )+};
}

events! {
    /// A stream was opened.
    opened(): DEBUG "fanfare::stream" "opened" {}

    /// A stream is over.
    ended(reason: EndReason): DEBUG "fanfare::stream" "ended" { reason = reason.as_str() }

    /// A stream was refused.
    refused(reason: RefusedReason, retry_after: Duration): DEBUG "fanfare::stream" "refused" {
        reason = reason.as_str(),
        retry_after_seconds = retry_after.as_secs_f64()
    }

    /// What a stream's client has not read yet is not in memory any more.
    lagging(at: EventId): DEBUG "fanfare::stream" "lagging" { at = %at }

    /// A client was told of a gap.
    gap(gap: &Gap): DEBUG "fanfare::stream" "gap" { reason = gap.reason.as_str(), to = %gap.to }

    /// An event was published.
    published(topic: &Topic, id: EventId): TRACE "fanfare::publish" "published" {
        topic = topic.as_str(),
        id = %id
    }

    /// An event was not published.
    not_published(error: &PublishError): DEBUG "fanfare::publish" "not published" {
        error = error as &(dyn Error + 'static)
    }

    /// The backend's tail has broken off, or its engine was away from the begin.
    unavailable(error: &HistoryError): WARN "fanfare::backend" "unavailable" {
        error = error as &(dyn Error + 'static)
    }

    /// The backend's tail is read, for the first time or again.
    available(): INFO "fanfare::backend" "available" {}

    /// A page could not be read, so many times before this. It is tried again.
    read_failed(error: &HistoryError, tries: u32): DEBUG "fanfare::backend" "read failed" {
        error = error as &(dyn Error + 'static),
        tries
    }

    /// A drain has begun.
    drain_begun(streams: usize, window: Duration): INFO "fanfare::drain" "begun" {
        streams,
        window_seconds = window.as_secs_f64()
    }

    /// Another tenth of a drain's streams may end.
    drain_progress(streams: usize, open: usize): INFO "fanfare::drain" "progress" {
        streams,
        open
    }

    /// A drain is over.
    drain_over(drained: &Drained): INFO "fanfare::drain" "over" {
        streams = drained.streams,
        forced = drained.forced,
        took_seconds = drained.took.as_secs_f64()
    }
}
