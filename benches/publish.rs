//! What a publish costs the publisher: encode, append, evict, and see to it that those who wait
//! are woken.
//!
//! `to nobody`: no subscribers; the window of the topic is full, so that each event evicts one.
//! One topic that retains 1,000 events, one that retains 10, and 10,000 topics in turn that
//! retain 10 each: the difference between the last two is what it costs to find the topic, in
//! memory that has gone cold.
//!
//! `to waiting`: only the publish is timed, with 1,000, 10,000 and 100,000 tasks asleep. Between
//! two of them all tasks run, untimed, until they have the event and sleep again. The others
//! wake everyone on the publisher's thread; with more than about a thousand, fanfare leaves it
//! to the thread behind its timer.

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use fanfare_benches::{AsyncBroadcast, Contender, Executor, Fanfare, TokioBroadcast, TEXT};
use fanfare_core::{Broadcaster, Event, Topic};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();

    let mut group = criterion.benchmark_group("publish/to nobody");
    to_nobody(&mut group, "one topic of 1,000", 1, 1_000);
    to_nobody(&mut group, "one topic of 10", 1, 10);
    to_nobody(&mut group, "10,000 topics of 10", 10_000, 10);
    group.finish();

    for tasks in [1_000, 10_000, 100_000] {
        let mut group = criterion.benchmark_group(format!("publish/to {tasks} waiting"));
        group.sampling_mode(SamplingMode::Flat);
        to_waiting::<Fanfare>(&mut group, tasks);
        to_waiting::<TokioBroadcast>(&mut group, tasks);
        to_waiting::<AsyncBroadcast>(&mut group, tasks);
        group.finish();
    }
    criterion.final_summary();
}

fn to_nobody(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    topics: usize,
    records_each: usize,
) {
    group.bench_function(name, |bencher| {
        let hub = Broadcaster::builder().history(records_each).build();
        let topics = fanfare_benches::topics(topics);
        let publish = |topic: &Topic| {
            let published = hub.try_publish(topic, Event::data(TEXT));
            published.expect("the log is open, and the event is small")
        };
        for _ in 0..records_each {
            for topic in &topics {
                publish(topic);
            }
        }
        let mut in_turn = topics.iter().cycle();
        bencher.iter(|| in_turn.next().map(publish));
    });
}

fn to_waiting<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>, tasks: usize) {
    group.bench_function(C::NAME, |bencher| {
        let contender = C::new();
        let mut executor = Executor::new(tasks, |tally| contender.follow(tally));
        bencher.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let start = Instant::now();
                let bytes = contender.publish();
                total += start.elapsed();
                executor.run_until_delivered(bytes * tasks as u64);
            }
            total
        });
    });
}
