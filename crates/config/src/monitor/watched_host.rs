//! What other sections say that the monitor watches. A section that is absent, or not valid, has nothing here.

use std::path::PathBuf;

use logferry_protocol::names::GroupName;

use crate::forwarder::ForwarderSettings;
use crate::forwarder::filter::Subscriber;
use crate::monitor::smtp::Smtp;
use crate::relay::RelaySettings;
use crate::sender::SenderSettings;

/// The relay needs so many free bytes unless its section says otherwise.
const MIN_FREE_DISK: u64 = 1 << 30;

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
            certificates: Vec::new(),
        }
    }
}

/// The sections that have something to watch.
#[derive(Clone, Copy)]
pub(crate) struct WatchedSections<'a> {
    pub(crate) relay: Option<&'a RelaySettings>,
    pub(crate) sender: Option<&'a SenderSettings>,
    pub(crate) forwarder: Option<&'a ForwarderSettings>,
    pub(crate) smtp: Option<&'a Smtp>,
}

impl WatchedHost {
    /// `roles`: those with a section, each with its folder.
    pub(crate) fn of(sections: WatchedSections<'_>, roles: Vec<(&'static str, PathBuf)>) -> Self {
        let groups = sections.relay.iter().flat_map(|relay| &relay.groups);
        let forwarder = sections.forwarder;
        Self {
            groups: groups.map(|group| group.name.clone()).collect(),
            destinations: forwarder.map_or_else(Vec::new, ForwarderSettings::subscribers),
            min_free_disk: sections
                .relay
                .map_or(MIN_FREE_DISK, |relay| relay.limits.min_free_disk),
            roles,
            certificates: certificates(sections),
        }
    }
}

fn certificates(sections: WatchedSections<'_>) -> Vec<WatchedCertificate> {
    let relay = sections.relay.and_then(|relay| relay.tls.as_ref());
    let sender = sections.sender.map(|sender| &sender.tls);
    let identity = sender.and_then(|tls| tls.identity.as_ref());
    let used = [
        ("relay.tls.cert_file", relay.map(|tls| &tls.cert_file)),
        (
            "relay.tls.client_ca_file",
            relay.and_then(|tls| tls.client_ca_file.as_ref()),
        ),
        ("sender.tls.ca_file", sender.and_then(|tls| tls.ca_file.as_ref())),
        (
            "sender.tls.cert_file",
            identity.map(|identity| &identity.cert_file),
        ),
        (
            "monitor.smtp.ca_file",
            sections.smtp.and_then(|smtp| smtp.ca_file.as_ref()),
        ),
    ];
    let used = used
        .into_iter()
        .filter_map(|(setting, file)| Some((setting, file?)));
    used.map(|(setting, file)| WatchedCertificate {
        setting,
        file: file.clone(),
    })
    .collect()
}
