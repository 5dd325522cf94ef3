//! [`signal`]: the wish of whoever runs the server that it ends.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

/// Completes when the process is asked to end: by SIGINT (Ctrl-C) or SIGTERM, on any runtime.
///
/// The first call starts one thread, `fanfare-signal`, that sleeps until then; from then on the
/// signals do not end the process by themselves. Every future completes, also those made after
/// the signal. A second signal ends the process at once, in the system's own way.
///
/// Where the system refuses the thread or the handler, which nothing but exhaustion makes it do,
/// the future does not complete, and the signals end the process by themselves.
///
/// ```no_run
/// # futures_lite::future::block_on(async {
/// let hub = fanfare::Broadcaster::new();
/// hub.close_when(fanfare::signal()).await;
/// # });
/// ```
pub fn signal() -> Signal {
    static STATE: OnceLock<Arc<State>> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let state = Arc::new(State::default());
        // See above for the refusal.
        let _ = listen(Arc::clone(&state));
        state
    });
    Signal {
        state: Arc::clone(state),
        place: None,
    }
}

/// The future of [`signal`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Signal {
    state: Arc<State>,
    /// Where its waker is kept, once it has been polled.
    place: Option<u64>,
}

#[derive(Debug, Default)]
struct State(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    yes: bool,
    places: u64,
    wakers: HashMap<u64, Waker>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self) {
        let wakers = {
            let mut received = self.lock();
            received.yes = true;
            std::mem::take(&mut received.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut received = this.state.lock();
        if received.yes {
            return Poll::Ready(());
        }
        let place = *this.place.get_or_insert_with(|| {
            received.places += 1;
            received.places
        });
        let old = received.wakers.insert(place, cx.waker().clone());
        // A waker's drop is foreign code: after the unlock.
        drop(received);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let old = self.state.lock().wakers.remove(&place);
            drop(old);
        }
    }
}

#[cfg(unix)]
fn listen(state: Arc<State>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let listener = move || {
        for (nth, signal) in signals.forever().enumerate() {
            state.receive();
            if nth > 0 {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    };
    std::thread::Builder::new()
        .name("fanfare-signal".to_owned())
        .spawn(listener)?;
    Ok(())
}

#[cfg(not(unix))]
fn listen(state: Arc<State>) -> io::Result<()> {
    ctrlc::set_handler(move || state.receive()).map_err(io::Error::other)
}
