//! The folders and files that each role uses, by its settings.
//!
//! Secrets that are read with the configuration (`password_file` and the like) are not here: their paths are forgotten then,
//! and a configuration whose secrets cannot be read is invalid.

use std::path::{Path, PathBuf};

use logferry_config::{
    ChannelKind, ClientIdentity, CollectorSettings, CollectorSourceKind, Config, ConsoleSettings,
    ForwarderSettings, HeartbeatTarget, HostKeyPolicy, IndexerSettings, Login, MonitorSettings,
    RelaySettings, SenderSettings, ServerTls,
};
use logferry_durable::real_path;

use super::sandbox::UsedPaths;
use crate::roles::role::Role;

/// Adds the folders that a role writes and the files that it reads, without symbolic links: the sandbox judges what they lead
/// to.
pub(super) fn add(role: Role, config: &Config, paths: &mut UsedPaths) {
    let used = match role {
        Role::Sender => config.sender.as_ref().map(of_sender),
        Role::Relay => config.relay.as_ref().map(of_relay),
        Role::Forwarder => config.forwarder.as_ref().map(of_forwarder),
        Role::Monitor => config.monitor.as_ref().map(of_monitor),
        Role::Housekeeper => config.housekeeper.as_ref().map(|housekeeper| UsedPaths {
            written: vec![housekeeper.data_dir.clone()],
            read: Vec::new(),
        }),
        Role::Indexer => config.indexer.as_ref().map(of_indexer),
        Role::Collector => config.collector.as_ref().map(of_collector),
        Role::Console => config.console.as_ref().map(of_console),
    };
    let used = used.unwrap_or_default();
    // Roles, and settings of one role, share paths.
    for (all, own) in [(&mut paths.written, used.written), (&mut paths.read, used.read)] {
        for path in own.iter().map(|path| real_path(path)) {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
}

fn of_sender(sender: &SenderSettings) -> UsedPaths {
    let logs = sender.logs.iter().map(|log| plain_beginning(&log.path));
    let tls = sender
        .tls
        .ca_file
        .iter()
        .cloned()
        .chain(identity(sender.tls.identity.as_ref()));
    UsedPaths {
        written: vec![sender.state_dir.clone()],
        read: logs
            .chain(sender.captures.clone())
            .chain(sender.token_file.clone())
            .chain(tls)
            .collect(),
    }
}

fn of_relay(relay: &RelaySettings) -> UsedPaths {
    UsedPaths {
        written: vec![relay.data_dir.clone()],
        read: server_tls(relay.tls.as_ref())
            .chain(relay.tokens_file.clone())
            .collect(),
    }
}

fn of_forwarder(forwarder: &ForwarderSettings) -> UsedPaths {
    let keys = forwarder
        .destinations
        .iter()
        .filter_map(|destination| match &destination.login {
            Login::Key { file, .. } | Login::KeyAndPassword { file, .. } => Some(file.clone()),
            Login::Agent { socket } => socket.clone(),
            Login::Password(_) => None,
        });
    let known_hosts = forwarder
        .destinations
        .iter()
        .filter_map(|destination| match &destination.host_key {
            HostKeyPolicy::KnownHosts(file) => Some(file.clone()),
            HostKeyPolicy::Fingerprint(_) => None,
        });
    UsedPaths {
        written: vec![forwarder.data_dir.clone()],
        // Only the console removes what people asked for there.
        read: keys
            .chain(known_hosts)
            .chain(forwarder.console_dir.clone())
            .collect(),
    }
}

fn of_monitor(monitor: &MonitorSettings) -> UsedPaths {
    let mut used = UsedPaths {
        written: vec![monitor.data_dir.clone()],
        read: vec![monitor.store_dir.clone()],
    };
    used.read.extend(monitor.smtp.ca_file.clone());
    used.read.extend(monitor.summary.templates_dir.clone());
    let channels = monitor.channels.iter();
    used.read
        .extend(channels.filter_map(|channel| match &channel.kind {
            ChannelKind::Slack(to) | ChannelKind::Teams(to) | ChannelKind::Webhook(to) => to.ca_file.clone(),
            ChannelKind::Command(command) => command.first().map(PathBuf::from),
        }));
    match monitor.heartbeat.as_ref().map(|heartbeat| &heartbeat.to) {
        // Each time another file takes its place, which is made in its folder.
        Some(HeartbeatTarget::File(file)) => used.written.extend(file.parent().map(Path::to_owned)),
        Some(HeartbeatTarget::Url(to)) => used.read.extend(to.ca_file.clone()),
        Some(HeartbeatTarget::Mail(_)) | None => {}
    }
    used
}

fn of_indexer(indexer: &IndexerSettings) -> UsedPaths {
    let sink = indexer.opensearch.as_ref();
    let authorities = sink.and_then(|sink| sink.ca_file.clone());
    UsedPaths {
        written: vec![indexer.store_dir.clone()],
        read: [indexer.data_dir.clone()]
            .into_iter()
            .chain(authorities)
            .collect(),
    }
}

fn of_collector(collector: &CollectorSettings) -> UsedPaths {
    let mut read = vec![collector.sender_state_dir.clone()];
    for source in &collector.sources {
        match &source.kind {
            CollectorSourceKind::Http(http) => {
                read.extend(http.keys_file.clone());
                read.extend(server_tls(http.tls.as_ref()));
            }
            CollectorSourceKind::Tcp(tcp) => read.extend(server_tls(tcp.tls.as_ref())),
            CollectorSourceKind::Syslog(syslog) => read.extend(server_tls(syslog.tls.as_ref())),
            CollectorSourceKind::Mysql(mysql) => {
                let tls = mysql.tls.as_ref();
                read.extend(tls.and_then(|tls| tls.ca_file.clone()));
                read.extend(identity(tls.and_then(|tls| tls.identity.as_ref())));
            }
            CollectorSourceKind::WindowsEvents(events) => read.push(plain_beginning(&events.path)),
            CollectorSourceKind::Journal(_) => {}
        }
    }
    UsedPaths {
        written: vec![collector.state_dir.clone()],
        read,
    }
}

fn of_console(console: &ConsoleSettings) -> UsedPaths {
    let tls = console
        .tls
        .iter()
        .flat_map(|tls| [tls.cert_file.clone(), tls.key_file.clone()]);
    UsedPaths {
        written: vec![console.state_dir.clone()],
        read: [console.store_dir.clone(), console.data_dir.clone()]
            .into_iter()
            .chain(tls)
            .collect(),
    }
}

fn server_tls(tls: Option<&ServerTls>) -> impl Iterator<Item = PathBuf> {
    tls.into_iter().flat_map(|tls| {
        let own = [tls.cert_file.clone(), tls.key_file.clone()];
        own.into_iter().chain(tls.client_ca_file.clone())
    })
}

fn identity(identity: Option<&ClientIdentity>) -> impl Iterator<Item = PathBuf> {
    identity
        .into_iter()
        .flat_map(|identity| [identity.cert_file.clone(), identity.key_file.clone()])
}

/// The part of a glob before its first wildcard.
fn plain_beginning(pattern: &str) -> PathBuf {
    let is_plain = |part: &Path| part.to_str().is_none_or(|part| !part.contains(['*', '?', '[']));
    let parts = Path::new(pattern).components();
    parts.take_while(|part| is_plain(part.as_ref())).collect()
}
