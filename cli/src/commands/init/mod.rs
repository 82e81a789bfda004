//! `logferry init`: a configuration to start from, made of a few answers and of what this host is like.
//!
//! `host` and `nginx_conf` look at the host, `dialog` asks; `answers` puts both together, `document` and `next_steps` turn the
//! answers into text, all three without touching anything; `written_file` and `ssh_access` write.
//!
//! Invariant: nothing that is there is overwritten without `--force`, and then it is kept. What is written passes `check`: a text that
//! does not is refused before it is written.

mod answers;
mod dialog;
mod document;
mod host;
mod mail_templates;
mod next_steps;
mod nginx_conf;
mod ssh_access;
mod written_file;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use logferry_config::{Config, ConfigError};

use self::answers::{DropLogin, InitAnswers};
use self::dialog::Dialog;
use self::host::HostFacts;
use self::next_steps::HostProgress;
use crate::args::CheckArgs;
use crate::args::init::InitArgs;
use crate::commands::check;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::roles::role::Role;
use crate::units;

/// Writes the configuration. What `check --connect` then finds is printed and is no failure: the file is right, the world may follow.
pub(crate) fn run(file: &Path, options: &InitArgs) -> Result {
    if let Some(folder) = &options.templates {
        mail_templates::write_all(folder, options.force)?;
        if options.roles.is_empty() {
            return Ok(CommandOutcome::Fine);
        }
    }
    let file = &std::path::absolute(file).context("the path of the configuration")?;
    written_file::require_free(file, options.force)?;
    let mut roles: BTreeSet<Role> = options.roles.iter().flat_map(|role| role.roles()).collect();
    let facts = HostFacts::look();
    let is_somebody_there = !options.yes && io::stdin().is_terminal();
    let answers = ask(file, options, &roles, &facts, is_somebody_there)?;
    if !answers.collector.is_empty() {
        roles.insert(Role::Collector);
    }
    let text = document::document(file, &answers);
    let config = logferry_config::parse(&text, file, &|name| std::env::var(name).ok())
        .map_err(|error| wrong(&error))?;

    let old = written_file::write(file, &text)?;
    console::print(&written(file, &roles, &answers, &facts))?;
    if let Some(old) = old {
        console::print(&format!("the old one is {}\n", old.display()))?;
    }
    let (public_key, is_drop_trusted) = prepare_drop(&config, &answers, is_somebody_there)?;
    console::print("\nlogferry check --connect:\n")?;
    check::run(file, &CheckArgs::with_connections())?;
    let address = facts
        .address
        .map_or_else(|| facts.name.clone(), |address| address.to_string());
    let progress = HostProgress {
        has_units: !units::meant(&config, Path::new("/")).is_empty(),
        is_drop_trusted,
        public_key: public_key.as_deref(),
        address: &address,
    };
    console::print(&next_steps::next_steps(file, &roles, &answers, &progress))?;
    Ok(CommandOutcome::Fine)
}

/// All answers, or the error that names the options for those that are missing.
fn ask(
    file: &Path,
    options: &InitArgs,
    roles: &BTreeSet<Role>,
    facts: &HostFacts,
    is_somebody_there: bool,
) -> Result<InitAnswers> {
    let mut input = io::stdin().lock();
    let mut show = |text: &str| {
        let mut stderr = io::stderr();
        stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush())
    };
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut dialog = Dialog::new(if is_somebody_there { Some(&mut input) } else { None }, &mut show);
    match answers::collect(options, roles, facts, folder, &mut dialog)? {
        Some(answers) => Ok(answers),
        None => Err(Failure::Configuration(anyhow!(
            "nothing was written, as this has no default on this host:\n  {}",
            dialog.into_missing().join("\n  ")
        ))),
    }
}

/// The error for answers that make no valid configuration: each problem by its setting, as there is no file with lines yet.
fn wrong(error: &ConfigError) -> Failure {
    let ConfigError::Invalid { problems, .. } = error else {
        return Failure::Configuration(anyhow!("{error}"));
    };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Failure::Configuration(anyhow!(
        "nothing was written, as an answer cannot be used:\n  {}",
        problems.join("\n  ")
    ))
}

/// What was written, and what was found out for it.
fn written(file: &Path, roles: &BTreeSet<Role>, answers: &InitAnswers, facts: &HostFacts) -> String {
    let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let mut text = format!("wrote {}, for {}\n", file.display(), roles.join(", "));
    if let Some(sender) = &answers.sender {
        let is_found = |path: &str| facts.logs.iter().any(|log| log.path == path);
        for log in &sender.logs {
            let from = if is_found(&log.path) {
                format!(", found {}", facts.logs_from)
            } else {
                String::new()
            };
            let format = if log.format.is_some() {
                ", with a log_format of its own"
            } else {
                ""
            };
            let _ = writeln!(text, "  log {}: {}{from}{format}", log.name, log.path);
        }
    }
    text
}

/// Makes the forwarder's key and its file of known keys, and shows the server's key. The public half of the former, and whether the
/// latter is trusted.
fn prepare_drop(
    config: &Config,
    answers: &InitAnswers,
    is_somebody_there: bool,
) -> Result<(Option<String>, bool)> {
    let destination = config
        .forwarder
        .as_ref()
        .and_then(|forwarder| forwarder.destinations.first());
    let (Some(destination), Some(forwarder)) = (destination, &answers.forwarder) else {
        return Ok((None, true));
    };
    let mut public_key = None;
    if let DropLogin::Key(key) = &forwarder.login {
        match ssh_access::public_key(key) {
            Ok(line) => public_key = Some(line),
            Err(problem) => console::print(&format!("{problem}\n"))?,
        }
    }
    ssh_access::make_known_hosts(destination)?;
    let is_trusted = ssh_access::offer_host_key(destination, is_somebody_there)?;
    Ok((public_key, is_trusted))
}
