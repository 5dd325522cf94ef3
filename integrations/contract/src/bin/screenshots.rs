//! Takes the pictures of the README: the demo's page in Chromium, live, after a crash of its
//! server.
//!
//! Run with `cargo build -p demo-axum && cargo run -p fanfare-contract --bin screenshots docs`.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_contract::{Browser, Demo};

/// Long enough for charts that show something.
const LIVE: Duration = Duration::from_secs(120);

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("docs"), PathBuf::from);
    let mut demo = Demo::start("axum", &["--metrics-every", "500", "--retry", "300"]);
    let browser = Browser::start();
    browser.goto(&demo.url());

    browser.wait_for("window.demo.events.length > 20", LIVE);
    demo.kill_9();
    demo.restart();
    browser.wait_for("window.demo.gaps.length > 0", LIVE);
    browser.wait_for("window.demo.events.length > 70", LIVE);
    for (topic, data) in [
        ("orders.eu", r#"{"order": 4711, "total": "42.50 EUR"}"#),
        ("orders.us", r#"{"order": 4712, "total": "17.00 USD"}"#),
        ("deploys", "version 1.4.2 is live"),
    ] {
        demo.publish(topic, data);
        browser.wait_for(
            &format!("window.demo.events.some((event) => event.topic === {topic:?})"),
            LIVE,
        );
    }
    // The page reads the server's own figures every five seconds.
    browser.wait_for("document.body.innerText.includes('deploys')", LIVE);
    browser.screenshot(folder.join("dashboard-light.png"));
    let _ = browser.evaluate("document.getElementById('theme').click()");
    browser.screenshot(folder.join("dashboard-dark.png"));
}
