//! What it costs to write an event as the bytes of a stream, and to read it back.
//!
//! Three events: one of 100 bytes encoded, one of as much text in ten lines that end in every
//! way a line can, and 1 KiB of JSON with a name. `encode` is `Event::encode`, with its one
//! allocation; `decode` feeds the same bytes in one piece to a `Decoder` that has been reading
//! for a while, and takes the message. Throughput is in bytes of the stream.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use fanfare_benches::TEXT;
use fanfare_core::{Decoded, Decoder, Event};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let events = [
        ("100 bytes", Event::data(TEXT)),
        ("ten lines", Event::data(ten_lines())),
        ("1 KiB of JSON", Event::data(json()).name("quotes")),
    ];

    let mut group = criterion.benchmark_group("encode");
    for (name, event) in &events {
        group.throughput(Throughput::Bytes(event.encode().len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| black_box(event).encode()));
    }
    group.finish();

    let mut group = criterion.benchmark_group("decode");
    for (name, event) in &events {
        let bytes = event.encode();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(*name, |bencher| {
            let mut decoder = Decoder::new();
            bencher.iter(|| {
                let fed = decoder.feed(black_box(&bytes));
                fed.expect("the event is small");
                match decoder.next() {
                    Some(Decoded::Event(message)) => message,
                    other => unreachable!("one event was fed, and {other:?} came out"),
                }
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Nine bytes a line.
fn ten_lines() -> String {
    ["line one\n", "line two\r", "line 3\r\n"]
        .iter()
        .cycle()
        .take(9)
        .copied()
        .chain(["line ten"])
        .collect()
}

/// An array of quotes, on one line as serializers write it.
fn json() -> String {
    let quotes = 1_024 / (TEXT.len() + 1);
    format!("[{}]", vec![TEXT; quotes].join(","))
}
