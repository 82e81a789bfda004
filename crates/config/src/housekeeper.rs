//! The `housekeeper` section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_time_windows::duration_setting;
use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText};

/// When delivered batches are compressed and deleted.
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
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawHousekeeper {
    data_dir: Option<String>,
    compress_after: RawText,
    delete_after: RawText,
    schedule: RawText,
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
        Some(HousekeeperSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            compress_after: compress_after?,
            delete_after: delete_after?,
            schedule: schedule?,
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
