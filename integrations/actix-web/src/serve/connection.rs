//! [`Connection`]: actix-web's dispatcher, and who writes in its place while a stream waits for its events.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use fanfare_server::chunks::{Broken, Chunks};

use super::wire::Wire;

/// A connection on its way to its end.
pub(super) struct Connection<D> {
    dispatcher: Pin<Box<D>>,
    wire: Rc<Wire>,
    chunks: Chunks,
}

impl<D> Connection<D> {
    pub(super) fn new(dispatcher: D, wire: Rc<Wire>) -> Self {
        Self {
            dispatcher: Box::pin(dispatcher),
            wire,
            chunks: Chunks::new(),
        }
    }
}

impl<D, E> Future for Connection<D>
where
    D: Future<Output = Result<(), E>>,
{
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            dispatcher,
            wire,
            chunks,
        } = &mut *self;
        if wire.is_direct() {
            let mut socket = &**wire;
            match chunks.poll_write(cx, &mut socket, |cx| wire.poll_direct(cx)) {
                // The client has left.
                Poll::Ready(Err(Broken)) => return Poll::Ready(Ok(())),
                // The last chunk is the dispatcher's, and what becomes of the connection.
                Poll::Ready(Ok(())) => wire.give_back(),
                Poll::Pending if wire.poll_said(cx).is_pending() => return Poll::Pending,
                // The dispatcher notices who leaves, and keeps what is asked meanwhile.
                Poll::Pending => {}
            }
        }
        wire.listen();
        let end = dispatcher.as_mut().poll(cx);
        if end.is_pending() {
            wire.take_if_idle();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::future::poll_fn;

    use actix_web::body::{BodySize, MessageBody};
    use actix_web::http::{header, StatusCode};
    use actix_web::rt::net::TcpStream;
    use actix_web::web::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWrite};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::super::relay::lend;
    use super::super::wire::Io;
    use super::*;

    struct Events(mpsc::Receiver<Bytes>);

    impl MessageBody for Events {
        type Error = Infallible;

        fn size(&self) -> BodySize {
            BodySize::Stream
        }

        fn poll_next(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, Infallible>>> {
            self.0.poll_recv(cx).map(|event| event.map(Ok))
        }
    }

    /// In the place of actix-web's: it ends with the body, and has nothing to write but the end.
    async fn dispatch(wire: Rc<Wire>, body: impl MessageBody + 'static, polls: Rc<Cell<usize>>) {
        let mut response = actix_http::Response::build(StatusCode::OK);
        response.insert_header((header::CONTENT_TYPE, "text/event-stream"));
        let response = response.message_body(body).expect("it is complete");
        let (_, body) = lend(Some(Rc::clone(&wire)), response).into_parts();
        let (mut body, mut io) = (Box::pin(body), Io(wire));
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            match body.as_mut().poll_next(cx) {
                Poll::Ready(None) => Poll::Ready(()),
                Poll::Ready(Some(_)) => panic!("an event came to the dispatcher"),
                Poll::Pending => {
                    assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
                    Poll::Pending
                }
            }
        })
        .await;
    }

    #[actix_web::test]
    async fn the_dispatcher_sleeps_from_the_head_to_the_end() {
        const EVENTS: usize = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (socket, _) = listener.accept().await.expect("one has connected");

        let (events, body) = mpsc::channel(1);
        let polls = Rc::new(Cell::new(0));
        let wire = Rc::new(Wire::new(socket));
        let dispatcher = dispatch(Rc::clone(&wire), Events(body), Rc::clone(&polls));
        let dispatcher = async {
            dispatcher.await;
            Ok::<_, Infallible>(())
        };
        let connection = actix_web::rt::spawn(Connection::new(dispatcher, wire));
        // The head.
        while polls.get() == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..EVENTS {
            events.send("event".into()).await.expect("it is open");
            let mut chunk = [0; 10];
            client.read_exact(&mut chunk).await.expect("it is sent");
            assert_eq!(&chunk, b"5\r\nevent\r\n");
        }
        assert_eq!(polls.get(), 1, "for {EVENTS} events");
        drop(events);
        let end = connection.await.expect("it does not panic");
        end.expect("the dispatcher does not fail");
        assert_eq!(polls.get(), 2);
    }
}
