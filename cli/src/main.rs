//! The one binary: arguments lead to a role or a command, its outcome to an exit code. All work is in the libraries.

mod args;
mod audit;
mod backfill;
mod check;
mod configuration;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod fsck;
mod generate;
mod once;
mod read_back;
mod resend;
mod retry;
mod roles;
mod sender;
mod signals;
mod status;
mod supervisor;
mod table;
mod tail;
mod trust;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use logferry_telemetry::Level;

use crate::args::{Args, Command, Round};
use crate::exit::{Failure, Outcome, Result};
use crate::roles::Role;

fn main() -> ExitCode {
    exit::code(run(Args::parse()))
}

fn run(args: Args) -> Result {
    logferry_telemetry::init(level(&args.command)).map_err(Failure::configuration)?;
    let file = args.config.as_path();
    match args.command {
        #[cfg(feature = "demo")]
        Command::Demo(options) => demo::run(&options),
        Command::Run => roles::all(file),
        Command::Sender => roles::one(file, Role::Sender),
        Command::Relay => roles::one(file, Role::Relay),
        Command::Forwarder => roles::one(file, Role::Forwarder),
        Command::Monitor(Round { once: false }) => roles::one(file, Role::Monitor),
        Command::Monitor(Round { once: true }) => once::monitor(file),
        Command::Housekeeper(Round { once: false }) => roles::one(file, Role::Housekeeper),
        Command::Housekeeper(Round { once: true }) => once::housekeeper(file),
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
        Command::TestMail => once::test_mail(file),
        Command::Completions { shell } => completions(shell),
    }
}

/// Roles tell what they do; the others answer on stdout and log only what is amiss.
fn level(command: &Command) -> Level {
    match command {
        Command::Run
        | Command::Sender
        | Command::Relay
        | Command::Forwarder
        | Command::Monitor(_)
        | Command::Housekeeper(_) => Level::INFO,
        // Its table is the report; a warning now and then (the relay is not up yet) would tear it apart.
        #[cfg(feature = "demo")]
        Command::Demo(_) => Level::ERROR,
        // It says itself what it waits for.
        Command::Backfill(_) => Level::ERROR,
        _ => Level::WARN,
    }
}

fn completions(shell: clap_complete::Shell) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "logferry", &mut script);
    exit::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Fine)
}
