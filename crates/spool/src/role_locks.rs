//! The locks in the data folder: a role that runs holds its own. Whoever must know that a role does not run takes its lock; so the
//! names are the same for all.

use std::path::Path;

use logferry_durable::{LockError, LockFile};

/// Of the relay.
pub const RELAY_LOCK: &str = "relay.lock";
/// Of the forwarder.
pub const FORWARDER_LOCK: &str = "forwarder.lock";
/// Of the housekeeper, while a pass runs.
pub const HOUSEKEEPER_LOCK: &str = "housekeeper.lock";
/// Of the housekeeper that runs by the clock, for as long as it lives. Beside it a backup, or a run by hand, takes turns with its
/// passes.
pub const HOUSEKEEPER_DAEMON_LOCK: &str = "housekeeper-daemon.lock";
/// Of the monitor.
pub const MONITOR_LOCK: &str = "monitor.lock";

/// The roles that move files of the spool.
pub const MOVING_ROLES: [&str; 3] = [RELAY_LOCK, FORWARDER_LOCK, HOUSEKEEPER_LOCK];
/// The roles that use the ledger.
pub const LEDGER_ROLES: [&str; 4] = [RELAY_LOCK, FORWARDER_LOCK, HOUSEKEEPER_LOCK, MONITOR_LOCK];

/// Keeps these roles from starting.
pub fn lock_roles(data_dir: &Path, roles: &[&str]) -> Result<Vec<LockFile>, LockError> {
    let lock = |name| LockFile::acquire(&data_dir.join(name));
    roles.iter().map(lock).collect()
}
