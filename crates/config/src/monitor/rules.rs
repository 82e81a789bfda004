//! `monitor.rules`: thresholds over the indexer's numbers. What a rule asks for is here; whether it is so is the monitor's to
//! see.

use std::fmt;
use std::time::Duration;

use logferry_time_windows::duration_setting;
use serde::Deserialize;

use crate::indexer::IndexerSettings;
use crate::indexer::counters::TextPattern;
use crate::monitor::channels::{ChannelSettings, MAIL_CHANNEL};
use crate::yaml::field::{ConfigField, RawText, nearest_hint};
use crate::yaml::units::parse_size;

/// Most rules: each reads its own minutes at each look.
const RULES_MAX: usize = 200;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// The names of the rules that the monitor has itself: a rule of the same name would be taken for one of them.
const TAKEN_NAMES: [&str; 26] = [
    "stale",
    "missing",
    "all silent",
    "behind",
    "at risk",
    "losing",
    "held",
    "two senders",
    "checkpoint",
    "clock",
    "down",
    "refusing",
    "full",
    "late",
    "disk",
    "disk full",
    "group",
    "ledger",
    "role",
    "files",
    "certificate",
    "audit",
    "indexer",
    "recipient",
    "rules",
    "channel",
];

/// The counters that there are without `indexer.counters`.
const BUILT_IN: [(&str, BuiltInCounter); 13] = [
    ("lines", BuiltInCounter::Lines),
    ("bytes", BuiltInCounter::Bytes),
    ("unparsed", BuiltInCounter::Unparsed),
    ("requests_timed", BuiltInCounter::RequestsTimed),
    ("status_1xx", BuiltInCounter::Status(0)),
    ("status_2xx", BuiltInCounter::Status(1)),
    ("status_3xx", BuiltInCounter::Status(2)),
    ("status_4xx", BuiltInCounter::Status(3)),
    ("status_5xx", BuiltInCounter::Status(4)),
    ("level_debug", BuiltInCounter::Level(0)),
    ("level_info", BuiltInCounter::Level(1)),
    ("level_warn", BuiltInCounter::Level(2)),
    ("level_error", BuiltInCounter::Level(3)),
];

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings {
    /// Its name, in alerts and in mails.
    pub name: String,
    /// What it counts.
    pub counter: RuleCounter,
    /// What it makes of the count.
    pub measure: RuleMeasure,
    /// When it fires.
    pub threshold: RuleThreshold,
    /// The time that it looks back, in whole minutes.
    pub over: Duration,
    /// Whether each source, group or log is judged on its own; `None`: all lines together.
    pub by: Option<RuleDimension>,
    /// The lines that it looks at.
    pub filter: RuleFilter,
    /// How long it must be so before it is told; `None`: as long as `monitor.hold.firing`.
    pub hold: Option<Duration>,
    /// How bad it is.
    pub severity: RuleSeverity,
    /// The channels that are told, at least one, unless the list in the file is empty.
    pub channels: Vec<String>,
}

/// What a rule counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleCounter {
    /// A number that each line has.
    BuiltIn(BuiltInCounter),
    /// One of `indexer.counters`.
    Named(String),
}

/// A counter that there is without `indexer.counters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltInCounter {
    /// Lines.
    Lines,
    /// Bytes.
    Bytes,
    /// Lines that are not of their log's format.
    Unparsed,
    /// Lines that say how long the request took.
    RequestsTimed,
    /// Lines of an HTTP status, 0 for `1xx`.
    Status(usize),
    /// Lines of a level, 0 for debug.
    Level(usize),
}

impl fmt::Display for RuleCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(counter) => {
                let known = BUILT_IN.iter().find(|(_, known)| known == counter);
                f.write_str(known.map_or("lines", |(name, _)| name))
            }
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// What a rule makes of the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleMeasure {
    /// The count itself.
    Count,
    /// The count for each second.
    Rate,
    /// The count for each line, from 0 to 1.
    Share,
    /// The count for each one a day before.
    RatioToYesterday,
    /// The count for each one a week before.
    RatioToLastWeek,
}

