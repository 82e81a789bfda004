//! The filter of a destination: its `sources`, `groups` and `logs`.

use std::fmt;

use logferry_protocol::names::{DestinationName, GroupName, LogName, SourceId};

use crate::relay::sources::{SourceEntry, SourceList};
use crate::yaml::field::ConfigField;

/// The filter for the batches of a destination; by default it accepts all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The sources it accepts.
    pub sources: SourceList,
    /// The groups it accepts; `None`: all.
    pub groups: Option<Vec<GroupName>>,
    /// The logs it accepts; `None`: all.
    pub logs: Option<Vec<LogName>>,
}

/// A destination's name and filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// Its name.
    pub name: DestinationName,
    /// Its filter.
    pub filter: DeliveryFilter,
}

impl DeliveryFilter {
    /// Whether it accepts a batch. A batch of all logs (`None`) passes every filter by logs: in doubt it is delivered.
    pub fn accepts(&self, source: &SourceId, group: &GroupName, log: Option<&LogName>) -> bool {
        let has_log = |logs: &Vec<LogName>| log.is_none_or(|log| logs.contains(log));
        self.sources.allows_name(source)
            && self.groups.as_ref().is_none_or(|groups| groups.contains(group))
            && self.logs.as_ref().is_none_or(has_log)
    }
}

/// Equal for equal settings, to notice changes.
impl fmt::Display for DeliveryFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let SourceList::Only { ranges, names } = &self.sources {
            words.extend(ranges.iter().map(|(first, last)| format!("{first}-{last}")));
            words.extend(names.iter().map(ToString::to_string));
        }
        let groups = self.groups.iter().flatten();
        words.extend(groups.map(|group| format!("group:{group}")));
        let logs = self.logs.iter().flatten();
        words.extend(logs.map(|log| format!("log:{log}")));
        f.write_str(&words.join(" "))
    }
}

/// The filter with these settings of a destination.
pub(super) fn resolve(
    sources: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    logs: Option<Vec<String>>,
    at: &ConfigField<'_>,
) -> Option<DeliveryFilter> {
    let sources = list("sources", sources, at, |at, raw| {
        at.check(raw, SourceEntry::parse)
    });
    let groups = list("groups", groups, at, ConfigField::parse);
    let logs = list("logs", logs, at, ConfigField::parse);
    Some(DeliveryFilter {
        sources: sources?.map_or(SourceList::Any, SourceList::only),
        groups: groups?,
        logs: logs?,
    })
}

#[expect(clippy::option_option, reason = "outer: no problem; inner: there is a list")]
fn list<'a, T>(
    key: &'static str,
    raw: Option<Vec<String>>,
    at: &ConfigField<'a>,
    resolve: fn(&ConfigField<'a>, &str) -> Option<T>,
) -> Option<Option<Vec<T>>> {
    let (Some(raw), at) = (raw, at.key(key)) else {
        return Some(None);
    };
    if raw.is_empty() {
        return at.refuse("is empty, so nothing would be delivered; list at least one, or leave it out");
    }
    at.each(raw, |raw: String, at| resolve(at, &raw)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(wants: &DeliveryFilter, source: &str, group: &str, log: Option<&str>) -> bool {
        let log = log.map(|log| log.parse().expect("a log"));
        wants.accepts(
            &source.parse().expect("a source"),
            &group.parse().expect("a group"),
            log.as_ref(),
        )
    }

    #[test]
    fn a_batch_must_pass_every_filter_that_is_set() {
        let wants = DeliveryFilter {
            sources: SourceList::of(&["198.51.100.0/24", "app.example.com"]),
            groups: Some(vec!["web-1".parse().expect("a group")]),
            logs: Some(vec!["access".parse().expect("a log")]),
        };
        assert!(takes(&wants, "198.51.100.7", "web-1", Some("access")));
        assert!(takes(&wants, "app.example.com", "web-1", Some("access")));
        assert!(!takes(&wants, "192.0.2.7", "web-1", Some("access")));
        assert!(!takes(&wants, "198.51.100.7", "web-2", Some("access")));
        assert!(!takes(&wants, "198.51.100.7", "web-1", Some("error")));
        assert!(takes(&wants, "198.51.100.7", "web-1", None), "mixed logs");
        let all = DeliveryFilter::default();
        assert!(takes(&all, "192.0.2.7", "any", Some("error")));
    }

    #[test]
    fn other_filters_have_another_text() {
        let with = |sources: &str| DeliveryFilter {
            sources: SourceList::of(&[sources]),
            ..DeliveryFilter::default()
        };
        assert_eq!(with("198.51.100.0/31").to_string(), "198.51.100.0-198.51.100.1");
        assert_ne!(with("198.51.100.1").to_string(), with("198.51.100.2").to_string());
        assert_eq!(DeliveryFilter::default().to_string(), "");
    }
}
