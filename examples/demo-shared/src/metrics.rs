//! `Sampler`: what this machine is doing, as the data of one `metrics` event.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, NetworkData, Networks, RefreshKind, System};

/// Takes [`Sample`]s of the machine, each relative to the one before.
///
/// It holds what rates are computed from, so keep one and ask it again and again. A sample reads a
/// handful of small kernel files and blocks for well under a millisecond on an ordinary machine:
/// short enough to be taken on an async executor's thread.
///
/// ```
/// use demo_shared::metrics::Sampler;
///
/// let mut sampler = Sampler::new();
/// let sample = sampler.sample();
/// assert!(sample.memory.used <= sample.memory.total);
/// ```
#[derive(Debug)]
pub struct Sampler {
    system: System,
    networks: Networks,
    /// When `networks` was last refreshed: its counters are differences since then.
    networks_at: Instant,
}

/// The machine at one moment. Serialized, it is the data of a `metrics` event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When it was taken, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// How busy the processors were since the sample before.
    pub cpu: Cpu,
    /// Memory at this moment.
    pub memory: Memory,
    /// Traffic since the sample before.
    pub network: Network,
    /// Load averages.
    pub load: Load,
    /// Seconds since the machine started.
    pub uptime: u64,
    /// Processes on the machine, where counting them is cheap (Linux); `None` elsewhere.
    pub processes: Option<u64>,
}

/// How busy the processors were, in percent: 0 is idle, 100 is all of the time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cpu {
    /// All cores together, between 0 and 100 however many there are.
    pub total: f32,
    /// Each core.
    pub cores: Vec<f32>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// In use, without caches that the system can give back.
    pub used: u64,
    /// Installed.
    pub total: u64,
    /// Swap space in use.
    pub swap_used: u64,
    /// Swap space there is; 0 where there is none.
    pub swap_total: u64,
}

/// Traffic over every interface but loopback, in bytes per second.
///
/// What passes a bridge and an interface behind it is counted at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Bytes received per second.
    pub received: u64,
    /// Bytes sent per second.
    pub sent: u64,
}

/// Load averages: processes that ran or waited to run. All 0 where a system has none (Windows).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Over the last minute.
    pub one: f64,
    /// Over the last five minutes.
    pub five: f64,
    /// Over the last fifteen minutes.
    pub fifteen: f64,
}

impl Sampler {
    /// Starts measuring: rates in the first sample are since this call.
    ///
    /// Samples less than [`sysinfo::MINIMUM_CPU_UPDATE_INTERVAL`] apart repeat the processor figures:
    /// the operating system counts in steps that are too coarse for less.
    pub fn new() -> Self {
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_cpu_usage())
            .with_memory(MemoryRefreshKind::everything());
        Self {
            system: System::new_with_specifics(wanted),
            networks: Networks::new_with_refreshed_list(),
            networks_at: Instant::now(),
        }
    }

    /// Takes a sample. What the system does not tell is 0, or `None`.
    pub fn sample(&mut self) -> Sample {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        Sample {
            time: milliseconds_since_1970(),
            cpu: self.cpu(),
            memory: self.memory(),
            network: self.network(),
            load: load(),
            uptime: System::uptime(),
            processes: processes(),
        }
    }

    fn cpu(&self) -> Cpu {
        Cpu {
            total: percent(self.system.global_cpu_usage()),
            cores: self
                .system
                .cpus()
                .iter()
                .map(|core| percent(core.cpu_usage()))
                .collect(),
        }
    }

    fn memory(&self) -> Memory {
        let (total, swap_total) = (self.system.total_memory(), self.system.total_swap());
        Memory {
            // Read at different moments, the parts may exceed the whole.
            used: self.system.used_memory().min(total),
            total,
            swap_used: self.system.used_swap().min(swap_total),
            swap_total,
        }
    }

    fn network(&mut self) -> Network {
        // Interfaces that are gone are forgotten, so that their last bytes do not count forever.
        self.networks.refresh(true);
        let elapsed = self.networks_at.elapsed().as_secs_f64();
        self.networks_at = Instant::now();

        let (mut received, mut sent) = (0_u64, 0_u64);
        for (name, interface) in &self.networks {
            if !is_loopback(name, interface) {
                received = received.saturating_add(interface.received());
                sent = sent.saturating_add(interface.transmitted());
            }
        }
        Network {
            received: per_second(received, elapsed),
            sent: per_second(sent, elapsed),
        }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

/// By address; by name too, because an interface that is down has no address.
fn is_loopback(name: &str, interface: &NetworkData) -> bool {
    matches!(name, "lo" | "lo0")
        || interface
            .ip_networks()
            .iter()
            .any(|network| network.addr.is_loopback())
}

fn per_second(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 {
        // Casts from f64 saturate: what is too large becomes the largest.
        (bytes as f64 / seconds) as u64
    } else {
        0
    }
}

/// One decimal is what a chart can show; it keeps the event short.
fn percent(usage: f32) -> f32 {
    if usage.is_finite() {
        (usage.clamp(0.0, 100.0) * 10.0).round() / 10.0
    } else {
        0.0
    }
}

fn load() -> Load {
    let average = System::load_average();
    Load {
        one: average.one,
        five: average.five,
        fifteen: average.fifteen,
    }
}

/// Counts the numbered directories of `/proc`, which opens none of them.
fn processes() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let is_process = |name: &[u8]| name.first().is_some_and(u8::is_ascii_digit);
    let entries = std::fs::read_dir("/proc").ok()?;
    let count = entries
        .flatten()
        .filter(|entry| is_process(entry.file_name().as_encoded_bytes()))
        .count();
    u64::try_from(count).ok()
}

