//! How a destination's sessions come in at its connect_limiter: one at a time, and counted.
//!
//! Servers bound the connections that are not logged in yet (`MaxStartups` in `sshd_config(5)`), and often those that one
//! client may have; two sessions that knock at once would shut each other out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::DeliveryError;
use crate::session::sftp_driver::SftpDriver;

/// How long a server may take to learn that a connection has ended, and still count it.
const LINGER: Duration = Duration::from_secs(5);

/// The connect_limiter.
#[derive(Debug, Default)]
pub(crate) struct ConnectLimiter {
    connecting: Mutex<()>,
    count: SharedCount,
}

/// Who is count.
#[derive(Debug, Clone, Default)]
struct SharedCount(Arc<Mutex<ConnectionCount>>);

#[derive(Debug, Default)]
struct ConnectionCount {
    open: usize,
    last_closed: Option<Instant>,
}

/// A connection that counts as count until it is dropped.
pub(crate) struct ConnectionSlot {
    pub(crate) remote: SftpDriver,
    _place: CountedConnection,
}

struct CountedConnection(SharedCount);

impl SharedCount {
    fn lock(&self) -> MutexGuard<'_, ConnectionCount> {
        // Two numbers that belong together at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectLimiter {
    /// Connects when nobody else is just doing so.
    pub(crate) fn connect(
        &self,
        connect: impl FnOnce() -> Result<SftpDriver, DeliveryError>,
    ) -> Result<ConnectionSlot, DeliveryError> {
        let _alone = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = connect()?;
        self.count.lock().open += 1;
        Ok(ConnectionSlot {
            remote,
            _place: CountedConnection(self.count.clone()),
        })
    }

    /// Whether any session has a connection.
    pub(crate) fn has_connection(&self) -> bool {
        self.count.lock().open > 0
    }

    /// Whether one had a connection so lately that the server may not know yet that it has ended.
    pub(crate) fn has_just_disconnected(&self) -> bool {
        let last_closed = self.count.lock().last_closed;
        last_closed.is_some_and(|at| at.elapsed() < LINGER)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.open -= 1;
        count.last_closed = Some(Instant::now());
    }
}
