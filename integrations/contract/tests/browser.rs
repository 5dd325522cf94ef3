//! The demo's page in a real browser: `EventSource` as Chromium has it, not as we read the standard.

use std::path::Path;

use fanfare_contract::{each_framework, wait_for, Browser, Demo, Events, Proxy, Request, DEADLINE};
use serde_json::{json, Value};

fn the_page_shows_live_metrics(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "100"]);
    let browser = Browser::start();
    browser.goto(&demo.url());

    let metrics = "window.demo.events.filter((event) => event.topic === 'metrics')";
    browser.wait_for(&format!("{metrics}.length >= 3"), DEADLINE);
    // What arrives is shown as well: the page does not stay as it is now.
    let now = browser.evaluate("document.body.innerText");
    browser.wait_for(&format!("document.body.innerText !== {now}"), DEADLINE);

    let data = browser.evaluate(&format!("{metrics}[0].data"));
    let is_object = match &data {
        Value::String(text) => serde_json::from_str::<Value>(text).is_ok_and(|v| v.is_object()),
        data => data.is_object(),
    };
    assert!(is_object, "metrics are JSON, not {data}");
    assert_eq!(browser.evaluate("window.demo.gaps"), json!([]));
    browser.screenshot(picture(&format!("{framework}-metrics.png")));
}

fn the_page_outlives_a_crash_of_the_server(framework: &str) {
    let mut demo = Demo::start(framework, &["--metrics-every", "100", "--retry", "200"]);
    let browser = Browser::start();
    browser.goto(&demo.url());
    browser.wait_for("window.demo.events.length >= 3", DEADLINE);
    let seen = browser.evaluate("window.demo.lastId");

    demo.kill_9();
    demo.restart();

    // The log was in memory, so the page is told that what it saw belongs to another life of it.
    let gaps = browser.wait_for("window.demo.gaps.length > 0 && window.demo.gaps", DEADLINE);
    assert_eq!(gaps.as_array().map(Vec::len), Some(1), "{gaps}");
    assert_eq!(gaps[0]["reason"], "epoch");
    // More may have come between reading the id and the crash, but not from a later life.
    let epoch = |id: &Value| {
        id.as_str()
            .and_then(|id| id.split('-').next())
            .map(str::to_owned)
    };
    assert_eq!(
        epoch(&gaps[0]["from"]),
        epoch(&seen),
        "{gaps}, seen: {seen}"
    );

    let id = demo.publish("after-the-crash", "still there");
    let found = "window.demo.events.find((event) => event.topic === 'after-the-crash')";
    let event = browser.wait_for(found, DEADLINE);
    assert_eq!(event["id"], id);
    assert_eq!(event["data"], "still there");
    assert_eq!(browser.evaluate("window.demo.gaps.length"), 1);
}

fn the_page_misses_nothing_while_the_network_is_down(framework: &str) {
    let demo = Demo::start(framework, &["--metrics-every", "0", "--retry", "200"]);
    let proxy = Proxy::start(demo.addr());
    let browser = Browser::start();
    browser.goto(&proxy.url());
    browser.wait_for("window.demo.opened", DEADLINE);
    let mut published = vec![demo.publish("orders", "0")];
    let orders = "window.demo.events.filter((event) => event.topic === 'orders')";
    browser.wait_for(&format!("{orders}.length === 1"), DEADLINE);

    proxy.cut();
    published.extend((1..=500).map(|n| demo.publish("orders", n.to_string())));
    proxy.restore();
    // One more, live, so that what came twice or too late would be seen before it.
    published.push(demo.publish("orders", "last"));

    browser.wait_for(
        &format!("{orders}.some((event) => event.data === 'last')"),
        DEADLINE,
    );
    let received = browser.evaluate(&format!("{orders}.map((event) => event.id)"));
    assert_eq!(received, json!(published));
    assert_eq!(browser.evaluate("window.demo.gaps"), json!([]));
}

fn a_page_gets_in_as_soon_as_there_is_room(framework: &str) {
    let flags = [
        "--max-clients",
        "1",
        "--when-full",
        "soft",
        "--retry",
        "200",
    ];
    let demo = Demo::start(framework, &[&["--metrics-every", "0"], &flags[..]].concat());
    let mut inside = Events::open(demo.addr(), &Request::get("/events/news")).opened();
    let browser = Browser::start();
    browser.goto(&demo.url());
    // `EventSource` does not give up, and comes back by itself.
    wait_for("some refusals", || {
        (demo.stats()["rejected"].as_u64() >= Some(3)).then_some(())
    });
    let first = demo.publish("news", "while it waits");
    assert_eq!(&*inside.event().last_event_id, first);

    drop(inside);

    let news = "window.demo.events.find((event) => event.topic === 'news')";
    let found = wait_for("the page to have come in", || {
        // Which also shows that the other has left, wherever only an event does.
        demo.publish("other", "x");
        let found = browser.evaluate(&format!("{news} ?? null"));
        (!found.is_null()).then_some(found)
    });
    // It missed nothing while it waited.
    assert_eq!(found["id"], first);
    assert_eq!(browser.evaluate("window.demo.gaps"), json!([]));
    assert_eq!(demo.stats()["subscribers"], 1);
}

fn the_page_asks_for_the_token_and_takes_a_ticket_each_time(framework: &str) {
    let flags = [
        "--token",
        "open-sesame",
        "--metrics-every",
        "100",
        "--retry",
        "200",
    ];
    let mut demo = Demo::start(framework, &flags);
    let browser = Browser::start();
    browser.goto(&demo.url());
    let show = |token: &str| {
        browser.wait_for("document.getElementById('token-dialog').open", DEADLINE);
        let fill = format!(
            "(document.getElementById('token').value = '{token}', \
             document.querySelector('#token-dialog button').click(), true)"
        );
        assert_eq!(browser.evaluate(&fill), json!(true));
    };
    show("wrong");
    show("open-sesame");
    browser.wait_for("window.demo.events.length >= 3", DEADLINE);
    assert_eq!(browser.evaluate("window.demo.gaps"), json!([]));

    // Its ticket has been used, and the new process would not take it anyway: it fetches another.
    demo.kill_9();
    demo.restart();

    let gaps = browser.wait_for("window.demo.gaps.length > 0 && window.demo.gaps", DEADLINE);
    assert_eq!(gaps[0]["reason"], "epoch", "{gaps}");
    let seen = browser.evaluate("window.demo.events.length");
    browser.wait_for(&format!("window.demo.events.length > {seen}"), DEADLINE);

    // The other page has the token from this one.
    browser.goto(&format!("{}/debug", demo.url()));
    let topics = "document.getElementById('topics').innerText";
    browser.wait_for(&format!("{topics}.includes('metrics')"), DEADLINE);
}

/// Where pictures go: a folder that cargo keeps for the tests.
fn picture(name: &str) -> impl AsRef<Path> {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

each_framework!(
    the_page_shows_live_metrics,
    the_page_outlives_a_crash_of_the_server,
    the_page_misses_nothing_while_the_network_is_down,
    a_page_gets_in_as_soon_as_there_is_room,
    the_page_asks_for_the_token_and_takes_a_ticket_each_time,
);
