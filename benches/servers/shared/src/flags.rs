//! [`Flags`]: the command line, the same for every server.

use clap::{value_parser, Args, Parser, ValueEnum};

/// A server under test. It is started by `cargo xtask bench`.
///
/// Whatever is wrong with the arguments is explained on standard error, and the process ends with
/// status 2.
#[derive(Clone, Debug, Parser)]
#[command(long_about = None)]
pub struct Flags<K: ValueEnum + Send + Sync + 'static> {
    /// What serves the events
    #[arg(value_enum)]
    pub kind: K,

    /// How it is served.
    #[command(flatten)]
    pub settings: Settings,
}

/// What can be chosen of every kind.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Port to listen on, of the loopback address; 0 picks a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,

    /// Worker threads of the runtime
    #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
    pub workers: usize,

    /// Records kept per topic
    #[arg(long, value_name = "N", default_value = "1000", value_parser = count())]
    pub history: usize,

    /// Events that a channel holds for a client that is behind; as many as the history unless told
    #[arg(long, value_name = "N", value_parser = count())]
    pub channel: Option<usize>,
}

impl Settings {
    /// Where to listen.
    #[must_use]
    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    /// Events that a channel holds.
    #[must_use]
    pub fn channel(&self) -> usize {
        self.channel.unwrap_or(self.history)
    }
}

/// A number from 1.
fn count() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    value_parser!(u32)
        .range(1..)
        .map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn parse(arguments: &[&str]) -> Result<Flags<Kind>, clap::Error> {
        Flags::try_parse_from([&["server"], arguments].concat())
    }

    #[test]
    fn every_flag_is_heard() {
        let arguments = [
            "native",
            "--port",
            "8000",
            "--workers",
            "2",
            "--history",
            "5",
            "--channel",
            "3",
        ];
        let flags = parse(&arguments).expect("they are well-formed");
        let settings = flags.settings;
        assert_eq!((flags.kind, settings.port), (Kind::Native, 8000));
        assert_eq!((settings.workers, settings.history), (2, 5));
        assert_eq!(settings.channel(), 3);
    }

    #[test]
    fn defaults_are_those_of_a_first_try() {
        let flags = parse(&["fanfare"]).expect("a kind is enough");
        let settings = flags.settings;
        assert_eq!((settings.port, settings.workers), (0, 1));
        assert_eq!((settings.history, settings.channel()), (1_000, 1_000));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases: [&[&str]; 6] = [
            &[],
            &["strawman"],
            &["native", "--workers", "0"],
            &["native", "--history", "0"],
            &["native", "--channel", "0"],
            &["native", "--port", "70000"],
        ];
        for arguments in cases {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
