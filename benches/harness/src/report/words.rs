//! Figures and servers in words: their titles, units and numbers, the same in every view.

use std::fmt;

use crate::figures::{Figure, Pinned, Row, Scenario, Server, Spread, BUSY};

/// The unit that a figure is shown in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    /// What stands behind the number; empty for a plain number.
    pub(super) name: &'static str,
    /// How many of the report's own units make one of these.
    pub(super) size: f64,
}

/// What a figure is called and means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) meaning: &'static str,
    /// What it is shown in.
    pub(super) unit: Unit,
    /// What the report holds it in.
    pub(super) base_unit: &'static str,
}

impl Figure {
    /// Whether a greater value is the better one.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(
            self,
            Self::DeliveriesPerCpuSecond | Self::ConnectionsPerSecond
        )
    }

    pub(super) fn words(self) -> Words {
        let words = |title, meaning, base_unit, unit, size| Words {
            title,
            meaning,
            unit: Unit { name: unit, size },
            base_unit,
        };
        let micros = |title, meaning| words(title, meaning, "µs", "µs", 1.0);
        let plain = |title, meaning| words(title, meaning, "", "", 1.0);
        match self {
            Self::CpuPerDelivery => micros(
                "CPU per delivery",
                "the server's processor time, user and system, for one event to one client",
            ),
            Self::UserPerDelivery => micros(
                "user CPU per delivery",
                "the part of it that the server spent in its own code",
            ),
            Self::SystemPerDelivery => micros(
                "system CPU per delivery",
                "the part of it that the kernel spent for the server, mostly writing to sockets",
            ),
            Self::RatioToFloor => plain(
                "ratio to the floor",
                "CPU per delivery as a multiple of the floor's in the same round; where servers take \
                 turns, of the floor's at the same time",
            ),
            Self::RatioToNative => plain(
                "ratio to native",
                "the scenario's main figure as a multiple of the same framework's native way, in the same \
                 round; where servers take turns, at the same time",
            ),
            Self::DeliveriesPerCpuSecond => plain(
                "deliveries per CPU second",
                "events times clients that a second of the server's processor time serves; more is \
                 better",
            ),
            Self::LatencyP50 => micros(
                "latency p50",
                "from the time an event was due until the load had read it: half were faster",
            ),
            Self::LatencyP90 => micros("latency p90", "nine in ten were faster"),
            Self::LatencyP99 => micros("latency p99", "99 in 100 were faster"),
            Self::LatencyMax => micros("latency max", "the slowest of all"),
            Self::LatencyP99Without => micros(
                "latency p99 without",
                "that of another server of the same kind, at the same time, without slow clients",
            ),
            Self::RatioToWithout => plain(
                "p99 with / without",
                "the first as a multiple of the second: what slow clients cost the others",
            ),
            Self::BytesPerEvent => words(
                "bytes per event",
                "both ways, what opens a stream apart",
                "bytes",
                "bytes",
                1.0,
            ),
            Self::MemoryPerConnection => words(
                "memory per connection",
                "the server's resident memory above that without connections, per connection",
                "bytes",
                "KiB",
                1024.0,
            ),
            Self::PeakMemory => words(
                "peak memory",
                "the server's largest resident memory",
                "bytes",
                "MiB",
                1024.0 * 1024.0,
            ),
            Self::MemoryPerStalled => words(
                "memory per slow client",
                "what the server has resident more than one without slow clients, for each of them",
                "bytes",
                "KiB",
                1024.0,
            ),
            Self::SyscallsPerDelivery => plain(
                "system calls per delivery",
                "how often the server asked the kernel for something, per delivery",
            ),
            Self::CatchUp => words(
                "catch-up",
                "until the last returning client had all that it had missed",
                "ms",
                "ms",
                1.0,
            ),
            Self::ConnectionsPerSecond => plain(
                "connections per second",
                "connections opened, streamed to and closed; more is better",
            ),
            Self::CpuPerConnection => micros(
                "CPU per connection",
                "the server's processor time for one connection opened and closed",
            ),
            Self::PublishP50 => micros(
                "publish p50",
                "what one publish takes, seen by the publisher: half were faster",
            ),
            Self::PublishP99 => micros("publish p99", "99 in 100 publishes were faster"),
            Self::LastP50 => micros(
                "last subscriber p50",
                "from a publish until all clients have it: half were faster",
            ),
            Self::LastP99 => micros("last subscriber p99", "99 in 100 publishes were faster"),
            Self::RequestsPerEvent => plain(
                "requests per event",
                "HTTP requests that a client makes for each event",
            ),
            Self::Gaps => plain(
                "gaps",
                "how often clients were told that something is missing for them",
            ),
            Self::Skipped => plain(
                "events skipped",
                "how many events slow clients were told are gone for them",
            ),
            Self::NotTold => plain(
                "slow clients not told",
                "how many of them missed something without being told",
            ),
            Self::Disconnected => plain(
                "slow clients disconnected",
                "how many of them had been disconnected before they read again",
            ),
            Self::LoadBusy => words(
                "load busy",
                "the share of the time in which the load had something to do; near 100 % the times \
                 are the load's, not the server's",
                "%",
                "%",
                1.0,
            ),
        }
    }

    /// The title with its unit.
    pub(super) fn heading(self) -> String {
        let Words { title, unit, .. } = self.words();
        match unit.name {
            "" => title.to_owned(),
            name if title.contains(name) => title.to_owned(),
            name => format!("{title}, {name}"),
        }
    }

    /// The heading of a column, where nothing else says which way is better.
    pub(super) fn column(self) -> String {
        let heading = self.heading();
        if self.more_is_better() {
            heading + " (more is better)"
        } else {
            heading
        }
    }

    /// A value without its unit, in the unit of [`Words::unit`].
    pub(super) fn number(self, value: f64) -> String {
        match self {
            // They are counted, not measured.
            Self::Gaps | Self::Skipped | Self::NotTold | Self::Disconnected => round_number(value),
            _ => number(value / self.words().unit.size),
        }
    }

    /// A value with its unit.
    pub(super) fn amount(self, value: f64) -> String {
        match self.words().unit.name {
            "" => self.number(value),
            unit => format!("{} {unit}", self.number(value)),
        }
    }
}

