//! A real Chromium, without a window, driven through chromedriver.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{kill_process_group, Pid, Signal};
use serde_json::{json, Map, Value};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{Request, DEADLINE, POLL_INTERVAL};

/// A browser with one page and a fresh profile. It is ended when this is dropped.
#[derive(Debug)]
pub struct Browser {
    // In the order in which they must go: the page, the programs, the files they hold.
    client: Client,
    runtime: Runtime,
    driver: Driver,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    ///
    /// If `chromedriver` or Chromium is not installed, or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime of one thread can be made");
        let profile = tempfile::tempdir().expect("there is a folder for temporary files");
        let driver = Driver::start();
        let client = runtime
            .block_on(
                ClientBuilder::new(HttpConnector::new())
                    .capabilities(capabilities(profile.path()))
                    .connect(&format!("http://{}", driver.addr)),
            )
            .unwrap_or_else(|error| panic!("chromedriver opens no browser: {error}"));
        Self {
            client,
            runtime,
            driver,
            _profile: profile,
        }
    }

    /// Opens a page.
    ///
    /// # Panics
    ///
    /// If it cannot be loaded.
    #[track_caller]
    pub fn goto(&self, url: &str) {
        self.runtime
            .block_on(self.client.goto(url))
            .unwrap_or_else(|error| panic!("{url} does not open: {error}"));
    }

    /// The value of a JavaScript expression in the page.
    ///
    /// # Panics
    ///
    /// If it throws, or its value is not JSON.
    #[must_use]
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> Value {
        self.try_evaluate(expression)
            .unwrap_or_else(|error| panic!("`{expression}`: {error}{}", self.shown()))
    }

    /// Waits until a JavaScript expression is truthy, and returns its value.
    ///
    /// One that throws is not truthy yet: the page may still be loading.
    ///
    /// # Panics
    ///
    /// If it is not after `limit`, showing the page's text and its console.
    #[track_caller]
    pub fn wait_for(&self, expression: &str, limit: Duration) -> Value {
        let until = Instant::now() + limit;
        loop {
            // `||` hides values that are falsy, of which JavaScript knows more than JSON does.
            let last = self.try_evaluate(&format!("({expression}) || null"));
            match last {
                Ok(value) if !value.is_null() => return value,
                _ if Instant::now() < until => thread::sleep(POLL_INTERVAL),
                Ok(_) => panic!("`{expression}` is not true after {limit:?}{}", self.shown()),
                Err(error) => panic!("`{expression}` after {limit:?}: {error}{}", self.shown()),
            }
        }
    }

    /// Saves a picture of the page as PNG.
    ///
    /// # Panics
    ///
    /// If the picture cannot be taken or written.
    #[track_caller]
    pub fn screenshot(&self, path: impl AsRef<Path>) {
        let picture = self.runtime.block_on(self.client.screenshot());
        let picture = picture.unwrap_or_else(|error| panic!("no picture of the page: {error}"));
        let path = path.as_ref();
        std::fs::write(path, picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let script = format!("return ({expression});");
        let value = self
            .runtime
            .block_on(self.client.execute(&script, Vec::new()));
        value.map_err(|error| error.to_string())
    }

    /// What a person would look at first when the page is not as expected.
    fn shown(&self) -> String {
        let text = self
            .try_evaluate("document.body.innerText")
            .unwrap_or_else(Value::from);
        let state = self.try_evaluate("window.demo").unwrap_or_else(Value::from);
        let state: String = state.to_string().chars().take(SHOWN_CHARS).collect();
        let mut shown = format!("\nwindow.demo: {state}\nthe page's text: {text}\nits console:");
        for entry in self.console() {
            let _ = write!(shown, "\n  {}", entry["message"]);
        }
        shown
    }

    /// What the page wrote to its console, and the browser about it. Chromium has a command for that;
    /// the standard that fantoccini follows has none.
    fn console(&self) -> Vec<Value> {
        let Ok(Some(session)) = self.runtime.block_on(self.client.session_id()) else {
            return Vec::new();
        };
        let target = format!("/session/{session}/se/log");
        let answer = Request::post(&target, r#"{"type": "browser"}"#).send(self.driver.addr);
        answer.json()["value"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = self.client.clone().close();
        // Should it not close in time, the driver's end takes the browser along.
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(CLOSE_LIMIT, close).await });
    }
}

fn capabilities(profile: &Path) -> Map<String, Value> {
    let mut arguments: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let capabilities = json!({
        // The demos make their certificates themselves.
        "acceptInsecureCerts": true,
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    });
    capabilities.as_object().cloned().unwrap_or_default()
}

/// A chromedriver process, and the browser that it starts.
#[derive(Debug)]
struct Driver {
    child: Child,
    addr: SocketAddr,
}

impl Driver {
    #[track_caller]
    fn start() -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own, which can be ended as a whole.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "chromedriver did not start: {error}; on Debian it comes with \
                     `apt-get install chromium chromium-driver`"
                )
            });
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        // The thread reads to the end, so that the driver never waits for room in its pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = port(&line) {
                    let _ = sender.send(port);
                }
            }
        });
        let port = receiver.recv_timeout(DEADLINE);
        let driver = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(0))),
        };
        assert!(
            port.is_ok(),
            "chromedriver does not say on which port it listens"
        );
        driver
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Reads `ChromeDriver was started successfully on port 41221.`
fn port(line: &str) -> Option<u16> {
    line.split_once("successfully on port ")?
        .1
        .trim_end_matches('.')
        .parse()
        .ok()
}

const FLAGS: [&str; 11] = [
    "--headless=new",
    "--window-size=1400,1170",
    "--hide-scrollbars",
    // Containers mostly forbid what the sandbox is made of; the only page is our own.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
const SHOWN_CHARS: usize = 2_000;
