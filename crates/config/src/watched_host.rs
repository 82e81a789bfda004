//! What the monitor and the console know of the other sections of their host.

use std::path::PathBuf;

use logferry_protocol::names::GroupName;

use crate::forwarder::filter::Subscriber;

/// The relay needs so many free bytes unless its section says otherwise.
pub(crate) const MIN_FREE_DISK: u64 = 1 << 30;

/// What the monitor watches on its host, beside the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedHost {
    /// The groups of the relay.
    pub groups: Vec<GroupName>,
    /// The destinations.
    pub destinations: Vec<Subscriber>,
    /// With fewer free bytes the relay takes no lines.
    pub min_free_disk: u64,
    /// The roles with a section, each with the folder of its files.
    pub roles: Vec<(&'static str, PathBuf)>,
    /// Whether it has a monitor, though nobody may wait for its signs of life: the demo empties `roles`.
    pub has_monitor: bool,
    /// The certificates that roles of this host use.
    pub certificates: Vec<WatchedCertificate>,
}

/// A certificate that a role uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedCertificate {
    /// Its setting.
    pub setting: &'static str,
    /// The file, PEM.
    pub file: PathBuf,
}

impl Default for WatchedHost {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            destinations: Vec::new(),
            min_free_disk: MIN_FREE_DISK,
            roles: Vec::new(),
            has_monitor: false,
            certificates: Vec::new(),
        }
    }
}
