//! The `monitor` section; `smtp` has the mail server, `summary` the hourly and the daily mail, `rules` the thresholds, `channels`
//! where alerts go beside the mail.
//!
//! A setting of the monitor is added here; `docs/configure.md` describes it.

pub(crate) mod channels;
pub(crate) mod limits;
pub(crate) mod rules;
pub(crate) mod smtp;
pub(crate) mod summary;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::SourceId;
use serde::Deserialize;

use crate::indexer::STORE_DIR;
use crate::monitor::channels::{ChannelSettings, HeartbeatSettings, RawChannel, RawHeartbeat};
use crate::monitor::limits::{AlertLimits, RawAlertLimits};
use crate::monitor::rules::{RawMonitorRule, RuleSettings};
use crate::monitor::smtp::{RawSmtp, Smtp, mail_address};
use crate::monitor::summary::{RawSummary, SummarySettings};
use crate::watched_host::WatchedHost;
use crate::yaml::field::{ConfigField, RawText};

/// Senders report every 10 s. A source is stale only after several reports are missing.
const STALE_AFTER_MIN: Duration = Duration::from_secs(30);

/// The settings of the monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// Folder of the indexer's `index.db`.
    pub store_dir: PathBuf,
    /// Time between checks.
    pub interval: Duration,
    /// A source without contact for this time is stale.
    pub stale_after: Duration,
    /// How long a state must last before its mail.
    pub hold: AlertHold,
    /// From where on people are told.
    pub limits: AlertLimits,
    /// Sources that must exist even if never seen.
    pub expected_sources: Vec<SourceId>,
    /// What other sections say that is watched.
    pub host: WatchedHost,
    /// The mail server.
    pub smtp: Smtp,
    /// The hourly and the daily mail.
    pub summary: SummarySettings,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
    /// The thresholds over the indexer's numbers.
    pub rules: Vec<RuleSettings>,
    /// Where alerts go beside the mail.
    pub channels: Vec<ChannelSettings>,
    /// The sign that the monitor works; none when absent.
    pub heartbeat: Option<HeartbeatSettings>,
}

/// How long something must be wrong, or right again, before its mail, so that what flaps does not mail twice each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlertHold {
    /// Something must be wrong for so long before people are told.
    pub firing: Duration,
    /// It must be right again for so long before they are told that it is over.
    pub clear: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawMonitor {
    data_dir: Option<String>,
    store_dir: Option<String>,
    interval: RawText,
    stale_after: RawText,
    hold: RawHold,
    limits: RawAlertLimits,
    expected_sources: Vec<String>,
    templates_dir: Option<String>,
    smtp: RawSmtp,
    summary: RawSummary,
    #[serde(default = "metrics_address")]
    metrics: Option<String>,
    rules: Vec<RawMonitorRule>,
    channels: BTreeMap<String, RawChannel>,
    heartbeat: Option<RawHeartbeat>,
}

/// The default. `null` in the file means no address.
#[expect(clippy::unnecessary_wraps, reason = "the type of the field")]
fn metrics_address() -> Option<String> {
    Some("127.0.0.1:9103".into())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawHold {
    firing: RawText,
    clear: RawText,
}

impl RawHold {
    fn resolve(self, at: &ConfigField<'_>) -> Option<AlertHold> {
        let firing = at.key("firing").time(self.firing.or("0s"));
        let clear = at.key("clear").time(self.clear.or("2m"));
        Some(AlertHold {
            firing: firing?,
            clear: clear?,
        })
    }
}

impl RawMonitor {
    /// `spool`: the folder if the section has none; `index`: that of the indexer's section, if there is one.
    pub(crate) fn resolve(
        self,
        at: &ConfigField<'_>,
        spool: &Path,
        index: Option<&Path>,
    ) -> Option<MonitorSettings> {
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
        let store_dir = at.optional("store_dir", self.store_dir, ConfigField::path);
        let interval = at.key("interval").interval(self.interval.or("60s"));
        let stale_at = at.key("stale_after");
        let stale_after = match stale_at.interval(self.stale_after.or("5m")) {
            Some(after) if after < STALE_AFTER_MIN => stale_at.refuse(
                "is below 30s; senders report every 10 s, so a shorter time makes sources stale that are well; write for \
                 example 5m",
            ),
            after => after,
        };
        let hold = self.hold.resolve(&at.key("hold"));
        let limits = self.limits.resolve(&at.key("limits"));
        let expected_sources = at
            .key("expected_sources")
            .each(self.expected_sources, |raw: String, at| at.parse(&raw));
        let smtp = self.smtp.resolve(&at.key("smtp"));
        let templates_dir = at.optional("templates_dir", self.templates_dir, ConfigField::path);
        let summary = self.summary.resolve(&at.key("summary"), templates_dir?);
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        let channels = channels::resolve(self.channels, &at.key("channels"));
        let rules = rules::resolve(self.rules, channels.as_deref(), &at.key("rules"));
        let heartbeat = match self.heartbeat {
            Some(raw) => raw.resolve(&at.key("heartbeat"), mail_address).map(Some),
            None => Some(None),
        };
        Some(MonitorSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            store_dir: store_dir?.unwrap_or_else(|| index.unwrap_or(Path::new(STORE_DIR)).to_owned()),
            interval: interval?,
            stale_after: stale_after?,
            hold: hold?,
            limits: limits?,
            expected_sources: expected_sources?,
            // The other sections are not resolved yet.
            host: WatchedHost::default(),
            smtp: smtp?,
            summary: summary?,
            metrics: metrics?,
            rules: rules?,
            channels: channels?,
            heartbeat: heartbeat?,
        })
    }
}
