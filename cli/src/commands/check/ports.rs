//! Whether the ports that roles listen on are free, or held by a role of the same configuration.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use logferry_config::{CollectorSourceKind, Config};

use super::port_holder::{PortHolder, find};

/// Each address that a role listens on, with what `check` says of it.
pub(super) fn all(config: &Config, file: &Path) -> Vec<(String, Result<String, String>)> {
    let listening = addresses(config).into_iter();
    listening
        .map(|(setting, address)| (format!("{setting} {address}"), try_port(address, file)))
        .collect()
}

fn addresses(config: &Config) -> Vec<(String, SocketAddr)> {
    let single = [
        ("sender.metrics", config.sender.as_ref().and_then(|it| it.metrics)),
        ("relay.metrics", config.relay.as_ref().and_then(|it| it.metrics)),
        (
            "collector.metrics",
            config.collector.as_ref().and_then(|it| it.metrics),
        ),
        (
            "monitor.metrics",
            config.monitor.as_ref().and_then(|it| it.metrics),
        ),
        (
            "indexer.metrics",
            config.indexer.as_ref().and_then(|it| it.metrics),
        ),
        (
            "console.metrics",
            config.console.as_ref().and_then(|it| it.metrics),
        ),
        ("console.listen", config.console.as_ref().map(|it| it.listen)),
    ];
    let single = single
        .into_iter()
        .filter_map(|(setting, address)| Some((setting.to_owned(), address?)));
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    let groups = groups.map(|group| (format!("port of group {}", group.name), group.listen));
    let sources = config.collector.iter().flat_map(|collector| &collector.sources);
    let sources = sources.filter_map(|source| {
        let listen = match &source.kind {
            CollectorSourceKind::Http(http) => http.listen,
            CollectorSourceKind::Tcp(tcp) => tcp.listen,
            CollectorSourceKind::Syslog(syslog) if syslog.tcp => syslog.listen,
            _ => return None,
        };
        Some((format!("port of source {}", source.name), listen))
    });
    single.chain(groups).chain(sources).collect()
}

fn try_port(address: SocketAddr, file: &Path) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok("is free".to_owned()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => match find(Path::new("/proc"), address) {
            Some(holder) if holder.is_role_of(file) => {
                Ok(format!("is in use by logferry (pid {})", holder.pid))
            }
            holder => Err(taken(address, holder.as_ref())),
        },
        Err(error) => Err(refused(address, &error)),
    }
}

fn taken(address: SocketAddr, holder: Option<&PortHolder>) -> String {
    let holder = holder.map_or_else(
        || "another process, which this user may not look at (root sees it)".to_owned(),
        |holder| format!("pid {} ({})", holder.pid, holder.command()),
    );
    format!(
        "is taken by {holder}; stop that one, or set another port than {}",
        address.port()
    )
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrNotAvailable => format!(
            "this host does not have the address {}; write one of those that `ip address` shows, or 0.0.0.0 for all",
            address.ip()
        ),
        ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {}; ports below 1024 are for root, or for a unit with \
             AmbientCapabilities=CAP_NET_BIND_SERVICE",
            address.port()
        ),
        _ => format!("cannot listen: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_process_that_has_it() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = holder.local_addr().expect("bound");
        let said = try_port(address, Path::new("/etc/logferry/logferry.yaml")).expect_err("taken");
        let pid = format!("is taken by pid {} (", std::process::id());
        assert!(said.starts_with(&pid), "{said}");
        drop(holder);
        assert_eq!(try_port(address, Path::new("x")), Ok("is free".to_owned()));
    }

    #[test]
    fn an_address_of_another_host_is_told_as_that() {
        let address = "192.0.2.1:7001".parse().expect("an address");
        let said = try_port(address, Path::new("x"));
        assert_eq!(
            said,
            Err("this host does not have the address 192.0.2.1; write one of those that `ip address` shows, or 0.0.0.0 for all".to_owned())
        );
    }
}
