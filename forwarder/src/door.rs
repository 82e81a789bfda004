//! How a destination's sessions come in at its door: one at a time, and counted.
//!
//! Servers bound the connections that are not logged in yet (`MaxStartups` in `sshd_config(5)`), and often those that one
//! client may have; two sessions that knock at once would shut each other out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::DeliveryError;
use crate::remote::Remote;

/// The door.
#[derive(Debug, Default)]
pub(crate) struct Door {
    entering: Mutex<()>,
    inside: Arc<AtomicUsize>,
}

/// A connection that counts as inside until it is dropped.
pub(crate) struct Guest {
    pub(crate) remote: Remote,
    _place: Place,
}

struct Place(Arc<AtomicUsize>);

impl Door {
    /// Connects when nobody else is just doing so.
    pub(crate) fn enter(
        &self,
        connect: impl FnOnce() -> Result<Remote, DeliveryError>,
    ) -> Result<Guest, DeliveryError> {
        let _alone = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = connect()?;
        self.inside.fetch_add(1, Ordering::SeqCst);
        Ok(Guest {
            remote,
            _place: Place(Arc::clone(&self.inside)),
        })
    }

    /// Whether any session has a connection.
    pub(crate) fn is_somebody_inside(&self) -> bool {
        self.inside.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
