//! [`Stack`]: redis-server, two instances and nginx, as processes.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};
use tempfile::TempDir;

/// How long something may take to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where everything listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) nginx: u16,
    pub(crate) instances: [u16; 2],
    pub(crate) redis: u16,
}

/// All that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Stack {
    program: PathBuf,
    ports: Ports,
    instances: [Process; 2],
    _nginx: Process,
    _redis: Process,
    _folder: TempDir,
}

impl Stack {
    /// Starts everything, of which `program` is the app, and waits until it can be used.
    pub(crate) fn start(program: &Path, ports: Ports) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let redis = Process::start(
            Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &ports.redis.to_string()])
                .args(["--save", "", "--appendonly", "no"])
                .stdout(Stdio::null()),
        )?;
        let instances = [instance(program, ports, 0)?, instance(program, ports, 1)?];
        let config = folder.path().join("nginx.conf");
        fs::write(&config, configuration(ports))?;
        let nginx = Process::start(
            Command::new(system_program("nginx"))
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&config)
                .args(["-e", "stderr"]),
        )?;
        wait_until_ready(ports.nginx)?;
        Ok(Self {
            program: program.to_owned(),
            ports,
            instances,
            _nginx: nginx,
            _redis: redis,
            _folder: folder,
        })
    }

    /// Ends an instance as a deployment does, and starts a new one in its place.
    pub(crate) fn deploy(&mut self, index: usize) -> io::Result<()> {
        self.instances[index].end()?;
        self.instances[index] = instance(&self.program, self.ports, index)?;
        Ok(())
    }
}

fn instance(program: &Path, ports: Ports, index: usize) -> io::Result<Process> {
    let port = ports.instances[index];
    let redis = format!("redis://127.0.0.1:{}", ports.redis);
    let name = ["one", "two"][index];
    let process = Process::start(
        Command::new(program)
            .args(["serve", name])
            .args([&port.to_string(), &redis]),
    )?;
    wait_until_ready(port)?;
    Ok(process)
}

/// The file that is here to be read, with the ports that are free.
fn configuration(ports: Ports) -> String {
    let address = |port: u16| format!("127.0.0.1:{port}");
    include_str!("../nginx.conf")
        .replace("127.0.0.1:3000", &address(ports.nginx))
        .replace("127.0.0.1:3001", &address(ports.instances[0]))
        .replace("127.0.0.1:3002", &address(ports.instances[1]))
}

/// Until an instance, or nginx for one, says that it is ready.
fn wait_until_ready(port: u16) -> io::Result<()> {
    let is_ready = || -> io::Result<bool> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer)?;
        Ok(&answer == b"HTTP/1.1 200")
    };
    let until = Instant::now() + DEADLINE;
    while !is_ready().unwrap_or(false) {
        if Instant::now() > until {
            let what = format!("nothing is ready on port {port}");
            return Err(io::Error::other(what));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A program that Debian keeps where only root's `PATH` leads.
fn system_program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join(name));
    programs
        .find(|program| program.is_file())
        .unwrap_or_else(|| name.into())
}

/// A process that ends when this is dropped.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        let named = |error| {
            let program = command.get_program().to_string_lossy().into_owned();
            io::Error::other(format!("{program}: {error}"))
        };
        child.map(Self).map_err(named)
    }

    /// Asks it to end, and waits until it has.
    fn end(&mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let status = self.0.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("it ended with {status}")))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not killed, which would leave nginx's workers behind.
        let _ = self.end();
    }
}
