//! The binary: runs the role or command on the command line, and turns its outcome into an exit code. The work is done by the
//! libraries.

mod args;
mod commands;
mod configuration;
#[cfg(feature = "demo")]
mod demo;
mod output;
mod roles;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use logferry_telemetry::Level;

use crate::args::{Args, Command, RunMode};
use crate::commands::{audit, backfill, check, fsck, generate, resend, retry, status, tail, trust};
use crate::output::console;
use crate::output::exit::{self, Failure, Outcome, Result};
use crate::roles::oneshot;
use crate::roles::role::Role;

fn main() -> ExitCode {
    exit::code(run(Args::parse()))
}

fn run(args: Args) -> Result {
    logferry_telemetry::init(level(&args.command)).map_err(Failure::configuration)?;
    let file = args.config.as_path();
    match args.command {
        #[cfg(feature = "demo")]
        Command::Demo(options) => demo::run(&options),
        Command::Run => roles::run_all(file),
        Command::Sender => roles::run_one(file, Role::Sender),
        Command::Relay => roles::run_one(file, Role::Relay),
        Command::Forwarder => roles::run_one(file, Role::Forwarder),
        Command::Monitor(RunMode { once: false }) => roles::run_one(file, Role::Monitor),
        Command::Monitor(RunMode { once: true }) => oneshot::monitor(file),
        Command::Housekeeper(RunMode { once: false }) => roles::run_one(file, Role::Housekeeper),
        Command::Housekeeper(RunMode { once: true }) => oneshot::housekeeper(file),
        Command::Check(options) => check::run(file, &options),
        Command::Status(options) => status::run(file, &options),
        Command::Audit(options) => audit::run(file, &options),
        Command::Fsck(options) => fsck::run(file, &options),
        Command::Tail(options) => tail::run(file, &options),
        Command::Retry(options) => retry::run(file, &options),
        Command::Trust(options) => trust::run(file, &options),
        Command::Resend(options) => resend::run(file, &options),
        Command::Backfill(options) => backfill::run(file, options),
        Command::Generate(options) => generate::run(&options),
        Command::TestMail => oneshot::test_mail(file),
        Command::Completions { shell } => completions(shell),
    }
}

/// Roles log their work. The other commands print their results on stdout, and log only warnings.
fn level(command: &Command) -> Level {
    match command {
        Command::Run
        | Command::Sender
        | Command::Relay
        | Command::Forwarder
        | Command::Monitor(_)
        | Command::Housekeeper(_) => Level::INFO,
        // A warning, such as that the relay is not up yet, would break its table.
        #[cfg(feature = "demo")]
        Command::Demo(_) => Level::ERROR,
        // It prints its own progress, and why it waits.
        Command::Backfill(_) => Level::ERROR,
        _ => Level::WARN,
    }
}

fn completions(shell: clap_complete::Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "logferry", &mut script);
    console::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
