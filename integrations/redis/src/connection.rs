//! [`Connector`]: how each thread comes to a connection of its own, when it tries again, and what
//! all of them know of the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fanfare_core::history::Retention;
use fanfare_core::EventId;
use redis::{Client, Cmd, Connection, ConnectionAddr, IntoConnectionInfo, Value};

use crate::fault::{Fault, Kind};

/// The pauses between attempts to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// After this long without a word, a connection is asked whether it is there before an append is
/// trusted to it.
const QUIET: Duration = Duration::from_secs(5);

macro_rules! script {
    ($first:literal, $own:literal) => {
        concat!(
            $first,
            include_str!("scripts/open.lua"),
            include_str!("scripts/sort.lua"),
            include_str!($own)
        )
    };
}

const SCRIPTS: [&str; 3] = [
    script!("local IS_READER = false\n", "scripts/append.lua"),
    script!("local IS_READER = true\n", "scripts/log.lua"),
    script!("local IS_READER = true\n", "scripts/topics.lua"),
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    Append = 0,
    Log = 1,
    Topics = 2,
}

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Connector {
    client: Client,
    /// Of a cluster, the node that has the log, where that is another than the URL's.
    moved_to: Mutex<Option<Client>>,
    pub(crate) keys: Keys,
    pub(crate) retention: Retention,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// The newest id that this process has seen: a server that does not know it has lost it.
    known: Mutex<EventId>,
    /// How many connections have broken.
    broken: AtomicU64,
}

/// The names of the keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    stream: String,
    prefix: String,
    pub(crate) own: [String; 5],
}

impl Keys {
    pub(crate) fn new(stream: &str) -> Self {
        // One hash slot: a cluster keeps them all on one node.
        let prefix = format!("{{{stream}}}");
        let own =
            ["meta", "log", "topics", "state", "marks"].map(|name| format!("{prefix}:{name}"));
        let stream = stream.to_owned();
        Self {
            stream,
            prefix,
            own,
        }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    pub(crate) fn log(&self) -> &str {
        &self.own[1]
    }

    pub(crate) fn topics(&self) -> &str {
        &self.own[2]
    }

    pub(crate) fn state(&self) -> &str {
        &self.own[3]
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.topics_prefix())
    }