impl Spread {
    /// How far the round farthest from the median is from it, as a share of it; `None` if there was
    /// only one round, or if the median is zero.
    pub(super) fn deviation(&self) -> Option<f64> {
        let farthest = (self.max - self.median).max(self.median - self.min);
        (self.rounds > 1 && self.median != 0.0).then(|| farthest / self.median.abs())
    }
}

impl Server {
    /// `axum fanfare`; where name and kind say the same, and for peers, the name alone.
    pub(super) fn label(&self) -> String {
        if self.kind == self.name || self.kind == "peer" {
            self.name.clone()
        } else {
            format!("{} {}", self.name, self.kind)
        }
    }
}

impl Scenario {
    /// The figure that the scenario is about, if some server has it.
    pub(super) fn main_figure(&self) -> Option<Figure> {
        self.main_figure.filter(|figure| self.has(*figure))
    }

    /// Whether any server has that figure.
    pub(super) fn has(&self, figure: Figure) -> bool {
        self.rows.iter().any(|row| row.figure(figure).is_some())
    }

    /// All figures that any server has, in order.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut figures: Vec<Figure> = self
            .rows
            .iter()
            .filter(|row| row.failures.is_empty())
            .flat_map(|row| row.figures.keys().copied())
            .collect();
        figures.sort_unstable();
        figures.dedup();
        figures
    }

    /// The same framework's native way, for a row of Fanfare.
    pub(super) fn base_of(&self, row: &Row) -> Option<&Row> {
        let is_base = |other: &&Row| other.server.name == row.server.name && other.server.is_base();
        let is_compared = row.server.is_fanfare();
        is_compared.then(|| self.rows.iter().find(is_base))?
    }
}

