//! [`RocketExt`], a launch that always ends as it should.

use std::future::Future;
use std::pin::pin;

use rocket::tokio::select;
use rocket::{Build, Config, Error, Ignite, Rocket};

/// Launches an app that ends gracefully.
pub trait RocketExt {
    /// [`launch`](Rocket::launch), until `signal` completes; then a graceful shutdown.
    ///
    /// It replaces Rocket's own handling of signals (`shutdown.ctrlc`, `shutdown.signals`), which
    /// has a race: Rocket 0.5 looks twice whether it shuts down, and a signal that comes between
    /// the two, as it may when a client connects at that moment, ends the server without its
    /// shutdown fairings, cuts every stream, and is an error. Here the signal is awaited in the
    /// server's own task, and so cannot come in between.
    ///
    /// To spread the ends of streams, wait for
    /// [`drain_when`](fanfare_core::Broadcaster::drain_when) in the signal's place:
    /// `launch_until(hub.drain_when(signal, drain))`. And
    /// [`serve`](fanfare_core::Broadcaster::serve) around it all bounds the wait for clients that do
    /// not read, in the place of `shutdown.grace`.
    ///
    /// # Errors
    ///
    /// As [`launch`](Rocket::launch).
    ///
    /// ```no_run
    /// use fanfare_core::Broadcaster;
    /// use fanfare_rocket::RocketExt;
    ///
    /// # async fn serve(signal: impl std::future::Future<Output = ()> + Send) -> Result<(), rocket::Error> {
    /// let hub = Broadcaster::new();
    /// rocket::build()
    ///     .attach(fanfare_rocket::fairing(hub))
    ///     .launch_until(signal)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    fn launch_until(
        self,
        signal: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<Rocket<Ignite>, Error>> + Send;
}

impl RocketExt for Rocket<Build> {
    async fn launch_until(
        self,
        signal: impl Future<Output = ()> + Send,
    ) -> Result<Rocket<Ignite>, Error> {
        let own_signals_off = self
            .figment()
            .clone()
            .merge((format!("{}.ctrlc", Config::SHUTDOWN), false))
            .merge((format!("{}.signals", Config::SHUTDOWN), Vec::<&str>::new()));
        let rocket = self.configure(own_signals_off).ignite().await?;
        let shutdown = rocket.shutdown();
        let mut server = pin!(rocket.launch());
        select! {
            result = &mut server => result,
            () = signal => {
                shutdown.notify();
                server.await
            }
        }
    }
}
