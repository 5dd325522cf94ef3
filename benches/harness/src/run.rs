//! Rounds: every server in turn, and then all of them again.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};

use crate::figures::{Figure, Row, Scenario as Measured, Server, Spread};
use crate::load::Failure;
use crate::measure::Sample;
use crate::scenarios::{Round, Scenario};
use crate::server::Contender;

/// Above this share of the time, in percent, what is measured may be the load.
const BUSY: f64 = 90.0;

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
    let groups = scenario.groups(contenders);
    for number in 1..=rounds {
        let round = Round {
            traces: circumstances.traces && number == 1,
            ..circumstances
        };
        let mut floor = None;
        for group in &groups {
            progress.set_message(format!(
                "{}: {}, round {number}",
                scenario.name(),
                names(group)
            ));
            // Who has failed once has no figures, and may need long to fail again.
            let mut fit = group.clone();
            fit.retain(|one| of(&mut series, one).is_some_and(|series| series.failures.is_empty()));
            for (contender, outcome) in fit.iter().zip(scenario.round_of_group(round, &fit)) {
                if let Some(series) = of(&mut series, contender) {
                    series.add(number, outcome, &mut floor);
                }
            }
            progress.inc(group.len() as u64);
        }
    }
    let slowed = slowed_by_load(&series);
    let mut description = scenario.description();
    if !slowed.is_empty() {
        description.push_str(&format!(
            " The load was busy for more than {BUSY} % of the time with {}: their times are as \
             much its own.",
            slowed.join(", ")
        ));
    }
    Measured {
        name: scenario.name(),
        description,
        parameters: scenario.parameters(),
        rows: series.into_iter().map(Series::into_row).collect(),
    }
}

/// The rounds of a contender.
fn of<'a>(series: &'a mut [Series], contender: &Contender) -> Option<&'a mut Series> {
    series.iter_mut().find(|one| one.server == contender.server)
}

/// Who is in a group, in words.
fn names(group: &[Contender]) -> String {
    let name = |one: &Contender| format!("{} {}", one.server.name, one.server.kind);
    group.iter().map(name).collect::<Vec<_>>().join(", ")
}

impl Series {
    /// Adds a round; `floor` is what a delivery cost the floor in it.
    fn add(&mut self, number: usize, outcome: Result<Sample, Failure>, floor: &mut Option<f64>) {
        match outcome {
            Ok(mut sample) => {
                if let Some(&cost) = sample.get(&Figure::CpuPerDelivery) {
                    if self.server.kind == "floor" {
                        *floor = Some(cost);
                    }
                    if let Some(floor) = floor {
                        // Those who took turns with it within the round know better.
                        let ratio = cost / *floor;
                        sample.entry(Figure::RatioToFloor).or_insert(ratio);
                    }
                }
                self.samples.push(sample);
            }
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

        fn round(&self, _: Round, _: &Contender) -> Result<Sample, Failure> {
            let mut script = self.0.lock().expect("no thread has panicked");
            script.pop_front().expect("the script is long enough")
        }
    }

    fn run_script(script: Vec<Result<Sample, Failure>>, rounds: usize) -> Measured {
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
            pinned: None,
            traces: false,
        };
        let contenders = [contender("floor"), contender("native")];
        let mut measured = run(&[scenario], &contenders, rounds, round);
        measured.remove(0)
    }

    fn cost(micros: f64) -> Result<Sample, Failure> {
        Ok(Sample::from([(Figure::CpuPerDelivery, micros)]))
    }

    #[test]
    fn a_ratio_is_of_its_own_round() {
        let measured = run_script(vec![cost(2.0), cost(4.0), cost(10.0), cost(30.0)], 2);
        let ratio = measured.rows[1].figures[&Figure::RatioToFloor];
        assert_eq!((ratio.min, ratio.max, ratio.rounds), (2.0, 3.0, 2));
        let floor = measured.rows[0].figures[&Figure::RatioToFloor];
        assert_eq!((floor.min, floor.max), (1.0, 1.0));
    }

    #[test]
    fn a_ratio_that_was_taken_in_turns_stands() {
        let in_turns = |micros, ratio| {
            Ok(Sample::from([
                (Figure::CpuPerDelivery, micros),
                (Figure::RatioToFloor, ratio),
            ]))
        };
        let measured = run_script(vec![in_turns(2.0, 1.0), in_turns(9.0, 3.0)], 1);
        assert_eq!(measured.rows[1].figures[&Figure::RatioToFloor].median, 3.0);
    }

    #[test]
    fn who_fails_once_has_no_figures_and_no_further_rounds() {
        let failure = || Err(Failure::Server("gone".to_owned()));
        let measured = run_script(
            vec![cost(2.0), cost(4.0), cost(2.0), failure(), cost(2.0)],
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
