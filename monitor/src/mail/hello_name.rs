//! This host's name in EHLO (RFC 5321, 4.1.1.1): a full host name, or else the address of the connection.
//!
//! Many mail servers refuse (504) a name without a dot, which is what most hosts call themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use dns_lookup::{AddrInfoHints, get_hostname, getaddrinfo};
use lettre::transport::smtp::extension::ClientId;

/// `AI_CANONNAME` of `<netdb.h>` on Linux: the answer has the full name.
const AI_CANONNAME: i32 = 0x0002;

/// Time limit for the lookup of the full name. Without a DNS server it can take long.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);

/// The name that the configuration gives, checked there.
pub(super) fn configured(name: &str) -> ClientId {
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = literal.map(|text| text.strip_prefix("IPv6:").unwrap_or(text));
    match address.and_then(|text| text.parse().ok()) {
        Some(address) => literal_of(address),
        None => ClientId::Domain(name.to_owned()),
    }
}

/// This host's full name, as `hostname --fqdn` finds it; `None` if it has none.
pub(super) async fn full_host_name() -> Option<String> {
    let lookup = tokio::task::spawn_blocking(|| {
        let name = get_hostname().ok()?;
        full_name(&name, canonical_name(&name).as_deref())
    });
    tokio::time::timeout(LOOKUP_TIME_MAX, lookup).await.ok()?.ok()?
}

/// The name for a connection to this server.
pub(super) fn for_connection(name: Option<&str>, server: SocketAddr) -> ClientId {
    match name {
        Some(name) => ClientId::Domain(name.to_owned()),
        None => literal_of(own_address(server)),
    }
}

fn canonical_name(name: &str) -> Option<String> {
    let hints = AddrInfoHints {
        flags: AI_CANONNAME,
        ..AddrInfoHints::default()
    };
    let mut answers = getaddrinfo(Some(name), None, Some(hints)).ok()?;
    answers.find_map(|answer| answer.ok()?.canonname)
}

/// The first of both names that a mail server elsewhere can take for a full one. Pure.
fn full_name(name: &str, canonical: Option<&str>) -> Option<String> {
    let is_full = |name: &&str| {
        let name = name.to_ascii_lowercase();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        name.contains('.')
            && name.bytes().all(allowed)
            && name.parse::<IpAddr>().is_err()
            && !name.starts_with("localhost")
            && !name.ends_with(".localdomain")
    };
    let names = [canonical, Some(name)].into_iter().flatten();
    let mut names = names.map(|name| name.trim_end_matches('.'));
    names.find(is_full).map(str::to_owned)
}

/// The local address of a connection to `server`. Connecting a UDP socket sends nothing.
fn own_address(server: SocketAddr) -> IpAddr {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    local.map_or_else(|_| Ipv4Addr::LOCALHOST.into(), |local| local.ip())
}

const fn literal_of(address: IpAddr) -> ClientId {
    match address {
        IpAddr::V4(address) => ClientId::Ipv4(address),
        IpAddr::V6(address) => ClientId::Ipv6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_host_name_is_used_and_a_short_or_local_one_is_not() {
        let cases = [
            ("relay", Some("relay.example.com"), Some("relay.example.com")),
            ("relay", Some("relay.example.com."), Some("relay.example.com")),
            ("relay.example.com", None, Some("relay.example.com")),
            ("relay.example.com", Some("relay"), Some("relay.example.com")),
            ("relay", Some("relay"), None),
            ("relay", Some("localhost.localdomain"), None),
            ("relay", Some("relay.localdomain"), None),
            ("relay", Some("192.0.2.1"), None),
            ("relay", Some("re lay.example.com"), None),
            ("relay", None, None),
        ];
        for (name, canonical, full) in cases {
            assert_eq!(
                full_name(name, canonical).as_deref(),
                full,
                "{name} {canonical:?}"
            );
        }
    }

    #[test]
    fn without_a_full_host_name_ehlo_has_the_address_of_the_connection() {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        assert_eq!(for_connection(None, server).to_string(), "[127.0.0.1]");
        assert_eq!(
            for_connection(Some("relay.example.com"), server).to_string(),
            "relay.example.com"
        );
    }

    #[test]
    fn a_configured_name_may_be_an_address() {
        for name in ["relay.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(configured(name).to_string(), name);
        }
    }
}
