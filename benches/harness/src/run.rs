//! Rounds: every server in turn, and then all of them again.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};

use crate::figures::{Figure, Row, Scenario as Measured, Server, Spread, BUSY};
use crate::load::Failure;
use crate::measure::Sample;
use crate::scenarios::{Round, Scenario};
use crate::server::Contender;

/// Runs scenarios.
///
/// Servers take turns, A B A B, so that what changes on the machine meanwhile meets all of them; where
/// a scenario has groups, those in a group take turns within each round, too.
#[must_use]
pub fn run(
    scenarios: &[Box<dyn Scenario>],
    contenders: &[Contender],
    rounds: usize,
    round: Round,
) -> Vec<Measured> {
    let groups = scenarios.iter().flat_map(|one| one.groups(contenders));
    let steps: usize = groups.map(|group| group.len() * rounds).sum();
    let progress = progress_bar(steps as u64);
    let measured = scenarios
        .iter()
        .map(|scenario| run_one(scenario.as_ref(), contenders, rounds, round, &progress))
        .collect();
    progress.finish_and_clear();
    measured
}

fn progress_bar(steps: u64) -> ProgressBar {
    let template = "{wide_bar} {pos}/{len}, {eta} left\n{msg}";
    // It is hidden where standard error is no terminal.
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The rounds of one server.
struct Series {
    server: Server,
    samples: Vec<Sample>,
    failures: Vec<String>,
}

fn run_one(
    scenario: &dyn Scenario,
    contenders: &[Contender],
    rounds: usize,
    circumstances: Round,
    progress: &ProgressBar,
) -> Measured {
    let mut series: Vec<Series> = scenario
        .servers(contenders)
        .iter()
        .map(|contender| Series {
            server: contender.server.clone(),
            samples: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    let mut groups = scenario.groups(contenders);
    for number in 1..=rounds {
        let round = Round {
            number,
            traces: circumstances.traces && number == 1,
            ..circumstances
        };
        let mut outcomes = Vec::new();
        for group in &groups {
            progress.set_message(format!(
                "{}: {}, round {number}",
                scenario.name(),
                names(group)
            ));
            // Who has failed once has no figures, and may need long to fail again.
            let mut fit = group.clone();
            fit.retain(|one| {
                of(&mut series, &one.server).is_some_and(|one| one.failures.is_empty())
            });
            let servers = fit.iter().map(|one| one.server.clone());
            outcomes.extend(servers.zip(scenario.round_of_group(round, &fit)));
            progress.inc(group.len() as u64);
        }
        // Those who took turns within the round know their ratios better.
        if groups.iter().all(|group| group.len() == 1) {
            add_ratios(&mut outcomes, scenario.main_figure());
        }
        for (server, outcome) in outcomes {
            if let Some(series) = of(&mut series, &server) {
                series.add(number, outcome);
            }
        }
        // Another begins in the next round.
        if !groups.is_empty() {
            groups.rotate_left(1);
        }
    }
    if has_no_floor(&series) {
        for sample in series.iter_mut().flat_map(|one| &mut one.samples) {
            sample.remove(&Figure::RatioToFloor);
        }
    }
    Measured {
        name: scenario.name(),
        description: scenario.description() + &remarks(&series),
        parameters: scenario.parameters(),
        main_figure: Some(scenario.main_figure()),
        rows: series.into_iter().map(Series::into_row).collect(),
    }
}

/// What has to be said of how it went.
fn remarks(series: &[Series]) -> String {
    let mut remarks = String::new();
    let slowed = slowed_by_load(series);
    if !slowed.is_empty() {
        remarks.push_str(&format!(
            " The load was busy for more than {BUSY} % of the time with {}: their times are as \
             much its own.",
            slowed.join(", ")
        ));
    }
    if has_no_floor(series) {
        remarks.push_str(" The floor failed, so there are no ratios to it.");
    }
    remarks
}

/// Whether the floor took part and failed.
fn has_no_floor(series: &[Series]) -> bool {
    let has_failed = |one: &Series| one.server.is_floor() && !one.failures.is_empty();
    series.iter().any(has_failed)
}

/// What came of a server in a round.
type Outcome = (Server, Result<Sample, Failure>);

/// Adds the ratios of a round in which the servers ran one after another.
fn add_ratios(outcomes: &mut [Outcome], main: Figure) {
    let value = |outcomes: &[Outcome], is_it: &dyn Fn(&Server) -> bool, figure| -> Option<f64> {
        let (_, outcome) = outcomes.iter().find(|(server, _)| is_it(server))?;
        let &value = outcome.as_ref().ok()?.get(&figure)?;
        (value > 0.0).then_some(value)
    };
    let floor = value(outcomes, &Server::is_floor, Figure::CpuPerDelivery);
    let bases: Vec<Option<f64>> = outcomes
        .iter()
        .map(|(server, _)| {
            let is_its_base = |other: &Server| other.is_base() && other.name == server.name;
            let base = value(outcomes, &is_its_base, main);
            base.filter(|_| server.is_fanfare())
        })
        .collect();
    for ((_, outcome), base) in outcomes.iter_mut().zip(bases) {
        let Ok(sample) = outcome else { continue };
        for (figure, of, base) in [
            (Figure::RatioToFloor, Figure::CpuPerDelivery, floor),
            (Figure::RatioToNative, main, base),
        ] {
            if let (Some(own), Some(base)) = (sample.get(&of).copied(), base) {
                sample.insert(figure, own / base);
            }
        }
    }
}

/// The rounds of a server.
fn of<'a>(series: &'a mut [Series], server: &Server) -> Option<&'a mut Series> {
    series.iter_mut().find(|one| one.server == *server)
}

/// Who is in a group, in words.
fn names(group: &[Contender]) -> String {
    let name = |one: &Contender| format!("{} {}", one.server.name, one.server.kind);
    group.iter().map(name).collect::<Vec<_>>().join(", ")
}

impl Series {
    fn add(&mut self, number: usize, outcome: Result<Sample, Failure>) {
        match outcome {
            Ok(sample) => self.samples.push(sample),
            Err(failure) => self.failures.push(format!("round {number}: {failure}")),
        }
    }

    fn into_row(self) -> Row {
        let mut rounds: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
        if self.failures.is_empty() {
            for (figure, value) in self.samples.into_iter().flatten() {
                rounds.entry(figure).or_default().push(value);
            }
        }
        let spread = |(figure, values): (Figure, Vec<f64>)| Some((figure, Spread::of(&values)?));
        Row {
            server: self.server,
            figures: rounds.into_iter().filter_map(spread).collect(),
            failures: self.failures,
        }
    }
}

/// Those with whom the load was too busy in some round.
fn slowed_by_load(series: &[Series]) -> Vec<String> {
    let is_slowed = |sample: &Sample| {
        let busy = sample.get(&Figure::LoadBusy);
        busy.is_some_and(|&busy| busy > BUSY)
    };
    let slowed = series
        .iter()
        .filter(|one| one.samples.iter().any(is_slowed));
    slowed
        .map(|one| format!("{} {}", one.server.name, one.server.kind))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Gives out what it was told to.
    struct Scripted(Mutex<VecDeque<Result<Sample, Failure>>>);

    impl Scenario for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn description(&self) -> String {
            "Nothing is done.".to_owned()
        }

        fn parameters(&self) -> BTreeMap<String, u64> {
            BTreeMap::new()
        }

        fn seconds(&self) -> f64 {
            0.0
        }

        fn round(&self, _: Round, _: &Contender) -> Result<Sample, Failure> {
            let mut script = self.0.lock().expect("no thread has panicked");
            script.pop_front().expect("the script is long enough")
        }
    }

    /// Runs a floor and a native server.
    fn run_script(script: Vec<Result<Sample, Failure>>, rounds: usize) -> Measured {
        run_servers(2, script, rounds)
    }

    /// Runs so many of a floor, a native server and Fanfare's.
    fn run_servers(
        servers: usize,
        script: Vec<Result<Sample, Failure>>,
        rounds: usize,
    ) -> Measured {
        let contender = |kind: &str| Contender {
            server: Server {
                name: "some".to_owned(),
                kind: kind.to_owned(),
            },
            program: "unused".into(),
            kind: kind.to_owned(),
            publishes_lines: true,
            has_usual_ids: true,
        };
        let scenario: Box<dyn Scenario> = Box::new(Scripted(Mutex::new(script.into())));
        let round = Round {
            number: 1,
            pinned: None,
            traces: false,
        };
        let contenders = [
            contender("floor"),
            contender("native"),
            contender("fanfare"),
        ];
        let contenders = &contenders[..servers];
        let mut measured = run(&[scenario], contenders, rounds, round);
        measured.remove(0)
    }

    fn cost(micros: f64) -> Result<Sample, Failure> {
        Ok(Sample::from([(Figure::CpuPerDelivery, micros)]))
    }

    fn range(measured: &Measured, row: usize, figure: Figure) -> Option<(f64, f64, usize)> {
        let spread = measured.rows[row].figures.get(&figure)?;
        Some((spread.min, spread.max, spread.rounds))
    }

    #[test]
    fn a_ratio_is_of_its_own_round() {
        // In the second round the order is another.
        let costs = [2.0, 4.0, 6.0, 30.0, 60.0, 10.0];
        let measured = run_servers(3, costs.map(cost).into(), 2);
        let floor = |row| range(&measured, row, Figure::RatioToFloor);
        assert_eq!(floor(0), Some((1.0, 1.0, 2)));
        assert_eq!(floor(1), Some((2.0, 3.0, 2)));
        assert_eq!(floor(2), Some((3.0, 6.0, 2)));
        let native = |row| range(&measured, row, Figure::RatioToNative);
        assert_eq!((native(0), native(1)), (None, None));
        assert_eq!(native(2), Some((1.5, 2.0, 2)));
    }

    #[test]
    fn without_the_floor_there_is_no_ratio_to_it() {
        let failure = || Err(Failure::Server("gone".to_owned()));
        // It fails in the second round, in which native begins.
        let measured = run_script(vec![cost(2.0), cost(4.0), cost(4.0), failure()], 2);
        assert_eq!(range(&measured, 1, Figure::RatioToFloor), None);
        assert!(range(&measured, 1, Figure::CpuPerDelivery).is_some());
        assert!(measured.description.contains("The floor failed"));
    }

    #[test]
    fn who_fails_once_has_no_figures_and_no_further_rounds() {
        let failure = || Err(Failure::Server("gone".to_owned()));
        let measured = run_script(
            // Native begins in the second round.
            vec![cost(2.0), cost(4.0), failure(), cost(2.0), cost(2.0)],
            3,
        );
        let row = &measured.rows[1];
        assert!(row.figures.is_empty());
        assert_eq!(row.failures, ["round 2: server: gone"]);
        assert_eq!(measured.rows[0].figures[&Figure::CpuPerDelivery].rounds, 3);
    }

    #[test]
    fn a_busy_load_is_confessed() {
        let busy = |percent| Ok(Sample::from([(Figure::LoadBusy, percent)]));
        let measured = run_script(vec![busy(50.0), busy(95.0)], 1);
        assert!(measured
            .description
            .contains("more than 90 % of the time with some native:"));
        let measured = run_script(vec![busy(50.0), busy(85.0)], 1);
        assert_eq!(measured.description, "Nothing is done.");
    }
}
