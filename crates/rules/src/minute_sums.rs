//! What a rule counts, minute by minute, for each value that it is evaluated by. Pure.

use std::collections::{BTreeMap, BTreeSet};

use logferry_config::{BuiltInCounter, RuleCounter, RuleDimension, RuleFilter, RuleSettings};
use logferry_numbers::{CounterId, Counts, SeriesKey};

use crate::arrived_lines::ArrivedLines;

/// The value of lines whose log is not known.
const NO_LOG: &str = "(no log)";

/// What was counted in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RuleSum {
    /// What the rule counts.
    pub(crate) count: u64,
    /// All lines that it looks at.
    pub(crate) lines: u64,
}

impl RuleSum {
    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            lines: self.lines.saturating_add(other.lines),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_sub(other.count),
            lines: self.lines.saturating_sub(other.lines),
        }
    }
}

/// Sums from the first minute on, so that the sum of any time is a difference.
#[derive(Debug, Clone, Default)]
pub(crate) struct MinuteSums(Vec<(i64, RuleSum)>);

impl MinuteSums {
    /// Adds to a minute. Minutes come in order.
    fn add(&mut self, minute: i64, sum: RuleSum) {
        match self.0.last_mut() {
            Some((last, so_far)) if *last == minute => *so_far = so_far.plus(sum),
            last => {
                let so_far = last.map_or_else(RuleSum::default, |(_, so_far)| *so_far);
                self.0.push((minute, so_far.plus(sum)));
            }
        }
    }

    /// The sum of the minutes that begin at or after `from` and before `until`.
    pub(crate) fn between(&self, from: i64, until: i64) -> RuleSum {
        self.before(until).minus(self.before(from))
    }

    fn before(&self, time: i64) -> RuleSum {
        let minutes = self.0.partition_point(|(minute, _)| *minute < time);
        let last = minutes.checked_sub(1).and_then(|last| self.0.get(last));
        last.map_or_else(RuleSum::default, |(_, sum)| *sum)
    }
}

/// How a rule finds its number in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CounterColumn {
    BuiltIn(BuiltInCounter),
    Named(CounterId),
}

impl CounterColumn {
    /// `None`: the indexer does not know a counter of this name.
    pub(crate) fn of(counter: &RuleCounter, named: &[(String, CounterId)]) -> Option<Self> {
        match counter {
            RuleCounter::BuiltIn(counter) => Some(Self::BuiltIn(*counter)),
            RuleCounter::Named(name) => {
                let found = named.iter().find(|(known, _)| known == name);
                found.map(|(_, id)| Self::Named(*id))
            }
        }
    }

    fn count(self, counts: &Counts) -> u64 {
        match self {
            Self::BuiltIn(BuiltInCounter::Lines) => counts.lines(),
            Self::BuiltIn(BuiltInCounter::Bytes) => counts.bytes(),
            Self::BuiltIn(BuiltInCounter::Unparsed) => counts.unparsed(),
            Self::BuiltIn(BuiltInCounter::RequestsTimed) => counts.request_times().0,
            Self::BuiltIn(BuiltInCounter::Status(class)) => {
                counts.statuses().get(class).map_or(0, |(lines, _)| *lines)
            }
            Self::BuiltIn(BuiltInCounter::Level(level)) => {
                counts.levels().get(level).map_or(0, |(lines, _)| *lines)
            }
            Self::Named(id) => counts.named(id),
        }
    }
}

/// The numbers of one rule.
#[derive(Debug, Clone, Default)]
pub struct RuleNumbers {
    /// By the value that the rule is evaluated by; a rule for all lines together has one value, the empty text.
    pub(crate) values: BTreeMap<String, MinuteSums>,
    /// The first minute of which there are numbers at all.
    pub(crate) first_minute: Option<i64>,
    /// The sources that lately had lines of each value.
    sources: BTreeMap<String, BTreeSet<String>>,
    /// What has arrived of them.
    arrived: ArrivedLines,
}

impl RuleNumbers {
    /// Numbers without a minute yet. A value that lately had lines is evaluated also when it has none now.
    pub(crate) fn new(rule: &RuleSettings, lately: &[SeriesKey], first_minute: Option<i64>) -> Self {
        let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for key in lately.iter().filter(|key| is_wanted(&rule.filter, key)) {
            let of_value = sources.entry(value(rule.by, key)).or_default();
            of_value.insert(key.source.clone());
        }
        if rule.by.is_none() {
            sources.entry(String::new()).or_default();
        }
        let values = sources.keys().map(|value| (value.clone(), MinuteSums::default()));
        Self {
            values: values.collect(),
            first_minute,
            sources,
            arrived: ArrivedLines::default(),
        }
    }

    /// The same with what is known of lines on their way.
    #[must_use]
    pub(crate) fn with_arrived(self, arrived: ArrivedLines) -> Self {
        Self { arrived, ..self }
    }

    /// Whether a value had lines within the last week.
    pub fn had_lines_lately(&self, value: &str) -> bool {
        self.sources.get(value).is_some_and(|sources| !sources.is_empty())
    }

    /// Whether lines of a value may still come that belong before `until`.
    pub(crate) fn may_get_more(&self, value: &str, until: i64) -> bool {
        let sources = self.sources.get(value);
        sources.is_some_and(|sources| self.arrived.may_come(sources, until))
    }

    /// Adds the counts of a series in a minute. Minutes come in order.
    pub(crate) fn add(
        &mut self,
        rule: &RuleSettings,
        column: CounterColumn,
        minute: i64,
        key: &SeriesKey,
        counts: &Counts,
    ) {
        if !is_wanted(&rule.filter, key) {
            return;
        }
        let sum = RuleSum {
            count: column.count(counts),
            lines: counts.lines(),
        };
        self.values
            .entry(value(rule.by, key))
            .or_default()
            .add(minute, sum);
    }
}

fn is_wanted(filter: &RuleFilter, key: &SeriesKey) -> bool {
    let log = key.log.as_deref().unwrap_or_default();
    let pairs = [
        (&filter.source, key.source.as_str()),
        (&filter.group, key.group.as_str()),
        (&filter.log, log),
    ];
    let mut set = pairs
        .into_iter()
        .filter_map(|(pattern, text)| Some((pattern.as_ref()?, text)));
    set.all(|(pattern, text)| pattern.matches(text.as_bytes()))
}

fn value(by: Option<RuleDimension>, key: &SeriesKey) -> String {
    match by {
        None => String::new(),
        Some(RuleDimension::Source) => key.source.clone(),
        Some(RuleDimension::Group) => key.group.clone(),
        Some(RuleDimension::Log) => key.log.clone().unwrap_or_else(|| NO_LOG.to_owned()),
    }
}
