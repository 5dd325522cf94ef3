//! `Flags`: what can be chosen on the command line, the same for every framework's demo.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{builder::ValueParser, error::ErrorKind, value_parser, Parser, ValueEnum};
use fanfare::broadcaster::{Drain, Rate};

use crate::access::Token;

/// One hour: the longest pause that a flag in milliseconds accepts.
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// Connections beside those that can be streams, if nothing else is said.
const SPARE_CONNECTIONS: usize = 1_000;

/// A live dashboard of this machine, sent to the browser as server-sent events.
///
/// [`Flags::parse`](Parser::parse) reads the process's own arguments; whatever is wrong with them
/// is explained on standard error, and the process ends with status 2.
#[derive(Clone, Debug, Parser)]
// Else the paragraph above, which is for programmers, would be part of `--help`.
#[command(long_about = None)]
pub struct Flags {
    /// Address or host name to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", value_parser = host())]
    host: String,

    /// Port to listen on; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    port: u16,

    /// Events kept per topic, for clients that come back; fewer if they have more than 4 KiB on average
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..))]
    history: u32,

    /// Seconds of silence after which a stream gets a keep-alive; fractions allowed
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    keep_alive: Duration,

    /// Milliseconds that clients are told to wait before they reconnect
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = value_parser!(u64).range(1..=HOUR_MS))]
    retry: u64,

    /// Streams open at once; who comes past that is turned away
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..))]
    max_clients: u32,

    /// Connections open at once; who comes past that waits until one is closed [default: 1000 more than
    /// --max-clients]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// How to turn a client away when all streams are taken
    #[arg(long, value_enum, value_name = "HOW", default_value_t = WhenFull::Status)]
    when_full: WhenFull,

    /// Streams open at once per client address; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_per_client: u32,

    /// What happens past that: the new stream is refused, or the address's oldest ended
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = KeyFull::Refuse)]
    when_key_full: KeyFull,

    /// New streams per client address and minute; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    connect_rate: u32,

    /// Seconds after which any stream is ended, a tenth earlier at most; fractions allowed, 0 is never
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds_or_zero)]
    max_lifetime: Duration,

    /// What happens to a client that falls behind what is kept
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = Lag::Resume)]
    lag: Lag,

    /// Milliseconds between two events with this machine's metrics; 0 is off
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = value_parser!(u64).range(..=HOUR_MS))]
    metrics_every: u64,

    /// Seconds for which clients that do not read may hold up the shutdown, after --drain
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = value_parser!(u32).range(1..=3_600))]
    grace: u32,

    /// Milliseconds over which streams end at the shutdown
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = value_parser!(u64).range(..=HOUR_MS))]
    drain: u64,

    /// Seconds within which a client must have sent a request's head, else it is disconnected;
    /// fractions allowed [default: what the framework's server says]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    header_timeout: Option<Duration>,

    /// Seconds within which a client must have sent a request's body, else it is refused; fractions
    /// allowed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    body_timeout: Duration,

    /// Keep history in this directory, where it survives the process
    #[arg(long, value_name = "DIR", conflicts_with = "redis")]
    data_dir: Option<PathBuf>,

    /// Keep history in Redis, shared with every other process on the same URL and stream
    #[arg(long, value_name = "URL")]
    redis: Option<RedisUrl>,

    /// The name of the stream in Redis
    #[arg(
        long,
        value_name = "NAME",
        default_value = "fanfare",
        requires = "redis"
    )]
    stream: String,

    /// What clients must show as `Authorization: Bearer SECRET` to publish, to listen, to get a ticket,
    /// and to look behind the scenes; with --redis, a long one that nobody can guess
    #[arg(long, value_name = "SECRET", value_parser = token)]
    token: Option<Token>,

    /// Seconds for which a ticket is valid; fractions allowed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    ticket_lifetime: Duration,

    /// Speak HTTPS and HTTP/2, with a self-signed certificate made at start
    #[arg(long)]
    tls: bool,
}

/// Where Redis is. It may hold a password, and so can neither be displayed nor debugged.
#[derive(Clone)]
struct RedisUrl(String);

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl").finish_non_exhaustive()
    }
}

/// How a client is turned away when [`Flags::max_clients`] streams are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// Answer 503 with Retry-After; a browser then gives up for good
    #[value(alias = "503")]
    Status,
    /// Answer 200 with a retry and a clean end; a browser then comes back by itself
    Soft,
}

