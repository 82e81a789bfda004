//! The `monitor` section; `smtp` has the mail server.
//!
//! A setting of the monitor is added here; `docs/configure.md` describes it.

pub(crate) mod smtp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::SourceId;
use serde::Deserialize;

use crate::monitor::smtp::{RawSmtp, Smtp};
use crate::yaml::field::ConfigField;

/// The settings of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// Time between checks.
    pub interval: Duration,
    /// A source without contact for this time is stale.
    pub stale_after: Duration,
    /// Sources that must exist even if never seen.
    pub expected_sources: Vec<SourceId>,
    /// The mail server.
    pub smtp: Smtp,
    /// The hourly mail.
    pub summary: SummarySettings,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// The hourly mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummarySettings {
    /// Time from an hour's end to its mail; below one hour.
    pub after: Duration,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawMonitor {
    data_dir: Option<String>,
    interval: String,
    stale_after: String,
    expected_sources: Vec<String>,
    smtp: RawSmtp,
    summary: RawSummary,
    metrics: Option<String>,
}

impl Default for RawMonitor {
    fn default() -> Self {
        Self {
            data_dir: None,
            interval: "60s".into(),
            stale_after: "5m".into(),
            expected_sources: Vec::new(),
            smtp: RawSmtp::default(),
            summary: RawSummary::default(),
            metrics: Some("127.0.0.1:9103".into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawSummary {
    every: String,
    after: String,
}

impl Default for RawSummary {
    fn default() -> Self {
        Self {
            every: "hour".into(),
            after: "15m".into(),
        }
    }
}

impl RawMonitor {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<MonitorSettings> {
        let data_dir = at
            .key("data_dir")
            .optional(self.data_dir.as_deref(), ConfigField::path);
        let interval = at.key("interval").interval(&self.interval);
        let stale_after = at.key("stale_after").interval(&self.stale_after);
        let expected_sources = at
            .key("expected_sources")
            .each(self.expected_sources, |raw: String, at| at.parse(&raw));
        let smtp = self.smtp.resolve(&at.key("smtp"));
        let summary = self.summary.resolve(&at.key("summary"));
        let metrics = at
            .key("metrics")
            .optional(self.metrics.as_deref(), ConfigField::address);
        Some(MonitorSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            interval: interval?,
            stale_after: stale_after?,
            expected_sources: expected_sources?,
            smtp: smtp?,
            summary: summary?,
            metrics: metrics?,
        })
    }
}

impl RawSummary {
    fn resolve(&self, at: &ConfigField<'_>) -> Option<SummarySettings> {
        const HOUR: Duration = Duration::from_hours(1);
        let every = at.key("every").choice(&self.every, &[("hour", ())]);
        let after_at = at.key("after");
        let after = after_at.time(&self.after)?;
        if after >= HOUR {
            after_at.report("is not below one hour; write for example 15m");
            return None;
        }
        every.map(|()| SummarySettings { after })
    }
}
