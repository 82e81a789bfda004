//! Checks of relay and forwarder together: every group's batches have a destination, every filter can be applied, and no
//! two batches have one path. Also of all roles together: no two listen on one address.

use std::net::{IpAddr, SocketAddr};

use crate::forwarder::{Destination, ForwarderSettings};
use crate::relay::sources::SourceList;
use crate::relay::{GroupSettings, RelaySettings};
use crate::yaml::field::{ConfigField, nearest_hint};

/// Reports each address to listen on that an earlier setting takes.
pub(crate) fn check_addresses(listening: Vec<(ConfigField<'_>, SocketAddr)>) {
    let mut taken: Vec<(ConfigField<'_>, SocketAddr)> = Vec::new();
    for (at, address) in listening {
        let earlier = taken.iter().find(|(_, other)| excludes(*other, address));
        if let Some((other_at, other)) = earlier {
            at.report(format!(
                "`{address}` cannot be used beside {other_at}, which is {other}; give each a port of its own"
            ));
        }
        taken.push((at, address));
    }
}

/// Whether only one of two addresses can be listened on. Port 0 is another port each time. An address of all interfaces takes
/// its port from each of them; `[::]` takes it from IPv4 too (ipv6(7), `IPV6_V6ONLY`).
fn excludes(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |all: IpAddr, address: IpAddr| {
        all.is_unspecified() && (all.is_ipv6() || address.is_ipv4() || address.is_unspecified())
    };
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || takes(one.ip(), other.ip()) || takes(other.ip(), one.ip()))
}

/// Checks all destinations against the relay's batches, if its section is in the same file.
pub(crate) fn check(relay: Option<&RelaySettings>, forwarder: &ForwarderSettings, at: &ConfigField<'_>) {
    let destinations_at = at.key("forwarder").key("destinations");
    for (index, destination) in forwarder.destinations.iter().enumerate() {
        let (at, layout) = (destinations_at.item(index), &destination.layout);
        at.key(layout.key()).accept(layout.check(relay));
        if let Some(relay) = relay {
            check_logs(relay, destination, &at);
            check_groups(relay, destination, &at);
        }
    }
    let groups_at = at.key("relay").key("groups");
    let groups = relay.iter().flat_map(|relay| &relay.groups);
    for (index, group) in groups.enumerate() {
        groups_at.item(index).warn(match coverage(group, &forwarder.destinations) {
            Coverage::Whole => continue,
            Coverage::Part => {
                "some of its sources are wanted by no destination; their batches wait in ready/ until one wants them"
            }
            Coverage::Nothing => "no destination wants it; its batches wait in ready/ until one does",
        });
    }
}

fn check_logs(relay: &RelaySettings, destination: &Destination, at: &ConfigField<'_>) {
    if destination.filter.logs.is_some() && !relay.batch.name.uses_log() {
        at.key("logs").report(
            "cannot be told apart, as relay.batch.name has no {log} and logs share a batch; add {log} to it, or leave \
             `logs` out",
        );
    }
}

fn check_groups(relay: &RelaySettings, destination: &Destination, at: &ConfigField<'_>) {
    let known = || relay.groups.iter().map(|group| group.name.as_str());
    let wanted = destination.filter.groups.iter().flatten();
    for group in wanted.filter(|group| !known().any(|known| known == group.as_str())) {
        let hint = nearest_hint(group.as_str(), known());
        at.key("groups")
            .warn(&format!("there is no group `{group}` in relay.groups{hint}"));
    }
}

/// How much of a group the destinations want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    Whole,
    Part,
    Nothing,
}

/// A destination with a filter by logs counts as if it wanted all logs: only the senders know which logs exist.
fn coverage(group: &GroupSettings, destinations: &[Destination]) -> Coverage {
    let filters = destinations.iter().map(|destination| &destination.filter);
    let of_group = filters.filter(|filter| {
        let groups = filter.groups.as_ref();
        groups.is_none_or(|groups| groups.contains(&group.name))
    });
    let wanting: Vec<_> = of_group.map(|filter| &filter.sources).collect();
    if wanting.is_empty() {
        return Coverage::Nothing;
    }
    if wanting.contains(&&SourceList::Any) {
        return Coverage::Whole;
    }
    let SourceList::Only { ranges, names } = &group.sources else {
        return Coverage::Part;
    };
    let mut wanted = Vec::new();
    let mut wanted_names = Vec::new();
    for list in wanting {
        if let SourceList::Only { ranges, names } = list {
            wanted.extend(ranges.iter().copied().map(numbers));
            wanted_names.extend(names);
        }
    }
    wanted.sort_unstable();
    let of_ranges = ranges
        .iter()
        .map(|range| range_coverage(numbers(*range), &wanted));
    let of_names = names.iter().map(|name| {
        let is_wanted = wanted_names.contains(&name);
        if is_wanted {
            Coverage::Whole
        } else {
            Coverage::Nothing
        }
    });
    let together = |one, other| if one == other { one } else { Coverage::Part };
    let all = of_ranges.chain(of_names).reduce(together);
    all.unwrap_or(Coverage::Whole)
}

/// First and last address of a range as numbers, the family first.
type Numbers = ((bool, u128), (bool, u128));

fn numbers((first, last): (IpAddr, IpAddr)) -> Numbers {
    let number = |address| match address {
        IpAddr::V4(address) => (false, u128::from(u32::from(address))),
        IpAddr::V6(address) => (true, u128::from(address)),
    };
    (number(first), number(last))
}

/// `wanted`: sorted.
fn range_coverage((first, last): Numbers, wanted: &[Numbers]) -> Coverage {
    let mut next = first;
    let mut overlaps = false;
    for (from, to) in wanted {
        if *to < next || *from > last {
            continue;
        }
        overlaps = true;
        if *from > next {
            break;
        }
        if *to >= last {
            return Coverage::Whole;
        }
        // It is below `last`: no overflow, and the same family.
        next = (to.0, to.1 + 1);
    }
    if overlaps {
        Coverage::Part
    } else {
        Coverage::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, wanted: &[&str]) -> Coverage {
        let ranges = |list| match list {
            SourceList::Only { ranges, .. } => ranges.into_iter().map(numbers).collect(),
            SourceList::Any => Vec::new(),
        };
        let mut wanted = ranges(SourceList::of(wanted));
        wanted.sort_unstable();
        range_coverage(ranges(SourceList::of(&[range]))[0], &wanted)
    }

    #[test]
    fn several_ranges_together_may_cover_one() {
        let range = "198.51.100.0-198.51.100.9";
        assert_eq!(of(range, &[]), Coverage::Nothing);
        assert_eq!(of(range, &["192.0.2.0/24", "2001:db8::/32"]), Coverage::Nothing);
        assert_eq!(of(range, &["198.51.100.0/30"]), Coverage::Part);
        let upper = "198.51.100.5-198.51.100.20";
        assert_eq!(of(range, &[upper, "198.51.100.0-198.51.100.4"]), Coverage::Whole);
        assert_eq!(of(range, &[upper, "198.51.100.0-198.51.100.3"]), Coverage::Part);
        assert_eq!(of(range, &["198.51.100.3", "0.0.0.0/0"]), Coverage::Whole);
        assert_eq!(of("::/0", &["::/1", "8000::/1"]), Coverage::Whole);
    }
}
