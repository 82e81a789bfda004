//! `logferry init --templates DIR`: the built-in templates of the mails, to be changed.

use std::path::Path;

use super::written_file::{require_free, write};
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// Writes each template. None is written if one is there already, unless `force`.
pub(super) fn write_all(folder: &Path, force: bool) -> Result {
    let templates = logferry_monitor::built_in_templates();
    for (name, _) in templates {
        require_free(&folder.join(name), force)?;
    }
    for (name, text) in templates {
        let file = folder.join(name);
        let old = write(&file, text)?;
        let old = old.map_or_else(String::new, |old| format!("; the old one is {}", old.display()));
        console::print(&format!("{}{old}\n", file.display()))?;
    }
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    console::print(&format!(
        "\nNext: change them, set `templates_dir: {}` in the section monitor, and run `logferry check`, which tells each mistake with \
         file and line. A template that is deleted is the built-in one. docs/monitor/mails.md has the names that they can show.\n",
        folder.display()
    ))?;
    Ok(CommandOutcome::Fine)
}
