//! The binary: runs the role or command on the command line, and turns its outcome into an exit code. The work is done by the
//! libraries.

mod args;
mod collector_host;
mod commands;
mod configuration;
#[cfg(feature = "demo")]
mod demo;
mod host_command;
mod listening;
mod output;
mod owner;
mod role_process;
mod roles;
mod sender_host;
mod service_user;
mod units;

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use logferry_telemetry::Level;
use nix::sys::stat::{Mode, umask};

use crate::args::console::ConsoleArgs;
use crate::args::{CliArgs, CliCommand, HousekeeperArgs, RunMode};
use crate::commands::{
    accounts, adopt, alerts, audit, backfill, backup, check, fsck, generate, init, numbers, packaging,
    resend, retry, rules, search, simulate, status, summary, tail, trust,
};
use crate::output::console;
use crate::output::exit::{self, CommandOutcome, Failure, Result};
use crate::roles::oneshot;
use crate::roles::role::Role;

fn main() -> ExitCode {
    // As in the units: other users cannot read the spool, whoever starts a command.
    umask(Mode::from_bits_truncate(0o027));
    let args = CliArgs::of_process();
    match args.command {
        Some(command) => exit::code(run(&args.config, command)),
        None => exit::bad_usage(FIRST_MINUTE),
    }
}

/// What somebody sees who starts the program to see what it is.
const FIRST_MINUTE: &str = "\
logferry ships log lines to SFTP servers: every line exactly once, with proof.

  logferry demo               the whole pipeline on this machine for 30 seconds; needs no root
  logferry init sender        set up a host whose logs are to be shipped
  logferry init relay-host    set up the host that collects and delivers them

`logferry --help` lists all commands.
";

fn run(file: &Path, command: CliCommand) -> Result {
    logferry_telemetry::init(level(&command)).map_err(Failure::configuration)?;
    let run_roles = |only| roles::run(file, only, service_user::own_findings);
    match command {
        #[cfg(feature = "demo")]
        CliCommand::Demo(options) => demo::run(&options),
        CliCommand::Run => run_roles(None),
        CliCommand::Sender => run_roles(Some(Role::Sender)),
        CliCommand::Relay => run_roles(Some(Role::Relay)),
        CliCommand::Forwarder => run_roles(Some(Role::Forwarder)),
        CliCommand::Monitor(RunMode { once: false }) => run_roles(Some(Role::Monitor)),
        CliCommand::Monitor(RunMode { once: true }) => oneshot::monitor(file),
        CliCommand::Housekeeper(HousekeeperArgs { dry_run: true, .. }) => oneshot::plan_housekeeping(file),
        CliCommand::Housekeeper(HousekeeperArgs {
            shrink_ledger: true, ..
        }) => oneshot::shrink_ledger(file),
        CliCommand::Housekeeper(HousekeeperArgs { once: true, .. }) => oneshot::housekeeper(file),
        CliCommand::Housekeeper(_) => run_roles(Some(Role::Housekeeper)),
        CliCommand::Indexer => run_roles(Some(Role::Indexer)),
        CliCommand::Init(options) => init::run(file, &options),
        CliCommand::Collector => run_roles(Some(Role::Collector)),
        CliCommand::Console(ConsoleArgs { command: None }) => run_roles(Some(Role::Console)),
        CliCommand::Console(ConsoleArgs {
            command: Some(command),
        }) => accounts::run(file, command),
        CliCommand::Check(options) => check::run(file, &options),
        CliCommand::Status(options) => status::run(file, &options),
        CliCommand::Alerts(options) => alerts::run(file, &options),
        CliCommand::Silence(options) => alerts::silence::run(file, &options),
        CliCommand::Audit(options) => audit::run(file, &options),
        CliCommand::Summary(options) => summary::run(file, &options),
        CliCommand::Fsck(options) => fsck::run(file, &options),
        CliCommand::Tail(options) => tail::run(file, &options),
        CliCommand::Search(options) => search::run(file, &options),
        CliCommand::Numbers(options) => numbers::run(file, &options),
        CliCommand::Retry { batches } => retry::run(file, &batches),
        CliCommand::Trust(options) => trust::run(file, &options),
        CliCommand::Resend(options) => resend::run(file, &options),
        CliCommand::Backfill(options) => backfill::run(file, options),
        CliCommand::Adopt(options) => adopt::run(file, &options),
        CliCommand::Backup(options) => backup::run(file, &options),
        CliCommand::Restore(options) => backup::restore(file, &options),
        CliCommand::Generate(options) => generate::run(options),
        CliCommand::Simulate(options) => simulate::run(options),
        CliCommand::Rules(options) => rules::run(file, &options),
        CliCommand::TestMail { channel } => oneshot::test_mail(file, channel.as_deref()),
        CliCommand::Completions { shell } => completions(shell),
        CliCommand::ManPages { dir } => packaging::man_pages(&dir),
        CliCommand::LedgerVersions => packaging::ledger_versions(file),
    }
}

/// Roles log their work. The other commands print their results on stdout, and log only warnings.
fn level(command: &CliCommand) -> Level {
    match command {
        CliCommand::Run
        | CliCommand::Sender
        | CliCommand::Relay
        | CliCommand::Forwarder
        | CliCommand::Monitor(_)
        | CliCommand::Housekeeper(_)
        | CliCommand::Indexer
        | CliCommand::Collector
        | CliCommand::Console(ConsoleArgs { command: None }) => Level::INFO,
        // A warning, such as that the relay is not up yet, would break its table.
        #[cfg(feature = "demo")]
        CliCommand::Demo(_) => Level::ERROR,
        // It prints its own progress, and why it waits.
        CliCommand::Backfill(_) => Level::ERROR,
        _ => Level::WARN,
    }
}

fn completions(shell: clap_complete::Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CliArgs::command(), "logferry", &mut script);
    console::print(&String::from_utf8_lossy(&script))?;
    Ok(CommandOutcome::Fine)
}
