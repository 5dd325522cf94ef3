//! The example, served and read over sockets.

use super::*;
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread")]
async fn quotes_reach_everyone_until_the_server_ends() -> io::Result<()> {
    let listener = fanfare::warp::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, async {
        // The other end is dropped.
        let _ = stopped.await;
    }));
    hello_check::check(address, || drop(stop));
    server.await?
}