    /// What the keys of all topics' streams begin with.
    fn topics_prefix(&self) -> String {
        format!("{}:t:", self.prefix)
    }

    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}:k:{key}", self.prefix)
    }

    #[cfg(feature = "tickets")]
    pub(crate) fn used(&self, ticket: u128) -> String {
        format!("{}:used:{ticket:032x}", self.prefix)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connector {
    pub(crate) fn new(
        client: Client,
        stream: &str,
        retention: Retention,
        timeouts: (Duration, Duration),
    ) -> Self {
        Self {
            client,
            moved_to: Mutex::new(None),
            keys: Keys::new(stream),
            retention,
            connect_timeout: timeouts.0,
            response_timeout: timeouts.1,
            known: Mutex::new(EventId::new(0, 0)),
            broken: AtomicU64::new(0),
        }
    }

    /// Notes an id that the server has told.
    pub(crate) fn note(&self, id: EventId) {
        let mut known = lock(&self.known);
        *known = (*known).max(id);
    }

    pub(crate) fn known(&self) -> EventId {
        *lock(&self.known)
    }

    fn connect(&self) -> Result<Open, Fault> {
        let moved = lock(&self.moved_to).clone();
        let client = moved.as_ref().unwrap_or(&self.client);
        let connected = self.connect_to(client);
        if connected.is_err() {
            // The next attempt asks the URL's server where the log is now.
            *lock(&self.moved_to) = None;
        }
        connected.map_err(Fault::unsent)
    }

    fn connect_to(&self, client: &Client) -> Result<Open, Fault> {
        let mut connection = client.get_connection_with_timeout(self.connect_timeout)?;
        connection.set_read_timeout(Some(self.response_timeout))?;
        connection.set_write_timeout(Some(self.response_timeout))?;
        let info: String = redis::cmd("INFO").query(&mut connection)?;
        let field = |name: &str| {
            let value =
                |line: &'_ str| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned());
            info.lines().find_map(value)
        };
        let is = |name, wanted: &str| field(name).is_some_and(|value| value == wanted);
        if is("loading", "1") {
            return Err(Fault::new(Kind::Refused, "the server is loading its data"));
        }
        // That of a cluster says which node is the master, when it is asked for the log.
        if is("role", "slave") && !is("cluster_enabled", "1") {
            return Err(Fault::new(Kind::Refused, "the server is a replica"));
        }
        let run_id = field("run_id").ok_or_else(|| Fault::unexpected("run_id"))?;
        // A replica that was promoted may lack what its master had answered.
        let was_replica = !field("master_replid2").is_some_and(|id| id.bytes().all(|b| b == b'0'));
        let mut syncs_always = || {
            let mut command = redis::cmd("CONFIG");
            let answer = command.arg("GET").arg("appendfsync").query(&mut connection);
            let answer: Vec<String> = answer.unwrap_or_default();
            answer.get(1).is_some_and(|value| value == "always")
        };
        let is_lossless = is("aof_enabled", "1") && !was_replica && syncs_always();
        let mut hashes = Vec::new();
        for script in SCRIPTS {
            let hash = redis::cmd("SCRIPT")
                .arg("LOAD")
                .arg(script)
                .query(&mut connection)?;
            hashes.push(hash);
        }
        Ok(Open {
            connection,
            run_id,
            is_lossless,
            hashes,
            used: Instant::now(),
            owed: 0,
            leaves: None,
        })
    }

    /// Goes where a cluster says that the log is.
    fn follow(&self, fault: &Fault) {
        let Some((host, port)) = fault.moved_to() else {
            return;
        };
        let info = self.client.get_connection_info().clone();
        let mut address = info.addr().clone();
        let (ConnectionAddr::Tcp(named, at)
        | ConnectionAddr::TcpTls {
            host: named,
            port: at,
            ..
        }) = &mut address
        else {
            return;
        };
        // A node that does not know its own name leaves it out.
        if !host.is_empty() {
            host.clone_into(named);
        }
        *at = port;
        let client = info
            .set_addr(address)
            .into_connection_info()
            .and_then(Client::open);
        *lock(&self.moved_to) = client.ok();
    }
}

/// A connection that has been made ready.
struct Open {
    connection: Connection,
    run_id: String,
    is_lossless: bool,
    hashes: Vec<String>,
    /// When it last had an answer.
    used: Instant,
    /// How many answers are still to come.
    owed: usize,
    /// Why it is to be let go of when they have come.
    leaves: Option<Fault>,
}

/// One thread's connection, while there is one.
pub(crate) struct Link<'a> {
    connector: &'a Connector,
    open: Option<Open>,
    /// How many connections had broken when it was known to be there.
    broken: u64,
    tries: u32,
    /// Why there is none, and when the next attempt is due.
    failed: Option<(Fault, Instant)>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            open: None,
            broken: 0,
            tries: 0,
            failed: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether it is let go of as soon as it owes no more answers: nothing more is to be sent on it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.leaves.is_some())
    }

    /// Whether there is no connection because none could be made, or none that answers.
    pub(crate) fn has_failed(&self) -> bool {
        self.open.is_none() && self.failed.is_some()
    }

    /// How long the next attempt is away.
    pub(crate) fn pause(&self) -> Duration {
        let due = self.failed.as_ref().map(|(_, due)| *due);
        due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }

    /// Connects, if there is no connection and an attempt is due.
    pub(crate) fn open(&mut self) -> Result<(), Fault> {
        if self.is_open() {
            return Ok(());
        }
        if let Some((fault, due)) = &self.failed {
            if Instant::now() < *due {
                return Err(fault.clone());
            }
        }
        self.broken = self.connector.broken.load(Ordering::Relaxed);
        match self.connector.connect() {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(fault) => {
                self.fail(fault.clone());
                Err(fault)
            }
        }
    }

    /// [`open`](Self::open), of a connection that has just been heard of, or has been asked.
    pub(crate) fn open_surely(&mut self) -> Result<(), Fault> {
        let broken = self.connector.broken.load(Ordering::Relaxed);
        let is_doubtful = broken != self.broken;
        if let Some(open) = &mut self.open {
            // It is not asked while it owes answers: the next to come is another's.
            if open.owed == 0 && (is_doubtful || open.used.elapsed() > QUIET) {
                self.broken = broken;
                let answer: redis::RedisResult<String> =
                    redis::cmd("PING").query(&mut open.connection);
                match answer {
                    Ok(_) => open.used = Instant::now(),
                    Err(_) => self.open = None,
                }
            }
        }
        self.open()
    }

    /// The next attempt is made after a pause. Pauses grow, and each is shortened by chance, so that not
    /// all processes come at the same moment.
    fn fail(&mut self, fault: Fault) {
        self.open = None;
        let longest = PAUSES
            .0
            .saturating_mul(1 << self.tries.min(16))
            .min(PAUSES.1);
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.tries = self.tries.saturating_add(1);
        self.failed = Some((fault, Instant::now() + pause));
    }

    /// Lets go of the connection. The first attempt since the server last answered is made at once, as
    /// most connections that break have been idle, or lead elsewhere; the next after a pause.
    fn lose(&mut self, fault: Fault) {
        if self.tries == 0 {
            self.tries = 1;
            self.open = None;
        } else {
            self.fail(fault);
        }
    }

    /// Lets go of the connection, if the fault says so: when what it owes has come, unless it broke.
    fn judge(&mut self, fault: &Fault) {
        match fault.kind {
            Kind::Broken => {
                self.lose(fault.clone());
                self.broken = self.connector.broken.fetch_add(1, Ordering::Relaxed) + 1;
            }
            Kind::Elsewhere => {
                self.connector.follow(fault);
                self.leave(fault);
            }
            Kind::Refused if fault.is_of_replica() => self.leave(fault),
            Kind::Refused | Kind::Failed => {}
        }
    }

    fn leave(&mut self, fault: &Fault) {
        if let Some(open) = &mut self.open {
            open.leaves.get_or_insert_with(|| fault.clone());
        }
    }

    /// Lets go of the connection, if it was to be and owes nothing any more.
    fn settle(&mut self) {
        let leaves = self.open.as_mut().filter(|open| open.owed == 0);
        match leaves.and_then(|open| open.leaves.take()) {
            Some(fault) if fault.kind == Kind::Elsewhere => self.lose(fault),
            Some(fault) => self.fail(fault),
            None => {}
        }
    }

    /// A call of a script. Its key names follow ours; the arguments after ours are its own.
    pub(crate) fn call(&self, script: Script, keys: &[String]) -> Result<Cmd, Fault> {
        let open = self.open.as_ref().ok_or_else(not_open)?;
        let hash = open.hashes.get(script as usize).ok_or_else(not_open)?;
        let own = &self.connector.keys.own;
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(hash)
            .arg(own.len() + keys.len())
            .arg(own)
            .arg(keys);
        command
            .arg(&open.run_id)
            .arg(if open.is_lossless { "1" } else { "0" });
        command.arg(self.connector.known().to_string());
        let retention = &self.connector.retention;
        command
            .arg(self.connector.keys.topics_prefix())
            .arg(counted(retention.max_records()))
            .arg(counted(retention.max_bytes()))
            .arg(millis_of(retention.max_age()));
        Ok(command)
    }

    pub(crate) fn send(&mut self, command: &Cmd) -> Result<(), Fault> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        let sent = open
            .connection
            .send_packed_command(&command.get_packed_command());
        match sent {
            Ok(()) => {
                open.owed += 1;
                Ok(())
            }
            Err(error) => Err(self.take(error.into())),
        }
    }

    pub(crate) fn receive(&mut self) -> Result<Value, Fault> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        let value = open
            .connection
            .recv_response()
            .and_then(Value::extract_error);
        open.owed = open.owed.saturating_sub(1);
        let answer = match value {
            Ok(value) => {
                open.used = Instant::now();
                self.tries = 0;
                self.failed = None;
                Ok(value)
            }
            Err(error) => Err(self.take(error.into())),
        };
        self.settle();
        answer
    }

    fn take(&mut self, fault: Fault) -> Fault {
        self.judge(&fault);
        fault
    }

    pub(crate) fn ask(&mut self, command: &Cmd) -> Result<Value, Fault> {
        self.send(command)?;
        self.receive()
    }

    /// Gives the server so long for an answer, from now on.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Result<(), Fault> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        let set = open.connection.set_read_timeout(Some(time));
        set.map_err(|error| self.take(error.into()))
    }
}

/// A number as the scripts take it: Lua counts exactly up to 2^53.
pub(crate) fn counted(number: usize) -> u64 {
    (number as u64).min(1 << 52)
}

/// An age as the scripts take it, at most a hundred years; 0 is any age.
fn millis_of(age: Option<Duration>) -> u64 {
    const CENTURY: u128 = 100 * 365 * 24 * 3_600 * 1_000;
    age.map_or(0, |age| {
        u64::try_from(age.as_millis().clamp(1, CENTURY)).unwrap_or(0)
    })
}

fn not_open() -> Fault {
    Fault::new(Kind::Refused, "the server is away")
}