impl RuleMeasure {
    /// How long before the minutes that it compares with are; `None` if it compares with nothing.
    pub const fn baseline(self) -> Option<Duration> {
        match self {
            Self::Count | Self::Rate | Self::Share => None,
            Self::RatioToYesterday => Some(DAY),
            Self::RatioToLastWeek => Some(Duration::from_hours(7 * 24)),
        }
    }

    const fn is_in_percent(self) -> bool {
        matches!(self, Self::Share | Self::RatioToYesterday | Self::RatioToLastWeek)
    }
}

/// When a rule fires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RuleThreshold {
    /// The measure is above this.
    Above(f64),
    /// The measure is below this.
    Below(f64),
    /// Nothing was counted.
    Absent,
}

/// What a rule is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleDimension {
    /// Each source on its own.
    Source,
    /// Each group on its own.
    Group,
    /// Each log on its own.
    Log,
}

/// The lines that a rule looks at: those that have all that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFilter {
    /// The source.
    pub source: Option<TextPattern>,
    /// The source's group.
    pub group: Option<TextPattern>,
    /// The log.
    pub log: Option<TextPattern>,
}

/// How bad it is when a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSeverity {
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

impl RuleSeverity {
    /// Its name in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a rule such as {name: server errors, counter: status_5xx, measure: share, above: 5%, over: 5m}"
)]
pub(crate) struct RawMonitorRule {
    name: Option<String>,
    counter: Option<String>,
    measure: RawText,
    above: Option<String>,
    below: Option<String>,
    absent: Option<String>,
    over: RawText,
    by: Option<String>,
    source: Option<String>,
    group: Option<String>,
    log: Option<String>,
    hold: Option<String>,
    severity: RawText,
    channels: Option<Vec<String>>,
}

/// The rules. `channels`: those that a rule may name, if they are known.
pub(crate) fn resolve(
    raw: Vec<RawMonitorRule>,
    channels: Option<&[ChannelSettings]>,
    at: &ConfigField<'_>,
) -> Option<Vec<RuleSettings>> {
    if raw.len() > RULES_MAX {
        return at.refuse(format!(
            "has {} rules; at most {RULES_MAX} are allowed",
            raw.len()
        ));
    }
    let rules = at.each(raw, |raw: RawMonitorRule, at| raw.resolve(channels, at))?;
    let names: Vec<_> = rules.iter().map(|rule| Some(rule.name.clone())).collect();
    at.distinct(
        "name",
        names,
        "each rule needs a name of its own, which alerts show",
    );
    Some(rules)
}

