//! The `monitor` section; `smtp` has the mail server, `summary` the hourly and the daily mail.
//!
//! A setting of the monitor is added here; `docs/configure.md` describes it.

pub(crate) mod smtp;
pub(crate) mod summary;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::SourceId;
use serde::Deserialize;

use crate::monitor::smtp::{RawSmtp, Smtp};
use crate::monitor::summary::{RawSummary, SummarySettings};
use crate::yaml::field::{ConfigField, RawText};

/// Senders report every 10 s. A source is stale only after several reports are missing.
const STALE_AFTER_MIN: Duration = Duration::from_secs(30);

/// The settings of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// Time between checks.
    pub interval: Duration,
    /// A source without contact for this time is stale.
    pub stale_after: Duration,
    /// How long a state must last before its mail.
    pub hold: AlertHold,
    /// Sources that must exist even if never seen.
    pub expected_sources: Vec<SourceId>,
    /// The mail server.
    pub smtp: Smtp,
    /// The hourly and the daily mail.
    pub summary: SummarySettings,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// How long a state must last before its mail, so that a source that flaps does not mail twice each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlertHold {
    /// A source must be stale for so long before its alert.
    pub firing: Duration,
    /// A source must make contact for so long before the mail that it is back.
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
    expected_sources: Vec<String>,
    templates_dir: Option<String>,
    smtp: RawSmtp,
    summary: RawSummary,
    #[serde(default = "metrics_address")]
    metrics: Option<String>,
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
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<MonitorSettings> {
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
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
        let expected_sources = at
            .key("expected_sources")
            .each(self.expected_sources, |raw: String, at| at.parse(&raw));
        let smtp = self.smtp.resolve(&at.key("smtp"));
        let store_dir = at.optional("store_dir", self.store_dir, ConfigField::path);
        let templates_dir = at.optional("templates_dir", self.templates_dir, ConfigField::path);
        let summary = self
            .summary
            .resolve(&at.key("summary"), store_dir?, templates_dir?);
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        Some(MonitorSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            interval: interval?,
            stale_after: stale_after?,
            hold: hold?,
            expected_sources: expected_sources?,
            smtp: smtp?,
            summary: summary?,
            metrics: metrics?,
        })
    }
}
