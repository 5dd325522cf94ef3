//! `transports`: server-sent events beside what else could carry them.

use std::collections::BTreeMap;

use super::{parameters, seconds_to_connect, Round, Scale, Scenario};
use crate::figures::Figure;
use crate::load::{Failure, Load, Schedule, Subscription, Transport, POLL_INTERVAL};
use crate::measure::{Sample, Stretch};
use crate::server::Contender;

pub(super) struct Transports {
    clients: usize,
    seconds: f64,
}

/// Events per second.
const PER_SECOND: u64 = 20;

/// By what the server calls them.
const TRANSPORTS: [(&str, Transport); 4] = [
    ("sse", Transport::EventStream),
    ("websocket", Transport::WebSocket),
    ("long-poll", Transport::LongPoll),
    ("poll", Transport::Poll),
];

impl Transports {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            clients: scale.clients(500, 200),
            // 100 publishes, since it has a 99th percentile.
            seconds: scale.pick(5.0, 1.0),
        }
    }
}

impl Scenario for Transports {
    fn name(&self) -> String {
        "transports".to_owned()
    }

    fn description(&self) -> String {
        format!(
            "The same events by other transports, all served by axum: server-sent events and long \
             and short polling from Fanfare, WebSockets from a broadcast channel. Polling takes \
             place every {} s.",
            POLL_INTERVAL.as_secs()
        )
    }

    fn parameters(&self) -> BTreeMap<String, u64> {
        let mut parameters = parameters([("clients", self.clients), ("bytes", 100)]);
        parameters.insert("publishes per second".to_owned(), PER_SECOND);
        parameters
    }

    fn servers(&self, all: &[Contender]) -> Vec<Contender> {
        let Some(axum) = all.iter().find(|other| other.server.name == "axum") else {
            return Vec::new();
        };
        let by = |(kind, _): (&str, Transport)| axum.clone().under_another_name(kind, kind);
        TRANSPORTS.into_iter().map(by).collect()
    }

    fn seconds(&self) -> f64 {
        // Those who poll have everything a second later.
        seconds_to_connect(self.clients) + 3.0 + self.seconds
    }

    fn round(&self, round: Round, contender: &Contender) -> Result<Sample, Failure> {
        let transport = TRANSPORTS
            .into_iter()
            .find_map(|(kind, transport)| (kind == contender.kind).then_some(transport))
            .unwrap_or(Transport::EventStream);
        let process = round.start(contender, 1_000)?;
        let mut load = Load::new(process.address, 1)?;
        // Those who poll learn from it where to begin.
        load.publish(Schedule::new(1, 1.0, 1, 100))?;
        load.subscribe((0..self.clients).map(|_| Subscription {
            transport,
            ..Subscription::to(vec![0])
        }))?;
        load.publish(Schedule::new(PER_SECOND, 1.0, 1, 100))?;

        let measured = Schedule::new(PER_SECOND, self.seconds, 1, 100);
        let stretch = Stretch::of(&process, &mut load, |load| load.publish(measured))?;
        let requests = stretch.tally.requests as f64 / stretch.tally.received as f64;
        let mut sample = stretch.deliveries();
        sample.insert(Figure::RequestsPerEvent, requests);
        load.finish()?;
        Ok(sample)
    }
}
