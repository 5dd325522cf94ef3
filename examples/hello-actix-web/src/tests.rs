//! The example, served and read over sockets.

use super::*;
use actix_web::rt;
use tokio::sync::oneshot;

#[actix_web::test]
async fn quotes_reach_everyone_until_the_server_ends() -> io::Result<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = fanfare::actix_web::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = rt::spawn(serve(listener, async {
        // The other end is dropped.
        let _ = stopped.await;
    }));
    let client = move || hello_check::check(address, || drop(stop));
    rt::task::spawn_blocking(client).await?;
    server.await?
}
