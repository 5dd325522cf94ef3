//! Servers that are up at the same time and take turns, so that their ratios are of the same minute of
//! the machine's.
//!
//! What else a machine does, and a host that is shared does to it, drifts within minutes by more than
//! what is to be measured. Two slices of time that follow each other have it in common.

use super::fan_out::{FanOut, Measures};
use super::Round;
use crate::clock::SECOND;
use crate::figures::{Figure, Server, Spread};
use crate::load::{Failure, Load, Schedule};
use crate::measure::{Sample, Stretch};
use crate::server::{Contender, Process};
use crate::trace::Trace;

/// The floor, and a framework with Fanfare and without.
pub(super) const LARGEST_GROUP: usize = 3;

/// Who falls so far behind its schedule that its slices take longer than this together, in seconds, sits
/// out the rest of a round.
const PATIENCE: f64 = 10.0;

/// Single events that begin a turn and are not measured. The server has the processor's caches to itself
/// again, and what came meanwhile, a sign of life say, is read. And after a pause Linux acknowledges up
/// to 16 packets each by one of its own, which costs the sender, on loopback, a tenth of a delivery.
const LEAD_IN: u64 = 16;

/// As fast as all but the slowest server send one to 1,000 clients.
const LEAD_IN_PER_SECOND: u64 = 100;

/// Each framework's servers, with the floor.
pub(super) fn groups(servers: &[Contender]) -> Vec<Vec<Contender>> {
    let (floor, others): (Vec<&Contender>, Vec<&Contender>) =
        servers.iter().partition(|one| one.server.is_floor());
    let mut groups: Vec<Vec<Contender>> = Vec::new();
    for one in others {
        let is_its = |group: &&mut Vec<Contender>| {
            group
                .last()
                .is_some_and(|last| last.server.name == one.server.name)
        };
        match groups.iter_mut().find(is_its) {
            Some(group) => group.push(one.clone()),
            None => groups.push(floor.iter().copied().chain([one]).cloned().collect()),
        }
    }
    if groups.is_empty() {
        groups.extend(floor.into_iter().map(|one| vec![one.clone()]));
    }
    groups
}

/// How long that takes, in seconds.
pub(super) fn seconds_to_lead_in() -> f64 {
    LEAD_IN as f64 / LEAD_IN_PER_SECOND as f64
}

/// One round: all are started, then each has a slice, again and again.
pub(super) fn round(
    fan_out: &FanOut,
    round: Round,
    group: &[Contender],
) -> Vec<Result<Sample, Failure>> {
    let mut sides: Vec<Result<Side<'_>, Failure>> = group
        .iter()
        .map(|contender| Side::start(fan_out, round, contender))
        .collect();
    take_turns(&mut sides, round);
    let values = |is_it: fn(&Server) -> bool| {
        let at = group.iter().position(|one| is_it(&one.server))?;
        Some(sides[at].as_ref().ok()?.values())
    };
    let (floor, base) = (values(Server::is_floor), values(Server::is_base));
    let samples = sides.into_iter().zip(group).map(|(side, contender)| {
        let mut side = side?;
        let own = side.values();
        let mut sample = side.sample(round)?;
        // What the floor calls publishing is its writing, so there is no ratio to that.
        let has_floor = fan_out.measures == Measures::Deliveries;
        for (figure, base, applies) in [
            (Figure::RatioToFloor, &floor, has_floor),
            (Figure::RatioToNative, &base, contender.server.is_fanfare()),
        ] {
            let base = base.as_deref().filter(|_| applies).unwrap_or_default();
            sample.extend(ratio(&own, base).map(|ratio| (figure, ratio)));
        }
        Ok(sample)
    });
    samples.collect()
}

/// Lets each have a slice, again and again.
///
/// Within a round always in the same order. There and back, those at the ends would have two turns in a
/// row and those in the middle none, which TCP notices: see [`LEAD_IN`]. From round to round another
/// begins, so that nobody is always first after the start.
pub(super) fn take_turns(sides: &mut [Result<Side<'_>, Failure>], round: Round) {
    let slices = sides.iter().flatten().map(|side| side.fan_out.slices).max();
    for _ in 0..slices.unwrap_or(0) {
        for turn in order(sides.len(), round) {
            if let Ok(side) = &mut sides[turn] {
                if let Err(failure) = side.slice() {
                    sides[turn] = Err(failure);
                }
            }
        }
    }
}

/// Whose turn it is: in round 1 the first begins, in round 2 the second, ...
fn order(sides: usize, round: Round) -> impl Iterator<Item = usize> {
    (0..sides).map(move |nth| (nth + round.number.saturating_sub(1)) % sides)
}

/// The median of the ratios of slices that had the same turn.
fn ratio(own: &[f64], base: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = own.iter().zip(base).map(|(own, base)| own / base).collect();
    Some(Spread::of(&ratios)?.median)
}

/// A server with its clients.
pub(super) struct Side<'a> {
    fan_out: &'a FanOut,
    pub(super) process: Process,
    pub(super) load: Load,
    slices: Vec<Stretch>,
}

impl<'a> Side<'a> {
    /// Starts a server, connects its clients and warms it up.
    pub(super) fn start(
        fan_out: &'a FanOut,
        round: Round,
        contender: &Contender,
    ) -> Result<Self, Failure> {
        let process = match fan_out.measures {
            Measures::Deliveries => round.start(contender, fan_out.history)?,
            Measures::Publishing => round.start_sharing(contender, fan_out.history)?,
        };
        let mut load = Load::new(process.address, 1)?;
        load.subscribe(fan_out.subscriptions())?;
        load.publish(fan_out.warm_up)?;
        Ok(Self {
            fan_out,
            process,
            load,
            slices: Vec::new(),
        })
    }

