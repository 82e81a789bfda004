//! Lets the sessions of a destination connect one at a time, and counts the connections.
//!
//! Servers limit the connections that are not logged in yet (`MaxStartups` in `sshd_config(5)`), and often the connections
//! of one client. Two sessions that connect at the same time would lock each other out.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::sftp_driver::SftpDriver;
use crate::error::DeliveryError;
use crate::lock;

/// How long a server may still count a connection that has ended.
const LINGER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct ConnectLimiter {
    connecting: Mutex<()>,
    connections: Arc<Mutex<Connections>>,
}

#[derive(Debug, Default)]
struct Connections {
    open: usize,
    last_closed: Option<Instant>,
}

/// A connection that is counted until it is dropped.
pub(crate) struct ConnectionSlot {
    pub(crate) driver: SftpDriver,
    _counted: CountedConnection,
}

struct CountedConnection(Arc<Mutex<Connections>>);

impl ConnectLimiter {
    /// Connects as soon as no other session is connecting.
    pub(crate) fn connect(
        &self,
        connect: impl FnOnce() -> Result<SftpDriver, DeliveryError>,
    ) -> Result<ConnectionSlot, DeliveryError> {
        let _alone = lock(&self.connecting);
        let driver = connect()?;
        lock(&self.connections).open += 1;
        Ok(ConnectionSlot {
            driver,
            _counted: CountedConnection(Arc::clone(&self.connections)),
        })
    }

    /// Whether any session has a connection.
    pub(crate) fn has_connection(&self) -> bool {
        lock(&self.connections).open > 0
    }

    /// Whether a connection ended so recently that the server may still count it.
    pub(crate) fn has_just_disconnected(&self) -> bool {
        let last_closed = lock(&self.connections).last_closed;
        last_closed.is_some_and(|at| at.elapsed() < LINGER)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut connections = lock(&self.0);
        connections.open -= 1;
        connections.last_closed = Some(Instant::now());
    }
}