/// What happens when a client address has [`Flags::max_per_client`] streams and opens one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyFull {
    /// It is refused
    Refuse,
    /// The address's oldest is ended, and it is admitted
    EndOldest,
}

/// What happens to a subscriber that falls behind what its topics keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lag {
    /// Go on from the oldest event still kept, after a gap event
    Resume,
    /// Go on from the newest event, after a gap event
    Latest,
    /// End the stream; the client comes back with the last id it saw
    Disconnect,
}

impl Flags {
    /// Where to listen, as everything that takes a socket address takes it.
    ///
    /// Port 0 stands for any free port.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Records kept per topic; at least 1.
    pub fn history(&self) -> usize {
        widen(self.history)
    }

    /// Silence after which a stream gets a keep-alive; never zero.
    pub fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// The pause before a reconnect that clients are told; never zero.
    pub fn retry(&self) -> Duration {
        Duration::from_millis(self.retry)
    }

    /// Streams open at once, whoever opened them; at least 1.
    pub fn max_clients(&self) -> usize {
        widen(self.max_clients)
    }

    /// Connections open at once, streams or not; at least 1. If nothing was said, there is room for
    /// those who only ask, or are one stream too many and are told so.
    pub fn max_connections(&self) -> usize {
        self.max_connections.map_or_else(
            || self.max_clients().saturating_add(SPARE_CONNECTIONS),
            widen,
        )
    }

    /// Whether a number of connections was asked for, which a demo whose server takes any number
    /// [refuses](Self::refuse).
    pub fn limits_connections(&self) -> bool {
        self.max_connections.is_some()
    }

    /// How a client is turned away past [`max_clients`](Self::max_clients).
    pub fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// Streams open at once per client address; `None` is no limit.
    pub fn max_per_client(&self) -> Option<usize> {
        (self.max_per_client > 0).then(|| widen(self.max_per_client))
    }

    /// What happens to an address's streams past that.
    pub fn when_key_full(&self) -> KeyFull {
        self.when_key_full
    }

    /// How fast a client address may open streams; `None` is as fast as it likes.
    pub fn connect_rate(&self) -> Option<Rate> {
        let per_minute = |count| Rate::new(count, Duration::from_secs(60));
        (self.connect_rate > 0).then(|| per_minute(self.connect_rate))
    }

    /// How long any stream may last; `None` is forever.
    pub fn max_lifetime(&self) -> Option<Duration> {
        (!self.max_lifetime.is_zero()).then_some(self.max_lifetime)
    }

    /// What happens to a subscriber that falls behind.
    pub fn lag(&self) -> Lag {
        self.lag
    }

    /// How long clients that do not read, and requests that are no streams, may hold up the
    /// shutdown, in whole seconds.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace.into())
    }

    /// How streams end at the shutdown: over `--drain`, and by [`grace`](Self::grace) later at the
    /// latest.
    pub fn drain(&self) -> Drain {
        let window = Duration::from_millis(self.drain);
        Drain::over(window).bound(window + self.grace())
    }

    /// Time between two events on topic `metrics`; `None` publishes none.
    pub fn metrics_every(&self) -> Option<Duration> {
        (self.metrics_every > 0).then(|| Duration::from_millis(self.metrics_every))
    }

    /// How long a client may take for a request's head, never zero; `None` is the server's own
    /// default. A demo whose server cannot bound it [refuses](Self::refuse).
    pub fn header_timeout(&self) -> Option<Duration> {
        self.header_timeout
    }

    /// How long a client may take for a request's body; never zero.
    pub fn body_timeout(&self) -> Duration {
        self.body_timeout
    }

    /// Where history is kept on this machine, if not in memory.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The Redis that history is kept in, and the stream's name there, if not in memory.
    pub fn redis(&self) -> Option<(&str, &str)> {
        let RedisUrl(url) = self.redis.as_ref()?;
        Some((url, &self.stream))
    }

    /// What clients must show; `None` is nothing.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// How long a ticket is valid; never zero.
    pub fn ticket_lifetime(&self) -> Duration {
        self.ticket_lifetime
    }

    /// Whether to speak HTTPS, which a demo whose framework cannot [refuses](Self::refuse).
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Ends the process with status 2, as for a flag that is not understood, after having said
    /// why on standard error.
    pub fn refuse(why: &str) -> ! {
        clap::Error::raw(ErrorKind::ArgumentConflict, format!("{why}\n")).exit()
    }
}

