//! The hourly and the daily mail: `monitor.summary`, `monitor.store_dir` and `monitor.templates_dir`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::forwarder::filter::Subscriber;
use crate::yaml::field::{ConfigField, RawText};

/// The hourly and the daily mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummarySettings {
    /// Time from an hour's or a day's end to its mail; below one hour.
    pub after: Duration,
    /// Whether there is a mail about each day too.
    pub daily: bool,
    /// The indexer's folder; its numbers may be missing there. `None`: there is no indexer.
    pub store_dir: Option<PathBuf>,
    /// Folder of templates that take the place of the built-in ones.
    pub templates_dir: Option<PathBuf>,
    /// The destinations of the `forwarder` section: what should have been delivered where.
    pub destinations: Vec<Subscriber>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawSummary {
    every: RawText,
    after: RawText,
    daily: Option<bool>,
}

impl RawSummary {
    pub(crate) fn resolve(
        &self,
        at: &ConfigField<'_>,
        store_dir: Option<PathBuf>,
        templates_dir: Option<PathBuf>,
    ) -> Option<SummarySettings> {
        const HOUR: Duration = Duration::from_hours(1);
        let every = at.key("every").choice(self.every.or("hour"), &[("hour", ())]);
        let after_at = at.key("after");
        let after = match after_at.time(self.after.or("15m"))? {
            after if after >= HOUR => after_at.refuse("is not below one hour; write for example 15m"),
            after => Some(after),
        };
        every?;
        Some(SummarySettings {
            after: after?,
            daily: self.daily.unwrap_or(true),
            store_dir,
            templates_dir,
            destinations: Vec::new(),
        })
    }
}