    /// Its turn, unless it has been too slow.
    pub(super) fn slice(&mut self) -> Result<(), Failure> {
        let taken: f64 = self.slices.iter().map(|slice| slice.seconds).sum();
        if taken > PATIENCE {
            return Ok(());
        }
        let measured = self.fan_out.schedule(self.fan_out.seconds);
        self.load.renew_publisher()?;
        let lead_in = match self.fan_out.measures {
            Measures::Deliveries => LEAD_IN,
            // What the kernel does is none of the publisher's time.
            Measures::Publishing => 1,
        };
        self.load.publish(Schedule {
            ticks: lead_in,
            interval: SECOND / LEAD_IN_PER_SECOND,
            events: 1,
            ..measured
        })?;
        let publish = match self.fan_out.measures {
            Measures::Deliveries => Load::publish,
            Measures::Publishing => Load::publish_one_by_one,
        };
        let slice = Stretch::of(&self.process, &mut self.load, |load| {
            publish(load, measured)
        })?;
        self.slices.push(slice);
        Ok(())
    }

    /// The scenario's main figure in each slice: what a delivery cost, or what a publish took.
    fn values(&self) -> Vec<f64> {
        let slices = self.slices.iter();
        match self.fan_out.measures {
            Measures::Deliveries => slices.map(Stretch::cost).collect(),
            Measures::Publishing => slices.filter_map(Stretch::publish_median).collect(),
        }
    }

    /// The figures of all slices together. At the end one more event must come, and nothing else.
    pub(super) fn sample(&mut self, round: Round) -> Result<Sample, Failure> {
        let Some((first, others)) = self.slices.split_first() else {
            return Ok(Sample::new());
        };
        let mut all = first.clone();
        others.iter().try_for_each(|slice| all.add(slice))?;
        let mut sample = match self.fan_out.measures {
            Measures::Deliveries => all.deliveries(),
            Measures::Publishing => [all.latency(), all.publishing(), all.last()]
                .into_iter()
                .flatten()
                .chain([(Figure::LoadBusy, all.busy)])
                .collect(),
        };
        if self.fan_out.measures == Measures::Deliveries {
            let peak = self.process.memory()?.peak;
            sample.insert(Figure::PeakMemory, peak as f64);
        }
        if let (true, Some(requests)) = (round.traces, self.fan_out.traced) {
            let calls = self.calls_per_delivery(requests)?;
            sample.extend(calls.map(|calls| (Figure::SyscallsPerDelivery, calls)));
        }
        self.load.finish()?;
        Ok(sample)
    }

    /// `None` if strace fails, which is not the server's fault.
    fn calls_per_delivery(&mut self, requests: u64) -> Result<Option<f64>, Failure> {
        self.load.measure()?;
        let trace = Trace::of(self.process.pid());
        for _ in 0..requests {
            // One at a time, since the server is slow now and would send what piles up at once.
            self.load.publish(Schedule {
                ticks: 1,
                ..self.fan_out.schedule(self.fan_out.seconds)
            })?;
        }
        let calls = trace.and_then(Trace::count).ok();
        let deliveries = self.load.tally().received as f64;
        Ok(calls.map(|calls| calls as f64 / deliveries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Server;

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

    fn grouped(servers: &[(&str, &str)]) -> Vec<String> {
        let servers: Vec<_> = servers
            .iter()
            .map(|(name, kind)| contender(name, kind))
            .collect();
        let name = |one: &Contender| format!("{} {}", one.server.name, one.server.kind);
        let groups = groups(&servers);
        groups
            .iter()
            .map(|group| group.iter().map(name).collect::<Vec<_>>().join(", "))
            .collect()
    }

    #[test]
    fn every_framework_takes_turns_with_the_floor() {
        let servers = [
            ("floor", "floor"),
            ("axum", "fanfare"),
            ("axum", "native"),
            ("nchan", "peer"),
        ];
        let expect = [
            "floor floor, axum fanfare, axum native",
            "floor floor, nchan peer",
        ];
        assert_eq!(grouped(&servers), expect);
        assert_eq!(grouped(&servers[1..3]), ["axum fanfare, axum native"]);
        assert_eq!(grouped(&servers[..1]), ["floor floor"]);
    }

    #[test]
    fn another_begins_in_each_round() {
        let order = |number| -> Vec<usize> {
            let round = Round {
                number,
                pinned: None,
                traces: false,
            };
            order(3, round).collect()
        };
        assert_eq!(order(1), [0, 1, 2]);
        assert_eq!(order(2), [1, 2, 0]);
        assert_eq!(order(3), [2, 0, 1]);
        assert_eq!(order(4), order(1));
    }

    #[test]
    fn a_ratio_is_of_slices_of_the_same_turn() {
        // The machine became three times slower on the way.
        let (own, base) = ([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]);
        assert_eq!(ratio(&own, &base), Some(2.0));
        // One disturbed slice does not show.
        assert_eq!(ratio(&[2.0, 90.0, 6.0], &base), Some(2.0));
        // Who was too slow for the rest is compared in what it took part in.
        assert_eq!(ratio(&own[..2], &base), Some(2.0));
        assert_eq!(ratio(&own, &[]), None);
    }
}
