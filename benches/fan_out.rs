//! What it costs to deliver an event to everyone who follows: publish, wake, poll each woken
//! task until it is pending again.
//!
//! 100, 1,000 and 10,000 tasks wait. A round publishes one event, or 20 at once, and then polls
//! every task that was woken until it is pending, as an executor does; it ends when all bytes
//! have been delivered. The figures are per delivery, which is one event to one task: criterion
//! calls it an element. Encoding, waking and waiting again are part of it.
//!
//! All contenders (see `contenders.rs`) are driven by the same code, with the same wakers, on
//! one thread, and hand each task a `Bytes` that shares the one encoded event. What they keep
//! differs: fanfare retains the latest 1,000 events for replay and gives each an id; the others
//! have queues for 32. What they hand out differs: when 20 events are pending, fanfare's cursor
//! finds them joined into one piece, the others give them out one by one.
//!
//! With more than about a thousand tasks, fanfare's waking is done by the thread behind its
//! timer, beside the publisher. The wall clock then also shows how the second core helps; to see
//! the work as such, compare `fanfare, woken inline`.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use fanfare_benches::{
    AsyncBroadcast, Contender, Executor, Fanfare, FanfareWakingInline, TokioBroadcast,
    TokioBroadcastStream,
};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for events in [1, 20] {
        for tasks in [100, 1_000, 10_000] {
            let mut group = criterion.benchmark_group(format!("fan_out/{events}-to-{tasks}"));
            group.throughput(Throughput::Elements(tasks as u64 * events));
            deliver::<Fanfare>(&mut group, events, tasks);
            deliver::<FanfareWakingInline>(&mut group, events, tasks);
            deliver::<TokioBroadcast>(&mut group, events, tasks);
            deliver::<TokioBroadcastStream>(&mut group, events, tasks);
            deliver::<AsyncBroadcast>(&mut group, events, tasks);
            group.finish();
        }
    }
    criterion.final_summary();
}

fn deliver<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>, events: u64, tasks: usize) {
    group.bench_function(C::NAME, |bencher| {
        let contender = C::new();
        let mut executor = Executor::new(tasks, |tally| contender.follow(tally));
        bencher.iter(|| {
            let bytes: u64 = (0..events).map(|_| contender.publish()).sum();
            executor.run_until_delivered(bytes * tasks as u64);
        });
    });
}
