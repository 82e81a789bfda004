//! The sources of a group.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use logferry_protocol::names::SourceId;

/// The sources that may send to a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SourceList {
    /// Any source.
    #[default]
    Any,
    /// Only the sources in these ranges and with these names.
    Only {
        /// Address ranges with both ends included. A range has one family; IPv4-mapped IPv6 is IPv4.
        ranges: Vec<(IpAddr, IpAddr)>,
        /// Names of sources. They count only if the group trusts the client's name.
        names: Vec<SourceId>,
    },
}

/// An invalid entry of a source list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a source; write an address (198.51.100.8), a range (198.51.100.1-198.51.100.5), a network \
     (198.51.100.0/24) or a host name"
)]
pub struct SourceListError(String);

/// One entry of a source list.
pub(crate) enum SourceEntry {
    Range(IpAddr, IpAddr),
    Name(SourceId),
}

impl SourceList {
    /// Whether a peer of this address may send. IPv4-mapped IPv6 counts as IPv4.
    pub fn allows_ip(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        match self {
            Self::Any => true,
            Self::Only { ranges, .. } => ranges
                .iter()
                .any(|(first, last)| first.is_ipv4() == peer.is_ipv4() && *first <= peer && peer <= *last),
        }
    }

    /// Whether a trusted client may send as this source, a name or an address.
    pub fn allows_name(&self, source: &SourceId) -> bool {
        if let Ok(address) = source.as_str().parse() {
            return self.allows_ip(address);
        }
        match self {
            Self::Any => true,
            Self::Only { names, .. } => names.contains(source),
        }
    }

    /// The sources that have an entry of their own: names, and addresses that are no range.
    pub fn single(&self) -> Vec<String> {
        match self {
            Self::Any => Vec::new(),
            Self::Only { ranges, names } => {
                let addresses = ranges.iter().filter(|(first, last)| first == last);
                let addresses = addresses.map(|(address, _)| address.to_string());
                addresses.chain(names.iter().map(SourceId::to_string)).collect()
            }
        }
    }

    pub(crate) fn only(entries: Vec<SourceEntry>) -> Self {
        let (mut ranges, mut names) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                SourceEntry::Range(first, last) => ranges.push((first, last)),
                SourceEntry::Name(name) => names.push(name),
            }
        }
        Self::Only { ranges, names }
    }

    #[cfg(test)]
    pub(crate) fn of(entries: &[&str]) -> Self {
        let entries = entries.iter().map(|entry| SourceEntry::parse(entry));
        Self::only(entries.collect::<Result<_, _>>().expect("valid"))
    }
}

impl SourceEntry {
    pub(crate) fn parse(text: &str) -> Result<Self, SourceListError> {
        // A mistyped address must not count as a host name.
        let looks_like_addresses =
            text.contains([':', '/']) || text.bytes().all(|b| b.is_ascii_digit() || b".-".contains(&b));
        let entry = if looks_like_addresses {
            addresses(text).map(|(first, last)| Self::Range(first, last))
        } else {
            text.parse().ok().map(Self::Name)
        };
        entry.ok_or_else(|| SourceListError(text.to_owned()))
    }
}

/// A single address, `FIRST-LAST` or `ADDRESS/BITS`, as an inclusive range within one family.
fn addresses(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = if let Some((address, bits)) = text.split_once('/') {
        network(address.parse().ok()?, bits.parse().ok()?)?
    } else if let Some((first, last)) = text.split_once('-') {
        (first.parse().ok()?, last.parse().ok()?)
    } else {
        let address = text.parse().ok()?;
        (address, address)
    };
    let (first, last) = (first.to_canonical(), last.to_canonical());
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}

/// First and last address of a network.
fn network(address: IpAddr, bits: u32) -> Option<(IpAddr, IpAddr)> {
    match address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = u32::from(address) & !hosts;
            (bits <= 32).then(|| (Ipv4Addr::from(first).into(), Ipv4Addr::from(first | hosts).into()))
        }
        IpAddr::V6(address) => {
            let hosts = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = u128::from(address) & !hosts;
            (bits <= 128).then(|| (Ipv6Addr::from(first).into(), Ipv6Addr::from(first | hosts).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn source(text: &str) -> SourceId {
        text.parse().expect("a source")
    }

    #[test]
    fn addresses_ranges_and_networks_admit_exactly_what_they_say() {
        let sources = SourceList::of(&[
            "198.51.100.1-198.51.100.5",
            "203.0.113.6/31",
            "2001:db8::/64",
            "192.0.2.8",
        ]);
        for inside in [
            "198.51.100.1",
            "198.51.100.5",
            "203.0.113.6",
            "203.0.113.7",
            "2001:db8::ffff",
            "192.0.2.8",
        ] {
            assert!(sources.allows_ip(ip(inside)), "{inside}");
            assert!(sources.allows_name(&source(inside)), "{inside}");
        }
        for outside in [
            "198.51.100.0",
            "198.51.100.6",
            "203.0.113.5",
            "203.0.113.8",
            "2001:db8:0:1::",
            "192.0.2.9",
        ] {
            assert!(!sources.allows_ip(ip(outside)), "{outside}");
            assert!(!sources.allows_name(&source(outside)), "{outside}");
        }
    }

    #[test]
    fn a_mapped_address_counts_as_the_ipv4_one() {
        assert!(SourceList::of(&["198.51.100.8"]).allows_ip(ip("::ffff:198.51.100.8")));
        assert!(SourceList::of(&["::ffff:198.51.100.8"]).allows_ip(ip("198.51.100.8")));
        assert!(!SourceList::of(&["::/0"]).allows_ip(ip("198.51.100.8")));
    }

    #[test]
    fn names_admit_by_name_and_never_by_address() {
        let sources = SourceList::of(&["web-1.example.com"]);
        assert!(sources.allows_name(&source("web-1.example.com")));
        assert!(!sources.allows_name(&source("web-2.example.com")));
        assert!(!sources.allows_ip(ip("198.51.100.8")));
    }

    #[test]
    fn without_a_list_everyone_may_send() {
        assert!(SourceList::Any.allows_ip(ip("198.51.100.8")));
        assert!(SourceList::Any.allows_name(&source("anything")));
    }

    #[test]
    fn the_widest_networks_hold_their_whole_family() {
        let sources = SourceList::of(&["0.0.0.0/0", "::/0"]);
        for any in ["0.0.0.0", "255.255.255.255", "::", "ffff::ffff"] {
            assert!(sources.allows_ip(ip(any)), "{any}");
        }
    }

    #[test]
    fn a_mistyped_address_is_not_taken_for_a_name() {
        for bad in [
            "",
            "198.51.100.300",
            "198.51.100.5-198.51.100.1",
            "198.51.100.1-2001:db8::1",
            "198.51.100.1-198.51.100",
            "198.51.100.0/33",
            "2001:db8::/129",
            "198.51.100.0/",
            "web 1",
            "-web",
        ] {
            let said = SourceEntry::parse(bad).err().expect(bad).to_string();
            let right = "an address (198.51.100.8), a range (198.51.100.1-198.51.100.5), a network \
                         (198.51.100.0/24) or a host name";
            assert_eq!(said, format!("`{bad}` is not a source; write {right}"));
        }
    }
}
