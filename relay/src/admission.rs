//! Who may send to a group, and whose lines they are.
//!
//! Pure. The source is the peer's address. Only where the group trusts its senders may one name another source, and
//! only one that is among the group's sources.

use std::net::IpAddr;

use logferry_config::Group;
use logferry_protocol::names::SourceId;

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The peer is not among the group's sources.
    #[error("{peer} is not among the sources of group {group}")]
    Peer {
        /// Its address.
        peer: IpAddr,
        /// The group asked.
        group: String,
    },
    /// The named source is not among the group's.
    #[error("source {source_id} is not among the sources of group {group}")]
    Source {
        /// The source named.
        source_id: SourceId,
        /// The group asked.
        group: String,
    },
    /// The named source is no name.
    #[error("header ferry-source: {0}")]
    Malformed(String),
}

/// The source of a request from `peer` that names `claimed`.
pub(crate) fn admit(group: &Group, peer: IpAddr, claimed: Option<&str>) -> Result<SourceId, Refusal> {
    let group_name = || group.name.to_string();
    if let Some(claimed) = claimed.filter(|_| group.trust_source) {
        let source: SourceId = claimed
            .parse()
            .map_err(|error: logferry_protocol::names::NameError| Refusal::Malformed(error.to_string()))?;
        let is_allowed = match source.as_str().parse() {
            Ok(address) => group.sources.allows_ip(address),
            Err(_) => group.sources.allows_name(&source),
        };
        return if is_allowed {
            Ok(source)
        } else {
            Err(Refusal::Source {
                source_id: source,
                group: group_name(),
            })
        };
    }
    let peer = peer.to_canonical();
    if group.sources.allows_ip(peer) {
        Ok(peer.into())
    } else {
        Err(Refusal::Peer {
            peer,
            group: group_name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sources: &str, trust_source: bool) -> Group {
        let text = format!(
            "relay:\n  data_dir: /d\n  groups:\n    - {{name: web-1, listen: \"127.0.0.1:0\", sources: {sources}, \
             trust_source: {trust_source}}}\n"
        );
        let config = logferry_config::parse(&text, "test.yaml".as_ref(), &|_| None).expect("valid");
        config.relay.expect("a relay section").groups.remove(0)
    }

    fn check(group: &Group, peer: &str, claimed: Option<&str>) -> Option<String> {
        admit(group, peer.parse().expect("an address"), claimed)
            .ok()
            .map(|source| source.to_string())
    }

    #[test]
    fn the_source_is_the_peers_address() {
        let group = group("[\"198.51.100.1-198.51.100.5\"]", false);
        assert_eq!(
            check(&group, "198.51.100.5", None).as_deref(),
            Some("198.51.100.5")
        );
        assert_eq!(
            check(&group, "::ffff:198.51.100.5", None).as_deref(),
            Some("198.51.100.5")
        );
        assert_eq!(check(&group, "198.51.100.6", None), None);
        assert_eq!(
            check(&group, "198.51.100.5", Some("198.51.100.1")).as_deref(),
            Some("198.51.100.5")
        );
    }

    #[test]
    fn a_named_source_counts_only_where_it_is_trusted_and_listed() {
        let group = group("[\"198.51.100.1\", \"web-7\"]", true);
        assert_eq!(
            check(&group, "203.0.113.1", Some("198.51.100.1")).as_deref(),
            Some("198.51.100.1")
        );
        assert_eq!(
            check(&group, "203.0.113.1", Some("web-7")).as_deref(),
            Some("web-7")
        );
        assert_eq!(check(&group, "203.0.113.1", Some("198.51.100.9")), None);
        assert_eq!(check(&group, "203.0.113.1", Some("../../etc")), None);
        assert_eq!(check(&group, "203.0.113.1", None), None);
    }
}
