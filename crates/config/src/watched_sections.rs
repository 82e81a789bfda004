//! Finds what is to be watched in the sections. One that is absent, or not valid, has nothing here.

use std::path::PathBuf;

use crate::collector::{CollectorSettings, CollectorSourceKind};
use crate::console::ConsoleSettings;
use crate::forwarder::ForwarderSettings;
use crate::indexer::IndexerSettings;
use crate::monitor::MonitorSettings;
use crate::monitor::channels::{ChannelKind, HeartbeatTarget};
use crate::relay::RelaySettings;
use crate::sender::SenderSettings;
use crate::watched_host::{MIN_FREE_DISK, WatchedCertificate, WatchedHost};

/// The sections that have something to watch.
#[derive(Clone, Copy)]
pub(crate) struct WatchedSections<'a> {
    pub(crate) relay: Option<&'a RelaySettings>,
    pub(crate) sender: Option<&'a SenderSettings>,
    pub(crate) forwarder: Option<&'a ForwarderSettings>,
    pub(crate) collector: Option<&'a CollectorSettings>,
    pub(crate) indexer: Option<&'a IndexerSettings>,
    pub(crate) console: Option<&'a ConsoleSettings>,
    pub(crate) monitor: Option<&'a MonitorSettings>,
}

impl WatchedSections<'_> {
    /// `roles`: those with a section, each with its folder.
    pub(crate) fn host(self, roles: Vec<(&'static str, PathBuf)>) -> WatchedHost {
        let groups = self.relay.iter().flat_map(|relay| &relay.groups);
        let forwarder = self.forwarder;
        WatchedHost {
            groups: groups.map(|group| group.name.clone()).collect(),
            destinations: forwarder.map_or_else(Vec::new, ForwarderSettings::subscribers),
            min_free_disk: self
                .relay
                .map_or(MIN_FREE_DISK, |relay| relay.limits.min_free_disk),
            roles,
            has_monitor: self.monitor.is_some(),
            certificates: certificates(self),
        }
    }
}

fn certificates(sections: WatchedSections<'_>) -> Vec<WatchedCertificate> {
    let mut used = CertificateList::default();
    if let Some(tls) = sections.relay.and_then(|relay| relay.tls.as_ref()) {
        used.add("relay.tls.cert_file", Some(&tls.cert_file));
        used.add("relay.tls.client_ca_file", tls.client_ca_file.as_ref());
    }
    if let Some(sender) = sections.sender {
        used.add("sender.tls.ca_file", sender.tls.ca_file.as_ref());
        let identity = sender.tls.identity.as_ref();
        used.add("sender.tls.cert_file", identity.map(|it| &it.cert_file));
    }
    for source in sections.collector.iter().flat_map(|collector| &collector.sources) {
        used.add_source(&source.kind);
    }
    let opensearch = sections.indexer.and_then(|indexer| indexer.opensearch.as_ref());
    used.add(
        "indexer.opensearch.ca_file",
        opensearch.and_then(|it| it.ca_file.as_ref()),
    );
    let console = sections.console.and_then(|console| console.tls.as_ref());
    used.add("console.tls.cert_file", console.map(|tls| &tls.cert_file));
    if let Some(monitor) = sections.monitor {
        used.add("monitor.smtp.ca_file", monitor.smtp.ca_file.as_ref());
        for channel in &monitor.channels {
            if let ChannelKind::Slack(it) | ChannelKind::Teams(it) | ChannelKind::Webhook(it) = &channel.kind
            {
                used.add("monitor.channels.ca_file", it.ca_file.as_ref());
            }
        }
        if let Some(HeartbeatTarget::Url(it)) = monitor.heartbeat.as_ref().map(|it| &it.to) {
            used.add("monitor.heartbeat.ca_file", it.ca_file.as_ref());
        }
    }
    used.0
}

/// Certificates by their settings. Entries of a list share a setting, because people look for the file.
#[derive(Default)]
struct CertificateList(Vec<WatchedCertificate>);

impl CertificateList {
    fn add(&mut self, setting: &'static str, file: Option<&PathBuf>) {
        let certificate = file.map(|file| WatchedCertificate {
            setting,
            file: file.clone(),
        });
        // Several entries of a list may use one file.
        self.0.extend(certificate.filter(|it| !self.0.contains(it)));
    }

    fn add_source(&mut self, kind: &CollectorSourceKind) {
        let tls = match kind {
            CollectorSourceKind::Http(it) => it.tls.as_ref(),
            CollectorSourceKind::Tcp(it) => it.tls.as_ref(),
            CollectorSourceKind::Syslog(it) => it.tls.as_ref(),
            CollectorSourceKind::Mysql(it) => {
                let tls = it.tls.as_ref();
                self.add(
                    "collector.sources.tls.ca_file",
                    tls.and_then(|tls| tls.ca_file.as_ref()),
                );
                let identity = tls.and_then(|tls| tls.identity.as_ref());
                self.add(
                    "collector.sources.tls.cert_file",
                    identity.map(|it| &it.cert_file),
                );
                return;
            }
            CollectorSourceKind::Journal(_) | CollectorSourceKind::WindowsEvents(_) => return,
        };
        self.add("collector.sources.tls.cert_file", tls.map(|tls| &tls.cert_file));
        self.add(
            "collector.sources.tls.client_ca_file",
            tls.and_then(|tls| tls.client_ca_file.as_ref()),
        );
    }
}
