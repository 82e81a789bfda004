//! Whether the ports that roles listen on are free, or held by a role of the same configuration.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use logferry_config::Config;

use super::port_holder::{PortHolder, find};
use crate::listening::{self, PortProtocol};

/// Each address that a role listens on, with what `check` says of it.
pub(super) fn all(config: &Config, file: &Path) -> Vec<(String, Result<String, String>)> {
    let ports = listening::ports(config).into_iter();
    ports
        .map(|port| {
            let tried = try_port(port.protocol, port.address, file);
            (format!("{} {}", port.setting, port.address), tried)
        })
        .collect()
}

fn try_port(protocol: PortProtocol, address: SocketAddr, file: &Path) -> Result<String, String> {
    let bound = match protocol {
        PortProtocol::Tcp => TcpListener::bind(address).map(drop),
        PortProtocol::Udp => UdpSocket::bind(address).map(drop),
    };
    match bound {
        Ok(()) => Ok("is free".to_owned()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            match find(Path::new("/proc"), protocol, address) {
                Some(holder) if holder.is_role_of(file) => {
                    Ok(format!("is in use by logferry (pid {})", holder.pid))
                }
                holder => Err(taken(address, holder.as_ref())),
            }
        }
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
             AmbientCapabilities=CAP_NET_BIND_SERVICE and CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            address.port()
        ),
        _ => format!("cannot listen: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    fn assert_holder_is_named(protocol: PortProtocol, address: SocketAddr, holder: OwnedFd) {
        let file = Path::new("/etc/logferry/logferry.yaml");
        let said = try_port(protocol, address, file).expect_err("taken");
        let pid = format!("is taken by pid {} (", std::process::id());
        assert!(said.starts_with(&pid), "{said}");
        drop(holder);
        assert_eq!(try_port(protocol, address, file), Ok("is free".to_owned()));
    }

    #[test]
    fn a_taken_port_names_the_process_that_has_it() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = tcp.local_addr().expect("bound");
        assert_holder_is_named(PortProtocol::Tcp, address, OwnedFd::from(tcp));
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        assert_holder_is_named(PortProtocol::Udp, address, OwnedFd::from(udp));
    }

    #[test]
    fn both_ports_of_a_syslog_source_are_tried() {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        let text = format!("collector:\n  sources: [{{type: syslog, name: net, listen: '{address}'}}]\n");
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
        let tried = all(&config, Path::new("c.yaml"));
        let names: Vec<_> = tried.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(
            names,
            [
                format!("port of source net {address}"),
                format!("UDP port of source net {address}")
            ]
        );
        assert!(tried[1].1.is_err(), "{tried:?}");
    }

    #[test]
    fn an_address_of_another_host_is_told_as_that() {
        let address = "192.0.2.1:7001".parse().expect("an address");
        let said = try_port(PortProtocol::Tcp, address, Path::new("x"));
        assert_eq!(
            said,
            Err("this host does not have the address 192.0.2.1; write one of those that `ip address` shows, or 0.0.0.0 for all".to_owned())
        );
    }
}