/// A clock set before 1970 reads as 0.
fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_are_in_range() {
        let before = milliseconds_since_1970();
        let sample = Sampler::new().sample();
        assert!((before..=milliseconds_since_1970()).contains(&sample.time));

        assert!((0.0..=100.0).contains(&sample.cpu.total), "{sample:?}");
        assert!(!sample.cpu.cores.is_empty());
        assert!(
            sample
                .cpu
                .cores
                .iter()
                .all(|core| (0.0..=100.0).contains(core)),
            "{sample:?}"
        );

        assert!(sample.memory.total > 0);
        assert!(sample.memory.used <= sample.memory.total);
        assert!(sample.memory.swap_used <= sample.memory.swap_total);

        let Load { one, five, fifteen } = sample.load;
        assert!(one >= 0.0 && five >= 0.0 && fifteen >= 0.0);
        assert_eq!(sample.processes.is_some(), cfg!(target_os = "linux"));
        assert_ne!(sample.processes, Some(0));
    }

    #[test]
    fn a_busy_core_shows() {
        let mut sampler = Sampler::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        // This loop is the work that keeps a core busy until a sample says so.
        while sampler.sample().cpu.total == 0.0 {
            assert!(
                Instant::now() < deadline,
                "the processors seem idle while this test runs"
            );
        }
    }

    #[test]
    fn a_sample_serializes_with_the_names_that_the_page_reads() {
        let sample = Sample {
            time: 1_700_000_000_000,
            cpu: Cpu {
                total: 12.5,
                cores: vec![25.0, 0.0],
            },
            memory: Memory {
                used: 3,
                total: 4,
                swap_used: 1,
                swap_total: 2,
            },
            network: Network {
                received: 10,
                sent: 20,
            },
            load: Load {
                one: 0.5,
                five: 0.25,
                fifteen: 0.125,
            },
            uptime: 60,
            processes: None,
        };
        assert_eq!(
            serde_json::to_string(&sample).expect("a sample is plain data"),
            concat!(
                r#"{"time":1700000000000,"cpu":{"total":12.5,"cores":[25.0,0.0]},"#,
                r#""memory":{"used":3,"total":4,"swap_used":1,"swap_total":2},"#,
                r#""network":{"received":10,"sent":20},"#,
                r#""load":{"one":0.5,"five":0.25,"fifteen":0.125},"#,
                r#""uptime":60,"processes":null}"#,
            )
        );
    }

    #[test]
    fn rates_are_per_second_and_never_impossible() {
        assert_eq!(per_second(1_000, 0.5), 2_000);
        assert_eq!(per_second(1_000, 0.0), 0);
        assert_eq!(per_second(u64::MAX, 1e-9), u64::MAX);
        assert_eq!(percent(f32::NAN), 0.0);
        assert_eq!(percent(-0.1), 0.0);
        assert_eq!(percent(100.4), 100.0);
        assert_eq!(percent(12.345), 12.3);
    }

    #[test]
    fn a_sample_is_cheap() {
        let mut sampler = Sampler::new();
        // The best of several: another test may hold the processor during any one of them.
        let best = (0..20)
            .map(|_| {
                let start = Instant::now();
                sampler.sample();
                start.elapsed()
            })
            .min();
        assert!(
            best.is_some_and(|best| best < Duration::from_millis(5)),
            "{best:?}"
        );
    }
}
