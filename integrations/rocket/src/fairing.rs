//! [`fairing`], which gives an app its broadcaster and ends its streams.

use std::time::Duration;

use fanfare_core::Broadcaster;
use rocket::fairing::{Fairing, Info, Kind, Result};
use rocket::tokio::time::sleep;
use rocket::{Build, Orbit, Rocket};

/// How long a connection whose stream has ended needs to send the end.
///
/// Rocket says when the stream is dropped, not when the connection is. If this is too short,
/// Rocket waits for its grace period to pass, and nothing is lost.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// Manages a broadcaster, and closes it when the app shuts down.
///
/// Handlers then take a `&State<Broadcaster>`. At shutdown, by a signal or by
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
    Fanfare(hub)
}

struct Fanfare(Broadcaster);

#[rocket::async_trait]
impl Fairing for Fanfare {
    fn info(&self) -> Info {
        Info {
            name: "Fanfare",
            kind: Kind::Ignite | Kind::Shutdown,
        }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> Result {
        Ok(rocket.manage(self.0.clone()))
    }

    /// Returns when all streams have ended, or Rocket has cut those that have not: a server that
    /// is idle by then exits at once, any other only at the end of the next period.
    async fn on_shutdown(&self, rocket: &Rocket<Orbit>) {
        let grace = Duration::from_secs(rocket.config().shutdown.grace.into());
        self.0.close();
        self.0.ended(grace).await;
        sleep(LAST_BYTES).await;
    }
}
