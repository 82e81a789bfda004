//! `logferry check`: validates the configuration, and looks at what the roles need of this host (`host`), as the users of their
//! units. With `--connect` it also tries every host and port in it (`reach`). Each thing is one item of the `report`.

mod host;
mod port_holder;
mod ports;
mod reach;
mod report;

use std::path::Path;

use logferry_config::{Config, ConfigError};

use self::report::HostCheckReport;
use crate::args::{CheckArgs, CheckedRole};
use crate::configuration;
use crate::output::check_item::{CheckItem, CheckState};
use crate::output::exit::{CommandOutcome, Result};
use crate::roles::role::{Role, load_for};
use crate::service_user::look::INOTIFY;
use crate::{service_user, units};

/// Checks, and prints the findings. An invalid configuration is not a finding but an error with its own exit code.
pub(crate) fn run(file: &Path, options: &CheckArgs) -> Result {
    if let Some(CheckedRole(role)) = options.accepted_by {
        load_for(file, role)?;
        return Ok(CommandOutcome::Fine);
    }
    if let Some(unit) = &options.look_as {
        return service_user::run_child(file, unit);
    }
    let mut report = HostCheckReport::new(options.json);
    let config = match logferry_config::load(file) {
        Ok(config) => config,
        Err(error) => {
            if options.json {
                report.add_all(invalid(&error))?;
                report.finish()?;
            }
            return Err(configuration::failure(error));
        }
    };
    let roles = Role::ALL.into_iter().filter(|role| role.is_in(&config));
    let roles: Vec<_> = roles.map(Role::name).collect();
    let valid = format!("{}: valid, for {}", file.display(), roles.join(", "));
    report.add(CheckItem::ok(CONFIGURATION, valid))?;
    report.add_all(text_items(&config))?;
    report.add_all(files_items(file, &config))?;
    report.add_all(host::disks(&config))?;
    report.add_all(host::ledger(&config))?;
    if options.connect {
        reach::all(&config, file, &mut report)?;
    }
    report.finish()
}

const CONFIGURATION: &str = "configuration";

/// The problems of a configuration that cannot be used.
fn invalid(error: &ConfigError) -> Vec<CheckItem> {
    match error {
        ConfigError::Read { .. } => vec![CheckItem::problem(CONFIGURATION, &error.to_string())],
        ConfigError::Invalid { file, problems } => {
            let named = |line: Option<usize>| match line {
                Some(line) => format!("{CONFIGURATION} {}:{line}", file.display()),
                None => format!("{CONFIGURATION} {}", file.display()),
            };
            let items = problems.iter();
            items
                .map(|problem| CheckItem::problem(named(problem.line), &problem.to_string()))
                .collect()
        }
    }
}

/// What the settings mean that a person may not have meant.
fn text_items(config: &Config) -> Vec<CheckItem> {
    let mut items: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| CheckItem::warning(CONFIGURATION, warning))
        .collect();
    let logs = || config.sender.iter().map(|sender| sender.logs.as_slice());
    items.extend(logs().flat_map(logferry_sender::neighbours).map(|path| {
        let text = format!(
            "{}: is left alone, as rotation does not make such a name; if its lines are wanted, `logferry backfill` ships them",
            path.display()
        );
        CheckItem::warning("sender", &text)
    }));
    items.extend(logs().flat_map(logferry_sender::double_matches).map(|double| {
        let (path, log, also) = (double.path.display(), double.log, double.also);
        let text = format!(
            "{path}: logs `{log}` and `{also}` both find this file; `{log}` ships it, because it stands first, and `{also}` leaves it \
             alone"
        );
        CheckItem::warning("sender", &text)
    }));
    items
}

/// Files, folders and what else of the system a role needs, as its user has them.
fn files_items(file: &Path, config: &Config) -> Vec<CheckItem> {
    let root = Path::new("/");
    let mut items = Vec::new();
    // The relay's certificates and tokens are read as the relay does.
    let files = config
        .relay
        .as_ref()
        .map(logferry_relay::check_files)
        .unwrap_or_default();
    items.extend(
        files
            .warnings
            .iter()
            .map(|warning| CheckItem::warning("relay", warning)),
    );
    items.extend(
        files
            .problems
            .iter()
            .map(|problem| CheckItem::problem("relay", &problem.to_string())),
    );
    let collector = config.collector.iter().flat_map(logferry_collector::check_files);
    items.extend(collector.map(|(source, problem)| CheckItem::problem(format!("source {source}"), &problem)));
    items.extend(units::findings(config, root));
    let looked = service_user::look(file, config, root);
    let wrong = looked.findings.iter();
    items.extend(wrong.map(|finding| CheckItem::problem(finding.about.clone(), &finding.text)));
    for (role, user) in &looked.users {
        let is_of_role = |item: &CheckItem| {
            item.state == CheckState::Problem && item.name.split(", ").any(|name| name == role.name())
        };
        if !items.iter().any(is_of_role) {
            items.push(CheckItem::ok(
                role.name(),
                format!("user {user} may use {}", role.needs()),
            ));
        }
    }
    if !items.iter().any(|item| item.name == INOTIFY) {
        items.extend(host::watches(config));
    }
    items.extend(looked.note.iter().map(|note| CheckItem::warning("user", note)));
    let templates = config
        .monitor
        .iter()
        .filter_map(|monitor| monitor.summary.templates_dir.as_deref());
    items.extend(
        templates.map(|folder| match logferry_monitor::check_templates(folder) {
            Ok(()) => CheckItem::ok("mail templates", format!("{} make a mail", folder.display())),
            Err(mistake) => CheckItem::problem("mail templates", &mistake.to_string()),
        }),
    );
    items
}