impl RawMonitorRule {
    fn resolve(self, channels: Option<&[ChannelSettings]>, at: &ConfigField<'_>) -> Option<RuleSettings> {
        let name = at.required("name", self.name, "server errors", |at, text| {
            at.check(text, name)
        });
        let counter = at.required("counter", self.counter, "status_5xx", |at, text| {
            at.check(text, counter)
        });
        let measure = at.key("measure").choice(
            self.measure.or("count"),
            &[
                ("count", RuleMeasure::Count),
                ("rate", RuleMeasure::Rate),
                ("share", RuleMeasure::Share),
                ("ratio_to_yesterday", RuleMeasure::RatioToYesterday),
                ("ratio_to_last_week", RuleMeasure::RatioToLastWeek),
            ],
        );
        let limits = [
            ("above", self.above),
            ("below", self.below),
            ("absent", self.absent),
        ];
        let threshold = measure.and_then(|measure| threshold(limits, counter.as_ref(), measure, at));
        let over = at.key("over").time(self.over.or("5m"));
        let over = over.and_then(|over| whole_minutes(over, &at.key("over")));
        let by = at.optional("by", self.by, |at, text| {
            let words = [
                ("source", RuleDimension::Source),
                ("group", RuleDimension::Group),
                ("log", RuleDimension::Log),
            ];
            at.choice(text, &words)
        });
        let pattern = |at: &ConfigField<'_>, text: &str| at.filled(text).map(|text| TextPattern::of(&text));
        let (source, group, log) = (
            at.optional("source", self.source, pattern),
            at.optional("group", self.group, pattern),
            at.optional("log", self.log, pattern),
        );
        let hold = at.optional("hold", self.hold, ConfigField::time);
        let severity = at.key("severity").choice(
            self.severity.or("warning"),
            &[RuleSeverity::Warning, RuleSeverity::Critical].map(|severity| (severity.as_str(), severity)),
        );
        let told = self.channels.unwrap_or_else(|| vec![MAIL_CHANNEL.to_owned()]);
        let told = at.key("channels").each(told, |raw: String, at| {
            at.check(&raw, |text| channel(text, channels))
        });
        Some(RuleSettings {
            name: name?,
            counter: counter?,
            measure: measure?,
            threshold: threshold?,
            over: over?,
            by: by?,
            filter: RuleFilter {
                source: source?,
                group: group?,
                log: log?,
            },
            hold: hold?,
            severity: severity?,
            channels: told?,
        })
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    if TAKEN_NAMES.contains(&text.trim()) {
        return Err("is the name of an alert that there is without a rule; choose another name");
    }
    if text.trim().is_empty() || text.chars().count() > 80 || text.contains(char::is_control) {
        return Err(
            "is no name for a rule; write one line of at most 80 characters, such as `server errors`",
        );
    }
    Ok(text.trim().to_owned())
}

/// A counter by its name. Whether a named one exists is checked where `indexer.counters` is known.
fn counter(text: &str) -> Result<RuleCounter, String> {
    let built_in = BUILT_IN.iter().find(|(name, _)| *name == text);
    if let Some((_, counter)) = built_in {
        return Ok(RuleCounter::BuiltIn(*counter));
    }
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_reserved = text.starts_with("status_") || text.starts_with("level_");
    if text.is_empty() || is_reserved || !text.bytes().all(is_of_name) {
        let hint = nearest_hint(text, BUILT_IN.iter().map(|(name, _)| *name));
        return Err(format!("there is no counter `{text}`{hint}"));
    }
    Ok(RuleCounter::Named(text.to_owned()))
}

fn channel(text: &str, channels: Option<&[ChannelSettings]>) -> Result<String, String> {
    let Some(channels) = channels else {
        // What is wrong with the channels is reported there.
        return Ok(text.to_owned());
    };
    let known = || {
        let names = channels.iter().map(|channel| channel.name.as_str());
        names.chain([MAIL_CHANNEL])
    };
    if known().any(|known| known == text) {
        return Ok(text.to_owned());
    }
    let hint = nearest_hint(text, known());
    Err(format!("there is no channel `{text}` in monitor.channels{hint}"))
}

fn whole_minutes(over: Duration, at: &ConfigField<'_>) -> Option<Duration> {
    if over < MINUTE || over > DAY || over.subsec_nanos() != 0 || !over.as_secs().is_multiple_of(60) {
        return at.refuse(format!(
            "`{}` is not valid; numbers are kept by minute, so write whole minutes from 1m to 24h, such as 5m",
            duration_setting(over)
        ));
    }
    Some(over)
}

/// The one of the three limits that is set.
fn threshold(
    limits: [(&'static str, Option<String>); 3],
    counter: Option<&RuleCounter>,
    measure: RuleMeasure,
    at: &ConfigField<'_>,
) -> Option<RuleThreshold> {
    let mut set = limits.into_iter().filter_map(|(key, text)| Some((key, text?)));
    let Some((key, text)) = set.next() else {
        return at.refuse(
            "has no limit, so it would never fire; write one of `above: 5%`, `below: 1` or `absent: true`",
        );
    };
    if let Some((second, _)) = set.next() {
        return at.key(second).refuse(format!(
            "is written beside `{key}`; a rule has one limit: write two rules"
        ));
    }
    let limit_at = at.key(key);
    if key == "absent" {
        limit_at.choice(&text, &[("true", ())])?;
        if measure != RuleMeasure::Count {
            return limit_at.refuse("goes with `measure: count` only: nothing was counted");
        }
        return Some(RuleThreshold::Absent);
    }
    let is_bytes = counter == Some(&RuleCounter::BuiltIn(BuiltInCounter::Bytes));
    let limit = limit_at.check(&text, |text| limit(text, measure, is_bytes))?;
    match key {
        "above" if measure == RuleMeasure::Share && limit >= 1.0 => {
            limit_at.refuse("a share is never above 100%; write a smaller one, such as 5%")
        }
        "above" => Some(RuleThreshold::Above(limit)),
        _ if limit <= 0.0 => {
            limit_at.refuse("nothing is below zero; write a larger limit, or `absent: true`")
        }
        _ => Some(RuleThreshold::Below(limit)),
    }
}

/// A limit: percent of a share or a ratio, else a number; bytes also in KiB, MiB and so on.
fn limit(text: &str, measure: RuleMeasure, is_bytes: bool) -> Result<f64, String> {
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().ok();
        number.filter(|number| number.is_finite() && *number >= 0.0)
    };
    if measure.is_in_percent() {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return Err(match number(text) {
                Some(_) => format!(
                    "`{text}` has no `%`; shares and ratios are written in percent, such as `{text}%`"
                ),
                None => format!("`{text}` is not a share; write it in percent, such as 5%"),
            });
        };
        return number(percent)
            .map(|percent| percent / 100.0)
            .ok_or_else(|| format!("`{text}` is not a share; write it in percent, such as 5%"));
    }
    if text.trim().ends_with('%') {
        return Err(format!(
            "`{text}` is a share, and the measure is not; write a number such as 100, or `measure: share`"
        ));
    }
    let plain = match measure {
        RuleMeasure::Rate => text.trim().strip_suffix("/s").unwrap_or(text),
        _ => text,
    };
    let size = || parse_size(plain).ok().filter(|_| is_bytes);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a limit of so many bytes need not be exact"
    )]
    let size = || size().map(|size| size as f64);
    number(plain).or_else(size).ok_or_else(|| match measure {
        RuleMeasure::Rate => format!("`{text}` is not a rate; write how many a second, such as 100 or 0.5"),
        _ => format!("`{text}` is not a number; write one such as 100"),
    })
}