impl Row {
    /// A figure of a row that did not fail: what a failed one measured means nothing.
    pub(super) fn figure(&self, figure: Figure) -> Option<&Spread> {
        self.figures
            .get(&figure)
            .filter(|_| self.failures.is_empty())
    }

    /// Whether a figure is only a bound: where the load was busy, part of the time is the load's.
    pub(super) fn bound(&self, figure: Figure) -> Option<Bound> {
        let busy = self.figure(Figure::LoadBusy)?;
        if busy.max <= BUSY {
            return None;
        }
        match figure {
            Figure::CatchUp
            | Figure::LatencyP50
            | Figure::LatencyP90
            | Figure::LatencyP99
            | Figure::LatencyMax
            | Figure::LastP50
            | Figure::LastP99 => Some(Bound::AtMost),
            Figure::ConnectionsPerSecond => Some(Bound::AtLeast),
            _ => None,
        }
    }

    /// A figure of this row as it is shown, without its unit: `at most 812` where it is a bound.
    pub(super) fn number(&self, figure: Figure, value: f64) -> String {
        let number = figure.number(value);
        match self.bound(figure) {
            Some(bound) => format!("{bound} {number}"),
            None => number,
        }
    }
}

/// What is known of a time that the load took part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtMost => "at most",
            Self::AtLeast => "at least",
        })
    }
}

/// A number with three digits that count, thousands apart: `0.012`, `1.20`, `45.6`, `12,345`; and
/// `0`, which needs no more.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        _ if size < 0.1 => 3,
        _ if size < 9.995 => 2,
        _ if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text.as_str(), None),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut shown = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    if let Some(fraction) = fraction {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}

/// A number as it stands on an axis, where it is a round one: `1.5`, `20`.
pub(super) fn round_number(value: f64) -> String {
    let text = number(value);
    match text.trim_end_matches('0').trim_end_matches('.') {
        trimmed if text.contains('.') => trimmed.to_owned(),
        _ => text,
    }
}

/// A share as a percentage: `3 %`, `0.4 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// Where server and load ran.
pub(super) fn kept_apart(pinned: Option<Pinned>) -> String {
    let Some(Pinned {
        server,
        load,
        share_a_core,
    }) = pinned
    else {
        return "server and load shared the processors".to_owned();
    };
    let core = if share_a_core {
        ", two threads of one core, so that either slows the other"
    } else {
        ""
    };
    format!("server on processor {server}, load on processor {load}{core}")
}

/// `1 round`, `3 rounds`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, expect) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (0.5, "0.50"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (45.67, "45.7"),
            (7.0, "7.00"),
            (139.0, "139"),
            (123.4, "123"),
            (12_345.6, "12,346"),
            (1_234_567.0, "1,234,567"),
            (-1_234.5, "-1,234"),
        ] {
            assert_eq!(number(value), expect, "{value}");
        }
        for (value, expect) in [(0.0, "0"), (0.5, "0.5"), (20.0, "20"), (1e5, "100,000")] {
            assert_eq!(round_number(value), expect, "{value}");
        }
    }

    #[test]
    fn amounts_are_in_the_unit_that_people_use() {
        assert_eq!(Figure::MemoryPerConnection.amount(13_926.4), "13.6 KiB");
        assert_eq!(Figure::CpuPerDelivery.amount(8.4), "8.40 µs");
        assert_eq!(Figure::Gaps.amount(3.0), "3");
        assert_eq!(Figure::CpuPerDelivery.heading(), "CPU per delivery, µs");
        assert_eq!(Figure::BytesPerEvent.heading(), "bytes per event");
        assert_eq!(Figure::RatioToFloor.heading(), "ratio to the floor");
    }

    #[test]
    fn the_deviation_is_that_of_the_farthest_round() {
        let deviation = |rounds: &[f64]| Spread::of(rounds).and_then(|spread| spread.deviation());
        assert_eq!(deviation(&[9.0, 10.0, 13.0]), Some(0.3));
        assert_eq!(deviation(&[10.0]), None);
        assert_eq!(deviation(&[0.0, 0.0]), None);
    }
}