/// A count from the command line as the size that it limits.
fn widen(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// An empty host would only be noticed by the resolver, whose words help nobody.
fn host() -> ValueParser {
    ValueParser::from(clap::builder::NonEmptyStringValueParser::new())
}

fn token(text: &str) -> Result<Token, String> {
    // A header's value ends neither in white space nor in nothing.
    if text.trim_ascii().is_empty() || text.trim_ascii() != text {
        return Err(String::from(
            "a token is not empty, and neither begins nor ends with a space",
        ));
    }
    Ok(Token::from(text))
}

/// Reads a time in seconds, from a millisecond to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| String::from("not a number of seconds"))?;
    // Written so that NaN, which is in no range, is turned down too.
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err(String::from(
            "must be at least 0.001 and at most 86400 seconds",
        ));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The same, or zero.
fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    seconds(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &str) -> Result<Flags, ErrorKind> {
        Flags::try_parse_from(["demo"].into_iter().chain(arguments.split_whitespace()))
            .map_err(|error| error.kind())
    }

    fn accept(arguments: &str) -> Flags {
        parse(arguments).unwrap_or_else(|kind| panic!("`{arguments}` is refused: {kind}"))
    }

    #[test]
    fn the_command_is_consistent() {
        Flags::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let flags = accept("");
        assert_eq!(flags.address(), ("127.0.0.1", 3000));
        assert_eq!(flags.history(), 1_000);
        assert_eq!(flags.keep_alive(), Duration::from_secs(15));
        assert_eq!(flags.retry(), Duration::from_secs(2));
        assert_eq!(flags.max_clients(), 10_000);
        assert_eq!(flags.max_connections(), 11_000);
        assert!(!flags.limits_connections());
        assert_eq!(flags.when_full(), WhenFull::Status);
        assert_eq!(flags.max_per_client(), None);
        assert_eq!(flags.when_key_full(), KeyFull::Refuse);
        assert_eq!(flags.connect_rate(), None);
        assert_eq!(flags.max_lifetime(), None);
        assert_eq!(flags.lag(), Lag::Resume);
        assert_eq!(flags.metrics_every(), Some(Duration::from_secs(1)));
        assert_eq!(flags.header_timeout(), None);
        assert_eq!(flags.body_timeout(), Duration::from_secs(30));
        assert!(flags.token().is_none());
        assert_eq!(flags.ticket_lifetime(), Duration::from_secs(30));
        assert!(!flags.tls());
        assert_eq!((flags.data_dir(), flags.redis()), (None, None));
        assert_eq!(flags.grace(), Duration::from_secs(1));
        let at_once = Drain::over(Duration::ZERO).bound(Duration::from_secs(1));
        assert_eq!(flags.drain(), at_once);
    }

    #[test]
    fn every_flag_is_heard() {
        let flags = accept(
            "--host ::1 --port 0 --history 5000 --keep-alive 0.25 --retry 50 --max-clients 2 \
             --max-connections 9 --when-full soft --max-per-client 3 --lag disconnect \
             --metrics-every 100 --grace 5 --header-timeout 0.5 --body-timeout 0.75 --tls \
             --when-key-full end-oldest --connect-rate 30 --max-lifetime 1.5 --drain 2000 \
             --token s3cret --ticket-lifetime 0.5",
        );
        assert_eq!(flags.address(), ("::1", 0));
        assert_eq!(flags.history(), 5_000);
        assert_eq!(flags.keep_alive(), Duration::from_millis(250));
        assert_eq!(flags.retry(), Duration::from_millis(50));
        assert_eq!(flags.max_clients(), 2);
        assert_eq!(flags.max_connections(), 9);
        assert!(flags.limits_connections());
        assert_eq!(flags.when_full(), WhenFull::Soft);
        assert_eq!(flags.max_per_client(), Some(3));
        assert_eq!(flags.lag(), Lag::Disconnect);
        assert_eq!(flags.metrics_every(), Some(Duration::from_millis(100)));
        assert_eq!(flags.header_timeout(), Some(Duration::from_millis(500)));
        assert_eq!(flags.body_timeout(), Duration::from_millis(750));
        assert!(flags.tls());
        assert_eq!(flags.grace(), Duration::from_secs(5));
        assert!(flags.token().is_some());
        assert!(!format!("{flags:?}").contains("s3cret"));
        assert_eq!(flags.ticket_lifetime(), Duration::from_millis(500));
        assert_eq!(flags.when_key_full(), KeyFull::EndOldest);
        assert_eq!(flags.connect_rate().map(|rate| rate.count()), Some(30));
        assert_eq!(flags.max_lifetime(), Some(Duration::from_millis(1_500)));
        let drain = Drain::over(Duration::from_secs(2)).bound(Duration::from_secs(7));
        assert_eq!(flags.drain(), drain);
    }

    #[test]
    fn history_is_kept_in_one_place() {
        let flags = accept("--data-dir history");
        assert_eq!(flags.data_dir(), Some(Path::new("history")));
        assert_eq!(flags.redis(), None);
        let flags = accept("--redis redis://localhost --stream other");
        assert_eq!(flags.data_dir(), None);
        assert_eq!(flags.redis(), Some(("redis://localhost", "other")));
        let flags = accept("--redis redis://localhost");
        assert_eq!(flags.redis(), Some(("redis://localhost", "fanfare")));
    }

    #[test]
    fn no_flag_shows_a_password() {
        let flags = accept("--redis redis://user:s3cret@localhost --token t0ken");
        assert_eq!(
            flags.redis().map(|(url, _)| url),
            Some("redis://user:s3cret@localhost")
        );
        let shown = format!("{flags:?} {flags:#?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("t0ken"),
            "{shown}"
        );
    }

    #[test]
    fn choices_have_the_documented_spellings() {
        for (value, expect) in [
            ("status", WhenFull::Status),
            ("503", WhenFull::Status),
            ("soft", WhenFull::Soft),
        ] {
            assert_eq!(accept(&format!("--when-full {value}")).when_full(), expect);
        }
        for (value, expect) in [
            ("resume", Lag::Resume),
            ("latest", Lag::Latest),
            ("disconnect", Lag::Disconnect),
        ] {
            assert_eq!(accept(&format!("--lag {value}")).lag(), expect);
        }
    }

    #[test]
    fn zero_switches_off_where_that_is_documented() {
        let flags =
            accept("--max-per-client 0 --connect-rate 0 --max-lifetime 0 --metrics-every 0");
        assert_eq!(flags.max_per_client(), None);
        assert_eq!(flags.connect_rate(), None);
        assert_eq!(flags.max_lifetime(), None);
        assert_eq!(flags.metrics_every(), None);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for arguments in [
            "--port 65536",
            "--port -1",
            "--history 0",
            "--history many",
            "--keep-alive 0",
            "--keep-alive=-1",
            "--keep-alive 0.0001",
            "--keep-alive 1e300",
            "--keep-alive NaN",
            "--keep-alive inf",
            "--keep-alive soon",
            "--retry 0",
            "--retry 3600001",
            "--max-clients 0",
            "--max-connections 0",
            "--max-per-client=-1",
            "--metrics-every 3600001",
            "--grace 0",
            "--drain 3600001",
            "--token=",
            "--ticket-lifetime 0",
            "--max-lifetime=-1",
            "--connect-rate=-1",
            "--header-timeout 0",
            "--body-timeout 0",
        ] {
            let kind = parse(arguments).err();
            assert!(
                matches!(
                    kind,
                    Some(ErrorKind::ValueValidation | ErrorKind::UnknownArgument)
                ),
                "`{arguments}`: {kind:?}"
            );
        }
        assert_eq!(parse("--host=").err(), Some(ErrorKind::InvalidValue));
        assert_eq!(
            parse("--lag sometimes").err(),
            Some(ErrorKind::InvalidValue)
        );
        assert_eq!(
            parse("--when-full 429").err(),
            Some(ErrorKind::InvalidValue)
        );
        assert_eq!(
            parse("--data-dir a --redis redis://localhost").err(),
            Some(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            parse("--no-such-flag").err(),
            Some(ErrorKind::UnknownArgument)
        );
    }

    #[test]
    fn help_speaks_of_every_flag() {
        let help = Flags::command().render_help().to_string();
        for flag in [
            "--host",
            "--port",
            "--history",
            "--keep-alive",
            "--retry",
            "--max-clients",
            "--max-connections",
            "--when-full",
            "--max-per-client",
            "--when-key-full",
            "--connect-rate",
            "--max-lifetime",
            "--lag",
            "--metrics-every",
            "--grace",
            "--drain",
            "--header-timeout",
            "--body-timeout",
            "--data-dir",
            "--redis",
            "--stream",
            "--token",
            "--ticket-lifetime",
            "--tls",
        ] {
            assert!(help.contains(flag), "{flag} is missing from:\n{help}");
        }
    }
}