/// Checks the rules against the indexer's section: counters that exist, and minutes that are kept for long enough.
pub(crate) fn check(rules: &[RuleSettings], indexer: Option<&IndexerSettings>, at: &ConfigField<'_>) {
    let Some(indexer) = indexer else {
        if !rules.is_empty() {
            at.warn(
                "there is no indexer section, so nothing is counted here and no rule is evaluated, unless an indexer with \
                 another configuration writes to monitor.store_dir",
            );
        }
        return;
    };
    for (index, rule) in rules.iter().enumerate() {
        let at = at.item(index);
        let known = || {
            let named = indexer.counters.iter().map(|counter| counter.name.as_str());
            named.chain(BUILT_IN.iter().map(|(name, _)| *name))
        };
        if let RuleCounter::Named(name) = &rule.counter
            && !known().any(|known| known == name)
        {
            let hint = nearest_hint(name, known());
            at.key("counter").report(format!(
                "there is no counter `{name}`, neither built in nor in indexer.counters{hint}"
            ));
        }
        let needed = rule.measure.baseline().unwrap_or_default() + rule.over + Duration::from_hours(1);
        if indexer.keep.minutes < needed {
            at.key("measure").report(format!(
                "looks back further than indexer.keep.minutes ({}); keep at least {}",
                duration_setting(indexer.keep.minutes),
                duration_setting(needed)
            ));
        }
    }
}
