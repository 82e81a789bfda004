//! How a destination's sessions come in at its door: one at a time, and counted.
//!
//! Servers bound the connections that are not logged in yet (`MaxStartups` in `sshd_config(5)`), and often those that one
//! client may have; two sessions that knock at once would shut each other out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::DeliveryError;
use crate::remote::Remote;

/// How long a server may take to learn that a connection has ended, and still count it.
const LINGER: Duration = Duration::from_secs(5);

/// The door.
#[derive(Debug, Default)]
pub(crate) struct Door {
    entering: Mutex<()>,
    house: House,
}

/// Who is inside.
#[derive(Debug, Clone, Default)]
struct House(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    guests: usize,
    last_left: Option<Instant>,
}

/// A connection that counts as inside until it is dropped.
pub(crate) struct Guest {
    pub(crate) remote: Remote,
    _place: Place,
}

struct Place(House);

impl House {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Two numbers that belong together at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Connects when nobody else is just doing so.
    pub(crate) fn enter(
        &self,
        connect: impl FnOnce() -> Result<Remote, DeliveryError>,
    ) -> Result<Guest, DeliveryError> {
        let _alone = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = connect()?;
        self.house.lock().guests += 1;
        Ok(Guest {
            remote,
            _place: Place(self.house.clone()),
        })
    }

    /// Whether any session has a connection.
    pub(crate) fn is_somebody_inside(&self) -> bool {
        self.house.lock().guests > 0
    }

    /// Whether one had a connection so lately that the server may not know yet that it has ended.
    pub(crate) fn has_somebody_just_left(&self) -> bool {
        let last_left = self.house.lock().last_left;
        last_left.is_some_and(|at| at.elapsed() < LINGER)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.0.lock();
        inside.guests -= 1;
        inside.last_left = Some(Instant::now());
    }
}
