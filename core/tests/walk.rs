//! Start here: one event, from the application that writes it to the client that comes back for
//! the next.

use fanfare_core::{Broadcaster, Decoded, Decoder, Event};
use futures_lite::{future, StreamExt};

#[test]
fn one_event_travels_from_the_publisher_to_a_client_that_returns() {
    future::block_on(async {
        // A client subscribes, as a handler does with `Sse::new(hub.subscribe("prices"))`. What
        // goes out with the headers tells it how long to wait before it reconnects.
        let hub = Broadcaster::builder().history(1_000).build();
        let mut subscriber = hub.subscribe("prices").open().expect("there is room");
        assert_eq!(subscriber.next().await.expect("open"), "retry: 2000\n");

        // The application publishes an event. It is given a place in the log, its id, ...
        let event = Event::data("1.07").name("quote");
        let id = hub.publish("prices", event).await.expect("in memory");

        // ... and is encoded once, as these bytes, whoever listens.
        let page = hub.replay("prices", id_before(id), 10).await;
        let record = &page.expect("in memory").records[0];
        assert_eq!(record.id(), id);
        let on_the_wire = format!("id: {id}\nevent: quote\ndata: 1.07\n\n");
        assert_eq!(record.bytes(), on_the_wire.as_str());

        // The subscriber's cursor moves over it and hands out those very bytes: not a copy.
        let received = subscriber.next().await.expect("published");
        assert_eq!(received.as_ptr(), record.bytes().as_ptr());

        // The client's parser makes a message of them.
        let mut client = Decoder::new();
        client.feed(&received).expect("no line is too long");
        let Some(Decoded::Event(message)) = client.next() else {
            panic!("a whole event has arrived");
        };
        assert_eq!((&*message.name, &*message.data), ("quote", "1.07"));
        assert_eq!(&*message.last_event_id, id.to_string());

        // The connection breaks, and the world goes on without the client.
        drop(subscriber);
        let missed = hub.publish("prices", Event::data("1.08")).await;

        // It returns and says where it stopped. It gets what it missed, and nothing twice.
        let last = fanfare_core::LastEventId::from_request(
            Some(client.last_event_id().as_bytes()), // The header `Last-Event-ID`.
            None,
        );
        let mut subscriber = hub
            .subscribe("prices")
            .after(last)
            .open()
            .expect("there is room");
        assert_eq!(subscriber.next().await.expect("open"), "retry: 2000\n");
        client
            .feed(&subscriber.next().await.expect("missed"))
            .expect("no line is too long");
        let Some(Decoded::Event(message)) = client.next() else {
            panic!("a whole event has arrived");
        };
        assert_eq!(message.data, "1.08");
        assert_eq!(
            *message.last_event_id,
            *missed.expect("in memory").to_string()
        );
        assert_eq!(future::poll_once(subscriber.next()).await, None);
    });
}

fn id_before(id: fanfare_core::EventId) -> fanfare_core::EventId {
    fanfare_core::EventId::new(id.major, id.minor - 1)
}
