//! [`fairing`], which gives an app its broadcaster, finds dead clients, and ends its streams.

use std::time::{Duration, Instant};

use fanfare_core::Broadcaster;
use fanfare_server::TcpOptions;
use rocket::fairing::{Fairing, Info, Kind, Result};
use rocket::tokio::runtime::Handle;
use rocket::tokio::time::sleep;
use rocket::{Build, Orbit, Rocket};

#[cfg(target_os = "linux")]
use crate::listener::set_options;

/// Elsewhere Rocket's listener cannot be reached.
#[cfg(not(target_os = "linux"))]
fn set_options(_: std::net::SocketAddr, _: TcpOptions) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// No connection ended for so long, of those whose streams have: the others are not about to.
const STUCK: Duration = Duration::from_secs(1);

/// The same, when there need not be any.
const QUIET: Duration = Duration::from_millis(100);

const LOOK: Duration = Duration::from_millis(10);

/// Manages a broadcaster, has dead clients found, and closes the broadcaster when the app shuts
/// down.
///
/// Handlers then take a `&State<Broadcaster>`. Clients that die without a word are found within
/// two keep-alives, on Linux: see [`fairing_with`]. At shutdown, by a signal or by
/// [`Shutdown::notify`](rocket::Shutdown::notify), every stream gets what it has not sent yet and
/// a clean end, and the app exits as soon as they have; a client that has stopped reading holds
/// it up for the grace period (2 seconds unless `shutdown.grace` says otherwise), and one that has
/// sent half a request for `shutdown.mercy` (3 seconds) more.
/// Without it, streams are cut at the end of that period.
///
/// ```
/// use fanfare_core::Broadcaster;
///
/// let hub = Broadcaster::builder().history(1_000).build();
/// let app = rocket::build().attach(fanfare_rocket::fairing(hub));
/// # let _ = app;
/// ```
#[must_use = "a fairing does nothing unless attached"]
pub fn fairing(hub: Broadcaster) -> impl Fairing {
    let options = TcpOptions::new().keep_alive(hub.keep_alive_interval());
    fairing_with(hub, options)
}

/// [`fairing`] with options of your own for the connections.
///
/// Rocket 0.5 binds its listener itself and does not give it out. On Linux, from 5.6 on, the fairing
/// finds it among the process's own files when Rocket begins to listen, and sets the options on it; and
/// lets as many clients wait to be accepted as the other integrations do, 4,096 for Rocket's 1,024.
///
/// Elsewhere, and where that is forbidden, as by Docker's default seccomp profile, a warning is
/// logged, and dead clients are counted until TCP gives up, a quarter of an hour after something was
/// sent to them. Three things help:
///
/// - Allow the system call `pidfd_getfd`.
/// - Put a proxy in front.
/// - Have the system give up sooner: with `sysctl net.ipv4.tcp_retries2=6`, after about 25 seconds,
///   on every connection.
///
/// ```
/// use fanfare_core::Broadcaster;
/// use fanfare_rocket::{fairing_with, TcpOptions};
///
/// // Clients may stop reading for as long as they like, and the dead are left to TCP.
/// let options = TcpOptions::new().user_timeout(None);
/// let app = rocket::build().attach(fairing_with(Broadcaster::new(), options));
/// # let _ = app;
/// ```
#[must_use = "a fairing does nothing unless attached"]
pub fn fairing_with(hub: Broadcaster, options: TcpOptions) -> impl Fairing {
    Fanfare { hub, options }
}

struct Fanfare {
    hub: Broadcaster,
    options: TcpOptions,
}

#[rocket::async_trait]
impl Fairing for Fanfare {
    fn info(&self) -> Info {
        Info {
            name: "Fanfare",
            kind: Kind::Ignite | Kind::Liftoff | Kind::Shutdown,
        }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> Result {
        Ok(rocket.manage(self.hub.clone()))
    }

    async fn on_liftoff(&self, rocket: &Rocket<Orbit>) {
        let config = rocket.config();
        let address = (config.address, config.port).into();
        if let Err(error) = set_options(address, self.options) {
            rocket::warn!(
                "clients that die without a word will be counted until TCP gives up on them, since \
                 no options can be set on the listener: {error}"
            );
        }
    }

    /// Returns when all streams have ended, or Rocket has cut those that have not: a server that
    /// is idle by then exits at once, any other only at the end of the next period.
    async fn on_shutdown(&self, rocket: &Rocket<Orbit>) {
        let grace = Duration::from_secs(rocket.config().shutdown.grace.into());
        // A stream has a task, and so has its connection.
        let few = tasks().saturating_sub(2 * self.hub.stats().subscribers);
        self.hub.close();
        self.hub.ended(grace).await;
        connections_have_ended(few).await;
    }
}

/// Waits for the connections whose streams have ended, as long as there are fewer and fewer: until
/// there are so `few` tasks, or none ends any more.
///
/// Rocket says when a stream is dropped, not when its connection is gone. It looks once whether any is
/// left, after the fairings, and if so waits for its whole grace period.
async fn connections_have_ended(few: usize) {
    let (mut left, mut since) = (tasks(), Instant::now());
    while since.elapsed() < if left > few { STUCK } else { QUIET } {
        sleep(LOOK).await;
        let now = tasks();
        if now < left {
            (left, since) = (now, Instant::now());
        }
    }
}

/// How many tasks the runtime has.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
