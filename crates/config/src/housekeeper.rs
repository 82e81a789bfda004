//! The `housekeeper` section.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::yaml::field::ConfigField;

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

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawHousekeeper {
    data_dir: Option<String>,
    compress_after: String,
    delete_after: String,
    schedule: String,
}

impl Default for RawHousekeeper {
    fn default() -> Self {
        Self {
            data_dir: None,
            compress_after: "3h".into(),
            delete_after: "4h".into(),
            schedule: "0 */10 * * * *".into(),
        }
    }
}

impl RawHousekeeper {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<HousekeeperSettings> {
        let data_dir = at
            .key("data_dir")
            .optional(self.data_dir.as_deref(), ConfigField::path);
        let compress_after = at.key("compress_after").time(&self.compress_after);
        let delete_after = at.key("delete_after").time(&self.delete_after);
        let schedule = at.key("schedule").check(&self.schedule, schedule);
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
