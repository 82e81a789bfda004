//! The addresses that the roles of a configuration listen on. A new setting of that kind is added here.

use std::net::SocketAddr;

use logferry_config::{CollectorSource, CollectorSourceKind, Config};

use crate::roles::role::Role;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortProtocol {
    Tcp,
    Udp,
}

/// A port that a role listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenedPort {
    pub(crate) role: Role,
    /// Where the configuration says so, for people.
    pub(crate) setting: String,
    pub(crate) protocol: PortProtocol,
    pub(crate) address: SocketAddr,
}

/// Each port of the configuration.
pub(crate) fn ports(config: &Config) -> Vec<ListenedPort> {
    let sender = config.sender.as_ref().and_then(|it| it.metrics);
    let relay = config.relay.as_ref().and_then(|it| it.metrics);
    let collector = config.collector.as_ref().and_then(|it| it.metrics);
    let monitor = config.monitor.as_ref().and_then(|it| it.metrics);
    let indexer = config.indexer.as_ref().and_then(|it| it.metrics);
    let console = config.console.as_ref();
    let single = [
        (Role::Sender, "sender.metrics", sender),
        (Role::Relay, "relay.metrics", relay),
        (Role::Collector, "collector.metrics", collector),
        (Role::Monitor, "monitor.metrics", monitor),
        (Role::Indexer, "indexer.metrics", indexer),
        (
            Role::Console,
            "console.metrics",
            console.and_then(|it| it.metrics),
        ),
        (Role::Console, "console.listen", console.map(|it| it.listen)),
    ];
    let port = |role, setting: String, protocol, address| ListenedPort {
        role,
        setting,
        protocol,
        address,
    };
    let single = single
        .into_iter()
        .filter_map(|(role, setting, address)| Some((role, setting.to_owned(), address?)));
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    let groups = groups.map(|group| (Role::Relay, format!("port of group {}", group.name), group.listen));
    let by_tcp = single
        .chain(groups)
        .map(|(role, setting, address)| port(role, setting, PortProtocol::Tcp, address));
    let sources = config.collector.iter().flat_map(|collector| &collector.sources);
    let of_sources = sources.flat_map(of_source);
    by_tcp.chain(of_sources).collect()
}

fn of_source(source: &CollectorSource) -> Vec<ListenedPort> {
    let port = |protocol, address| {
        let word = match protocol {
            PortProtocol::Tcp => "port",
            PortProtocol::Udp => "UDP port",
        };
        ListenedPort {
            role: Role::Collector,
            setting: format!("{word} of source {}", source.name),
            protocol,
            address,
        }
    };
    match &source.kind {
        CollectorSourceKind::Http(http) => vec![port(PortProtocol::Tcp, http.listen)],
        CollectorSourceKind::Tcp(tcp) => vec![port(PortProtocol::Tcp, tcp.listen)],
        CollectorSourceKind::Syslog(syslog) => {
            let both = [(PortProtocol::Tcp, syslog.tcp), (PortProtocol::Udp, syslog.udp)];
            let used = both.into_iter().filter(|(_, is_used)| *is_used);
            used.map(|(protocol, _)| port(protocol, syslog.listen)).collect()
        }
        CollectorSourceKind::Journal(_)
        | CollectorSourceKind::Mysql(_)
        | CollectorSourceKind::WindowsEvents(_) => Vec::new(),
    }
}
