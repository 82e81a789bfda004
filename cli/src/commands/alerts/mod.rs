//! `logferry alerts`: incidents, open and past; `silence` mutes a subject.

mod output;
pub(crate) mod silence;

use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_inspection::status::incident_list;

use crate::args::alerts::{AlertsArgs, AlertsCommand};
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// Past incidents that are shown unless `--since` says otherwise.
const SHOWN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Prints the incidents. That there are some is no failure of this command: `status` has an exit code for it.
pub(crate) fn run(file: &Path, options: &AlertsArgs) -> Result {
    if let Some(AlertsCommand::Silence(options)) = &options.command {
        return silence::run(file, options);
    }
    let config = configuration::load(file)?;
    let data_dir = configuration::data_dir(file, &config)?;
    let now = Timestamp::now();
    let since = options
        .since
        .unwrap_or_else(|| now.checked_sub(SHOWN).unwrap_or(Timestamp::MIN));
    let (incidents, silences) = incident_list(&data_dir, since, now)?;
    let text = if options.json {
        serde_json::to_string(&incidents)? + "\n"
    } else {
        output::text(&incidents, &silences, &TimeZone::system(), now)
    };
    console::print(&text)?;
    Ok(CommandOutcome::Fine)
}
