//! `logferry ledger-versions`: the schema that this program knows, and that of the ledger on this host.
//!
//! A package refuses to replace this program by one that cannot read its ledger. The file alone does not tell: its header is
//! old while the newest pages are in the write-ahead log.

use std::path::Path;

use logferry_ledger::schema_version;

use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::{configuration, owner};

/// The data folder of a configuration that cannot be read now.
const DEFAULT_DATA_DIR: &str = "/var/lib/logferry/relay";

/// Prints `known N` and, if there is a ledger, `found N`. Changes nothing.
pub(crate) fn print(file: &Path) -> Result {
    let config = configuration::load(file).ok();
    let data_dir = config
        .as_ref()
        .map_or(Some(Path::new(DEFAULT_DATA_DIR)), |config| {
            config.data_dirs().next().map(|(_, data_dir)| data_dir)
        });
    if let Some(data_dir) = data_dir {
        owner::act_as_owner(&[data_dir])?;
    }
    let found = data_dir.map(schema_version::found).transpose()?.flatten();
    let found = found.map(|found| format!("found {found}\n"));
    console::print(&format!(
        "known {}\n{}",
        schema_version::known(),
        found.unwrap_or_default()
    ))?;
    Ok(CommandOutcome::Fine)
}
