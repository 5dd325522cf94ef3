//! `fanfare-bench`: measures every server beside it, and writes the report. `cargo xtask bench` builds
//! and runs it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{value_parser, Parser};
use fanfare_bench::figures::{Report, Skipped};
use fanfare_bench::scenarios::{Round, Scale, Scenario};
use fanfare_bench::server::{self, Contender, Process, Settings};
use fanfare_bench::{contenders, machine, report, run, scenarios, trace};
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

/// Compares Fanfare in each framework with what the framework ships, and both with the floor.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", long_about = None)]
struct Flags {
    /// The short run: under 3 minutes
    #[arg(long)]
    quick: bool,

    /// Only these, separated by commas: axum, actix-web, ...
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    frameworks: Vec<String>,

    /// Only these, separated by commas: steady, burst-20, ...; `idle` means idle-1000 and idle-10000
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scenarios: Vec<String>,

    /// So many clients in every scenario
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    clients: Option<u32>,

    /// Rounds of every server; three give a spread
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,

    /// Where report.html, report.json and report.csv go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    output: PathBuf,

    /// The report.json of an older run: says what became slower
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,

    /// Fanfare once more in the place of each native way: whether equal servers come out equal
    #[arg(long, hide = true)]
    control: bool,

    /// What Rocket costs by itself, in the place of its native way
    #[arg(long, hide = true, conflicts_with = "control")]
    bare: bool,
}

fn main() -> ExitCode {
    match measure(&Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything of ours did what it promises.
fn measure(flags: &Flags) -> Result<bool, Box<dyn Error>> {
    // What is wrong with the flags is said before anything is measured.
    let old = flags.compare.as_deref().map(report::read).transpose()?;
    let scenarios = chosen_scenarios(flags)?;
    let (contenders, mut skipped) = chosen_contenders(flags)?;
    let files = machine::raise_file_limit()?;
    let pinned = machine::two_processors()?;
    // Named before this thread is kept on one of them.
    let machine = machine::describe(pinned);
    let traced = trace::is_available();
    let traces = traced.is_ok();
    skipped.extend(traced.err().map(|failure| Skipped {
        what: "system calls per delivery".to_owned(),
        why: failure.to_string(),
    }));
    let scenarios = within_file_limit(scenarios, files, &mut skipped);
    skipped.extend(scenarios::left_out(&scenarios, &contenders));
    let scenarios = scenarios::with_servers(scenarios, &contenders, &mut skipped);
    let began = OffsetDateTime::now_utc().format(&Rfc3339)?;
    let commit = machine::commit();
    let clock = Instant::now();
    let versions = versions(&contenders, &mut skipped);
    let rounds = usize::try_from(flags.rounds)?;
    let estimate = scenarios::seconds(&scenarios, &contenders, rounds);
    eprintln!("This takes about {}.", in_words(estimate));
    let first = Round {
        number: 1,
        pinned,
        traces,
    };
    let scenarios = run::run(&scenarios, &contenders, rounds, first);
    let mut report = Report {
        format: 3,
        began,
        seconds: clock.elapsed().as_secs_f64(),
        commit,
        quick: flags.quick,
        machine,
        versions,
        scenarios,
        skipped,
    };

    report::finite_or_failed(&mut report);

    print!("{}", report::tables(&report, columns()));
    let written = report::write(&report, &flags.output)?;
    println!("{written}");
    if let Some(old) = old {
        println!("{}", report::compare(&old, &report));
    }
    if let Some(failures) = report::failures(&report) {
        eprintln!("{failures}");
    }
    let mut failed = report.failed();
    let is_fine = failed.all(|(_, row)| !row.server.is_ours());
    Ok(is_fine)
}

/// `40 s`, `12 minutes`.
fn in_words(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} minutes", seconds / 60.0)
    }
}

/// Those that the flags select: by default all, or all that are quick.
fn chosen_scenarios(flags: &Flags) -> Result<Vec<Box<dyn Scenario>>, Box<dyn Error>> {
    let scale = Scale {
        quick: flags.quick,
        clients: flags.clients.map(usize::try_from).transpose()?,
    };
    let mut all = scenarios::all(scale);
    let selects = |chosen: &str, name: &str| {
        name.strip_prefix(chosen)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for chosen in &flags.scenarios {
        if !all.iter().any(|scenario| selects(chosen, &scenario.name())) {
            let names: Vec<String> = all.iter().map(|scenario| scenario.name()).collect();
            return Err(format!("no scenario is named {chosen}, only {}", names.join(", ")).into());
        }
    }
    all.retain(|scenario| match flags.scenarios.as_slice() {
        [] => !flags.quick || scenario.is_quick(),
        chosen => chosen
            .iter()
            .any(|chosen| selects(chosen, &scenario.name())),
    });
    Ok(all)
}

fn chosen_contenders(flags: &Flags) -> Result<(Vec<Contender>, Vec<Skipped>), Box<dyn Error>> {
    for chosen in &flags.frameworks {
        if !contenders::names().any(|name| name == chosen) {
            let names: Vec<&str> = contenders::names().collect();
            let names = names.join(", ");
            return Err(format!("no server is named {chosen}, only {names}").into());
        }
    }
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("this program lies in no folder")?;
    // The peers are no programs of cargo's.
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servers");
    let (contenders, skipped) = contenders::find(folder, &servers, &flags.frameworks);
    if contenders.is_empty() {
        return Err("there is no server beside this program; cargo xtask bench builds them".into());
    }
    let contenders = if flags.control {
        contenders::control(contenders)
    } else if flags.bare {
        contenders::bare(contenders)
    } else {
        contenders
    };
    Ok((contenders, skipped))
}

/// Leaves out what needs more connections than a process may have.
fn within_file_limit(
    scenarios: Vec<Box<dyn Scenario>>,
    files: u64,
    skipped: &mut Vec<Skipped>,
) -> Vec<Box<dyn Scenario>> {
    /// Files that a process has besides these connections.
    const OTHERS: u64 = 100;
    let (fit, large): (Vec<_>, Vec<_>) = scenarios
        .into_iter()
        .partition(|scenario| scenario.connections() + OTHERS <= files);
    skipped.extend(large.into_iter().map(|scenario| Skipped {
        what: scenario.name(),
        why: format!("a process may open no more than {files} files"),
    }));
    fit
}

/// What every server says it is made of, and the compiler.
fn versions(contenders: &[Contender], skipped: &mut Vec<Skipped>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    versions.extend(machine::rustc().map(|version| ("rustc".to_owned(), version)));
    for contender in contenders {
        let settings = Settings {
            workers: 1,
            history: 1,
            channel: None,
            pinned: None,
            shares: false,
        };
        let process = Process::start(contender, settings);
        match process.and_then(|process| server::versions(process.address)) {
            Ok(found) => versions.extend(found),
            Err(failure) => skipped.push(Skipped {
                what: format!("versions of {}", contender.server.name),
                why: failure.to_string(),
            }),
        }
    }
    versions
}

/// The width of the terminal; where there is none, that of a wide one.
fn columns() -> u16 {
    console::Term::stdout()
        .size_checked()
        .map_or(150, |(_, columns)| columns)
}
