//! The `housekeeper` section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_time_windows::duration_setting;
use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText};
use crate::yaml::units::parse_percent;

/// The audit and `resend` look back some days, so the ledger keeps at least these.
const KEEP_LEDGER_MIN: Duration = Duration::from_hours(7 * 24);

/// When delivered batches are compressed and deleted, and how long the ledger remembers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HousekeeperSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// Age from which a delivered batch is compressed.
    pub compress_after: Duration,
    /// Age from which a delivered batch is deleted.
    pub delete_after: Duration,
    /// Schedule of the daemon: cron syntax with six fields, seconds first.
    pub schedule: String,
    /// From which filling of the disk on more is done.
    pub disk: DiskThresholds,
    /// Age from which the rows of an expired batch leave the ledger.
    pub keep_ledger: Duration,
}

/// Fillings of the disk of `data_dir`, in percent of what an ordinary user can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskThresholds {
    /// From here on each run warns.
    pub warn: u8,
    /// From here on delivered batches are deleted before their age.
    pub early_delete: u8,
}

impl Default for DiskThresholds {
    fn default() -> Self {
        Self {
            warn: 80,
            early_delete: 90,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawHousekeeper {
    data_dir: Option<String>,
    compress_after: RawText,
    delete_after: RawText,
    schedule: RawText,
    disk: RawDiskThresholds,
    keep_ledger: RawText,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawDiskThresholds {
    warn: RawText,
    early_delete: RawText,
}

impl RawDiskThresholds {
    fn resolve(&self, at: &ConfigField<'_>) -> Option<DiskThresholds> {
        let warn = at.key("warn").check(self.warn.or("80%"), parse_percent);
        let early_at = at.key("early_delete");
        let early = early_at.check(self.early_delete.or("90%"), parse_percent);
        let thresholds = DiskThresholds {
            warn: warn?,
            early_delete: early?,
        };
        if thresholds.early_delete < thresholds.warn {
            early_at.report(format!(
                "is below warn ({}%), so batches would go before anybody is warned; write a higher percentage here, or a lower \
                 warn",
                thresholds.warn
            ));
        }
        Some(thresholds)
    }
}

impl RawHousekeeper {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<HousekeeperSettings> {
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
        let compress_after = at.key("compress_after").time(self.compress_after.or("3h"));
        let delete_after = at.key("delete_after").time(self.delete_after.or("4h"));
        if let (Some(compress), Some(delete)) = (compress_after, delete_after)
            && delete < compress
        {
            at.key("delete_after").report(format!(
                "is below compress_after ({}), so no batch would ever be compressed; write a longer time here, or a shorter \
                 compress_after",
                duration_setting(compress)
            ));
        }
        let schedule_at = at.key("schedule");
        let schedule = schedule_at.check(self.schedule.or("0 */10 * * * *"), schedule);
        let disk = self.disk.resolve(&at.key("disk"));
        let keep_at = at.key("keep_ledger");
        let keep_ledger = match keep_at.time(self.keep_ledger.or("90d")) {
            Some(keep) if keep < KEEP_LEDGER_MIN => keep_at
                .refuse("is below 7d; the audit and the mails look back some days, so write at least 7d"),
            keep => keep,
        };
        Some(HousekeeperSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            compress_after: compress_after?,
            delete_after: delete_after?,
            schedule: schedule?,
            disk: disk?,
            keep_ledger: keep_ledger?,
        })
    }
}

/// Checks the number of fields: a classic crontab line has five. The scheduler checks their content.
fn schedule(text: &str) -> Result<String, String> {
    match text.split_whitespace().count() {
        6 => Ok(text.to_owned()),
        fields => Err(format!(
            "`{text}` has {fields} fields; write six, seconds first, such as `0 */10 * * * *` for every ten minutes"
        )),
    }
}
