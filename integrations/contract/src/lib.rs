//! What the tests of the contract are made of: a demo as a process, a raw HTTP client, a proxy that
//! can fail, a real browser, and clients that others wrote.
//!
//! The tests themselves are in `tests/`, one file per chapter of the contract. Each is written once,
//! for the framework whose name it is given; [`each_framework!`] runs it for all.
//!
//! Everything here waits for the thing itself, up to a deadline, and panics with what it saw instead
//! if that does not come: a harness that cannot do its work has failed its test.

#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "clients")]
mod clients;
mod demo;
mod end;
mod events;
mod history;
mod http;
#[cfg(feature = "tls")]
mod http2;
mod limits;
mod port;
mod proxy;
mod published;
mod redis;
mod roaming;
mod socket;
#[cfg(feature = "tls")]
mod tls;

use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "browser")]
pub use browser::Browser;
#[cfg(feature = "clients")]
pub use clients::{Client, Seen};
pub use demo::{Demo, Footprint};
pub use end::EndOnDrop;
pub use events::{Events, Item, Place};
pub use http::{Body, Connection, End, Head, Piece, Pieces, Request, Response};
#[cfg(feature = "tls")]
pub use http2::{Http2, Http2Body, Http2Response};
pub use limits::{chosen, make_room_for};
pub use port::free_port;
pub use proxy::Proxy;
pub use published::{Outcome, Published};
pub use redis::Redis;
pub use roaming::{Account, Log, Roaming};

/// How long to wait for something that should come at once: long, so that a busy machine makes a
/// test slow and not red.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `check` returns something, and returns that.
///
/// # Panics
///
/// After [`DEADLINE`], naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            Instant::now() < until,
            "waited {DEADLINE:?} in vain for {what}"
        );
        thread::sleep(POLL_INTERVAL);
    }
}

/// Makes tests of functions that take a framework's name: one for each framework that has a demo.
///
/// ```
/// # // Doctests do not run tests; this shows only that it compiles.
/// fn stats_are_there(framework: &str) {
///     let demo = fanfare_contract::Demo::start(framework, &[]);
///     assert!(demo.stats()["subscribers"].is_u64());
/// }
///
/// fanfare_contract::each_framework!(stats_are_there);
/// ```
#[macro_export]
macro_rules! each_framework {
    ($($test:ident),+ $(,)?) => {
        $crate::each_framework!(@ actix_web "actix-web" $($test)+);
        $crate::each_framework!(@ axum "axum" $($test)+);
        $crate::each_framework!(@ hyper "hyper" $($test)+);
        $crate::each_framework!(@ warp "warp" $($test)+);
        $crate::each_framework!(@ rocket "rocket" $($test)+);
    };
    (@ $module:ident $framework:literal $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    super::$test($framework);
                }
            )+
        }
    };
}

/// As [`each_framework!`], for those that speak TLS and HTTP/2 by themselves: all but warp.
#[macro_export]
macro_rules! each_framework_with_tls {
    ($($test:ident),+ $(,)?) => {
        $crate::each_framework!(@ actix_web "actix-web" $($test)+);
        $crate::each_framework!(@ axum "axum" $($test)+);
        $crate::each_framework!(@ hyper "hyper" $($test)+);
        $crate::each_framework!(@ rocket "rocket" $($test)+);
    };
}

/// As [`each_framework!`], for those that bound half requests: all but Rocket.
#[macro_export]
macro_rules! each_framework_with_header_timeout {
    ($($test:ident),+ $(,)?) => {
        $crate::each_framework!(@ actix_web "actix-web" $($test)+);
        $crate::each_framework!(@ axum "axum" $($test)+);
        $crate::each_framework!(@ hyper "hyper" $($test)+);
        $crate::each_framework!(@ warp "warp" $($test)+);
    };
}

/// As [`each_framework!`], for tests of minutes whose subject is behind the frameworks: one on tokio and
/// one on smol.
#[macro_export]
macro_rules! each_framework_under_load {
    ($($test:ident),+ $(,)?) => {
        $crate::each_framework!(@ axum "axum" $($test)+);
        $crate::each_framework!(@ hyper "hyper" $($test)+);
    };
}

/// Whether the framework drops the stream of a client that has disconnected at once.
///
/// Rocket runs each response in a task apart from its connection, and tells it that the client
/// has gone only when it next sends something: an event or a keep-alive.
#[must_use]
pub fn notices_disconnects_at_once(framework: &str) -> bool {
    framework != "rocket"
}

/// How many keep-alives it takes until a client that left after it had sent more than its request is
/// no longer counted.
///
/// The first is answered with a reset, at the second hyper drops the connection; Rocket's response
/// is told with the third.
#[must_use]
pub fn keep_alives_for_who_had_sent_more(framework: &str) -> usize {
    if framework == "rocket" {
        3
    } else {
        2
    }
}

/// Whether the framework hands on header values that are not UTF-8.
///
/// Rocket drops such headers before anybody sees them.
#[must_use]
pub fn hands_on_headers_of_any_bytes(framework: &str) -> bool {
    framework != "rocket"
}

/// Whether the framework gives up half of a request that is not its connection's first.
///
/// actix-web's `client_request_timeout` is for the first, and its `keep_alive` ends with the next
/// byte.
#[must_use]
pub fn bounds_later_half_requests(framework: &str) -> bool {
    framework != "actix-web"
}

/// The longest head of a request that the framework's demo reads, in bytes; one byte less may do.
///
/// actix-web's and Rocket's are fixed.
#[must_use]
pub fn longest_head(framework: &str) -> usize {
    match framework {
        "actix-web" => 128 << 10,
        "rocket" => (8 << 10) + 100 * (4 << 10),
        _ => 64 << 10,
    }
}

/// How much memory requests may take that a client sends before it has read the answer to the first.
#[must_use]
pub fn requests_ahead(framework: &str) -> usize {
    if framework == "actix-web" {
        48 << 20
    } else {
        1 << 20
    }
}

pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
