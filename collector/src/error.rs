//! Why a collector cannot run.

use std::io;

use logferry_durable::{DiskError, LockError};
use logferry_protocol::names::LogName;
use logferry_telemetry::HealthEndpointError;

use crate::capture::CaptureError;

/// Why a collector cannot run. A source that is down is no reason.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The state folder cannot be made.
    #[error("the state folder (collector.state_dir) cannot be used")]
    StateDir(#[source] DiskError),
    /// Another collector uses the state folder.
    #[error("another collector uses this state folder; stop it, or set another collector.state_dir")]
    Locked(#[source] LockError),
    /// The state of a source cannot be used.
    #[error("the capture of source {name} cannot be used")]
    Capture {
        /// The source.
        name: LogName,
        /// What is wrong with it.
        #[source]
        error: CaptureError,
    },
    /// A thread could not be started.
    #[error("the thread that writes a capture cannot be started")]
    Thread(#[source] io::Error),
    /// The address of the metrics cannot be listened on.
    #[error(transparent)]
    Metrics(#[from] HealthEndpointError),
}
