//! The example, served and read over sockets.

use super::*;
use std::sync::mpsc;

use rocket::fairing::AdHoc;
use rocket::tokio::{spawn, sync::oneshot};

#[rocket::async_test]
async fn quotes_reach_everyone_until_the_server_ends() {
    let (ready, address) = mpsc::channel();
    let app = app(0).attach(AdHoc::on_liftoff("Ready", move |rocket| {
        let config = rocket.config();
        let sent = ready.send((config.address, config.port).into());
        sent.expect("the test waits");
        Box::pin(async {})
    }));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = spawn(app.launch_until(async {
        // The other end is dropped.
        let _ = stopped.await;
    }));
    let address = address.recv().expect("it lifts off");
    hello_check::check(address, || drop(stop));
    let ended = server.await.expect("it does not panic");
    assert!(ended.is_ok(), "{ended:?}");
}
