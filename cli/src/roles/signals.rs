//! Signals of the operator and the service manager, and the deadline of a stop.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output::{console, exit};

/// Time limit for a stop. Shorter than the 10 s of the contract, and than `TimeoutStopSec` of the units.
const STOP_TIME_MAX: Duration = Duration::from_millis(9_500);

/// The request behind a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalRequest {
    /// SIGTERM or SIGINT: stop cleanly.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals of this process, caught since this was made.
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
    pub(crate) async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::Stop,
            _ = self.interrupt.recv() => SignalRequest::Stop,
            _ = self.hang_up.recv() => SignalRequest::Reload,
        }
    }
}

/// Ends the process unless this is dropped within [`STOP_TIME_MAX`]. It runs on its own thread, so that no hanging task can
/// delay it. The end is like a crash, from which the next start recovers.
#[derive(Debug)]
pub(crate) struct StopDeadline {
    /// The thread waits until this is dropped.
    _stopped: mpsc::Sender<()>,
}

impl StopDeadline {
    pub(crate) fn start() -> Self {
        let (stopped, stop) = mpsc::channel();
        thread::spawn(move || {
            if stop.recv_timeout(STOP_TIME_MAX) == Err(RecvTimeoutError::Timeout) {
                console::print_error(
                    "stop took too long; process ended as after a crash, the next start recovers",
                );
                std::process::exit(exit::WORK_FAILED.into());
            }
        });
        Self { _stopped: stopped }
    }
}
