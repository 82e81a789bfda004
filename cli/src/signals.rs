//! What the operator and the service manager say by signals.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit;

/// A role that was told to stop has this long. Shorter than the 10 s of the contract, and than `TimeoutStopSec`.
const STOP_TIME_MAX: Duration = Duration::from_millis(9_500);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM or SIGINT: stop cleanly.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals of this process, caught from the moment this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hang_up.recv() => Request::Reload,
        }
    }
}

/// Ends the process if a clean stop is not over, and this not dropped, after the time that a stop may take. On a thread
/// of its own, so that nothing that hangs can hold it up; what it cuts off is what a crash would, and the next start
/// mends it.
#[derive(Debug)]
pub(crate) struct StopWatch {
    /// Its end is what the thread waits for.
    _stopped: mpsc::Sender<()>,
}

impl StopWatch {
    pub(crate) fn start() -> Self {
        let (stopped, stop) = mpsc::channel();
        thread::spawn(move || {
            if stop.recv_timeout(STOP_TIME_MAX) == Err(RecvTimeoutError::Timeout) {
                exit::complain(
                    "did not stop in time; ended as by a crash, the next start goes on from there",
                );
                std::process::exit(exit::COULD_NOT.into());
            }
        });
        Self { _stopped: stopped }
    }
}
