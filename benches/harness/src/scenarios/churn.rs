//! `churn`: clients come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::resume_storm::first_event;
use super::{parameters, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription};
use crate::measure::{Sample, Stretch};
use crate::server::Contender;

pub(super) struct Churn {
    at_once: usize,
    seconds: f64,
}

impl Churn {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            at_once: scale.clients(50, 50),
            seconds: scale.pick(1.0, 0.3),
        }
    }
}

impl Scenario for Churn {
    fn name(&self) -> String {
        "churn".to_owned()
    }

    fn description(&self) -> String {
        "Clients connect, are sent the event that they missed, and hang up, again and again, as \
         fast as the server takes them. At the end it must have noticed that all are gone; its \
         processor time is read then."
            .to_owned()
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        parameters([("clients at once", self.at_once)])
    }

    fn main_figure(&self) -> Figure {
        Figure::CpuPerConnection
    }

    fn seconds(&self) -> f64 {
        0.5 + self.seconds
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let process = round.start(contender, 1_000)?;
        let mut load = Load::new(process.address, 1)?;
        let one = Schedule::new(1, 1.0, 1, 100);
        let after = first_event(&mut load)?;
        load.publish(one)?;
        load.close();

        let returning = Subscription {
            after: Some(after),
            ..Subscription::to(vec![0])
        };
        let time = Duration::from_secs_f64(self.seconds);
        let before = process.cpu()?;
        let stretch = Stretch::of(&process, &mut load, |load| {
            load.churn(self.at_once, &returning, time)
        })?;
        load.close();
        load.wait_until_all_are_gone(one)?;

        // To notice that one is gone is part of what it costs.
        let cpu = process.cpu()?.since(&before);
        let connections = stretch.tally.churned as f64;
        let cpu = cpu.total.as_secs_f64() * 1e6 / connections;
        Ok(Sample::from([
            (Figure::ConnectionsPerSecond, connections / stretch.seconds),
            (Figure::CpuPerConnection, cpu),
            (Figure::PeakMemory, process.memory()?.peak as f64),
            (Figure::LoadBusy, stretch.busy),
        ]))
    }
}
