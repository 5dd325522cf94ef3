//! The example, served and read over sockets.

use super::*;
use actix_web::rt;
use tokio::sync::oneshot;

#[actix_web::test]
async fn quotes_reach_everyone_until_the_server_ends() -> io::Result<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (addresses, server) = serve("127.0.0.1:0", async {
        // The other end is dropped.
        let _ = stopped.await;
    })?;
    let server = rt::spawn(server);
    let client = move || hello_check::check(addresses[0], || drop(stop));
    rt::task::spawn_blocking(client).await?;
    server.await?
}
