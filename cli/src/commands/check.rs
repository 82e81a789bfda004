//! `logferry check`: validates the configuration. With `--connect` it also tries every host and port in it (`reach`).

mod port_holder;
mod ports;
mod reach;

use std::path::Path;

use crate::args::{CheckArgs, CheckedRole};
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::roles::role::{Role, load_for};
use crate::{service_user, units};

/// Checks, and prints the findings. An invalid configuration is not a finding but an error with its own exit code.
pub(crate) fn run(file: &Path, options: &CheckArgs) -> Result {
    if let Some(role) = options.accepted_by {
        load_for(file, role.of_one())?;
        return Ok(CommandOutcome::Fine);
    }
    if let Some(unit) = &options.look_as {
        return service_user::run_child(file, unit);
    }
    let config = configuration::load(file)?;
    let roles = Role::ALL.into_iter().filter(|role| role.is_in(&config));
    let roles: Vec<_> = roles.map(Role::name).collect();
    console::print(&format!("{}: valid, for {}\n", file.display(), roles.join(", ")))?;
    // The relay's certificates and tokens are read as the relay does.
    let files = config.relay.as_ref().map(logferry_relay::check_files);
    let files = files.unwrap_or_default();
    for warning in config.warnings.iter().chain(&files.warnings) {
        console::print(&format!("warning: {warning}\n"))?;
    }
    for neighbour in config
        .sender
        .iter()
        .flat_map(|sender| logferry_sender::neighbours(&sender.logs))
    {
        let path = neighbour.display();
        console::print(&format!(
            "{path}: is left alone, as rotation does not make such a name; if its lines are wanted, `logferry backfill` ships them\n"
        ))?;
    }
    for double in config
        .sender
        .iter()
        .flat_map(|sender| logferry_sender::double_matches(&sender.logs))
    {
        let (path, log, also) = (double.path.display(), double.log, double.also);
        console::print(&format!(
            "warning: {path}: logs `{log}` and `{also}` both find this file; `{log}` ships it, because it stands first, and \
             `{also}` leaves it alone\n"
        ))?;
    }
    let units = units::findings(&config, Path::new("/"));
    let problems = files.problems.iter().map(ToString::to_string);
    let looked = service_user::look(file, &config, Path::new("/"));
    for problem in problems.chain(units.iter().chain(&looked.findings).cloned()) {
        console::print(&format!("{problem}\n"))?;
    }
    if let Some(note) = &looked.note {
        console::print(&format!("{note}\n"))?;
    }
    let templates = config
        .monitor
        .iter()
        .filter_map(|monitor| monitor.summary.templates_dir.as_deref());
    let templates: Vec<_> = templates
        .filter_map(|folder| logferry_monitor::check_templates(folder).err())
        .collect();
    for mistake in &templates {
        console::print(&format!("{mistake}\n"))?;
    }
    let is_all_reached = !options.connect || reach::all(&config, file)?;
    Ok(CommandOutcome::fine_if(
        files.problems.is_empty()
            && units.is_empty()
            && looked.findings.is_empty()
            && templates.is_empty()
            && is_all_reached,
    ))
}

impl CheckedRole {
    /// The role; `None`: all of them.
    fn of_one(self) -> Option<Role> {
        match self {
            Self::Run => None,
            Self::Sender => Some(Role::Sender),
            Self::Relay => Some(Role::Relay),
            Self::Forwarder => Some(Role::Forwarder),
            Self::Monitor => Some(Role::Monitor),
            Self::Housekeeper => Some(Role::Housekeeper),
            Self::Indexer => Some(Role::Indexer),
            Self::Collector => Some(Role::Collector),
        }
    }
}
