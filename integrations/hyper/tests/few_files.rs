//! hyper on smol in a process that may have no more files: a test of its own, since the limit is
//! the whole process's.

#![cfg(all(feature = "smol", unix))]

use std::convert::Infallible;
use std::fs::File;
use std::future::IntoFuture;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_hyper::smol::{bind, serve};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// For what should come at once.
const DEADLINE: Duration = Duration::from_secs(30);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// The first connection takes the last file there is, and everybody else waits for it.
#[test]
fn a_server_that_starts_without_files_waits_for_them() {
    panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        eprintln!("{panic}");
    }));
    let listener = smol::block_on(bind("127.0.0.1:0")).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    // They have connected before anybody accepts.
    let mut first = connect(address);
    let mut second = connect(address);
    allow_one_more_file();
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new("answered".to_owned()))
    });
    thread::spawn(move || smol::block_on(serve(listener, service).into_future()));

    assert!(ask(&mut first).ends_with("answered"));
    // The server has two files again: of this end, and of its own.
    drop(first);

    assert!(ask(&mut second).ends_with("answered"));
    // What the server needs later than its connections is there as well.
    assert!(ask(&mut second).ends_with("answered"));
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    let limit = stream.set_read_timeout(Some(DEADLINE));
    limit.expect("a limit above zero");
    stream
}

/// One request's answer, in one piece.
fn ask(stream: &mut TcpStream) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(request).expect("the server reads");
    let mut received = String::new();
    while !received.ends_with("answered") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("the server answers");
        assert_ne!(count, 0, "{received}");
        received.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    received
}

fn allow_one_more_file() {
    let file = File::open("/dev/null").expect("there still is one");
    let next = u64::try_from(file.as_raw_fd()).expect("files count from 0");
    let limits = getrlimit(Resource::Nofile);
    let limits = Rlimit {
        current: Some(next + 1),
        ..limits
    };
    setrlimit(Resource::Nofile, limits).expect("less is always allowed");
    drop(file);
    // So that the count is what the test takes it for.
    let last = File::open("/dev/null").expect("one is left");
    File::open("/dev/null").expect_err("and only one");
    drop(last);
}
