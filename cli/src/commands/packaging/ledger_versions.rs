//! `logferry ledger-versions`: the schema that this program knows, and that of the ledger on this host.
//!
//! A package refuses to replace this program by one that cannot read its ledger. The file alone does not tell: its header is
//! old while the newest pages are in the write-ahead log.

use std::path::{Path, PathBuf};

use logferry_ledger::schema_version;

use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::owner;
use crate::roles::role::Role;

/// The data folder of a configuration that cannot be read now.
const DEFAULT_DATA_DIR: &str = "/var/lib/logferry/relay";

/// Prints `known N` and, if there is a ledger, `found N`. Changes nothing.
pub(crate) fn print(file: &Path) -> Result {
    let data_dir = data_dir(file);
    if let Some(data_dir) = &data_dir {
        owner::act_as_owner(&[data_dir])?;
    }
    let found = data_dir
        .as_deref()
        .map(schema_version::found)
        .transpose()?
        .flatten();
    let found = found.map(|found| format!("found {found}\n"));
    console::print(&format!(
        "known {}\n{}",
        schema_version::known(),
        found.unwrap_or_default()
    ))?;
    Ok(CommandOutcome::Fine)
}

/// The folder of the ledger; `None` if the host has none. Any section that names it will do: a mistake in another one, or a variable
/// that only the unit has, says nothing about the ledger.
fn data_dir(file: &Path) -> Option<PathBuf> {
    let mut configs = Role::ALL
        .into_iter()
        .filter_map(|role| logferry_config::load_for(file, role.name()).ok());
    let named = configs.find_map(|config| Some(config.data_dirs().next()?.1.to_owned()));
    // A section that cannot be read may be the one that has it.
    named.or_else(|| {
        logferry_config::load(file)
            .is_err()
            .then(|| DEFAULT_DATA_DIR.into())
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_elsewhere_is_found_whatever_is_wrong_with_other_sections() {
        const RELAY: &str = "relay:\n  data_dir: /srv/spool\n  groups: [{name: a, listen: '127.0.0.1:0'}]\n";
        const FORWARDER: &str = "forwarder:\n  data_dir: /srv/spool\n  destinations: [{name: d, host: h, user: u, directory: d, password: ";
        const SENDER: &str = "sender: {relay: 'http://192.0.2.1:5001', logs: [{path: /x.log}]}\n";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("logferry.yaml");
        let of = |text: String| {
            std::fs::write(&file, text).unwrap();
            data_dir(&file)
        };
        let (spool, usual) = (Some("/srv/spool".into()), Some(DEFAULT_DATA_DIR.into()));
        assert_eq!(data_dir(&file), usual, "there is no configuration");
        assert_eq!(of(format!("{RELAY}{FORWARDER}\"${{NOT_SET_HERE}}\"}}]\n")), spool);
        assert_eq!(of(format!("relay: {{gruops: []}}\n{FORWARDER}p}}]\n")), spool);
        assert_eq!(of(format!("{SENDER}relay: {{gruops: []}}\n")), usual);
        assert_eq!(of(SENDER.to_owned()), None);
    }
}
