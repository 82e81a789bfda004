//! The options of `console`.

use std::time::Duration;

use clap::{Args as Options, Subcommand};
use logferry_console::AccessScope;

#[derive(Debug, Options)]
pub(crate) struct ConsoleArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ConsoleCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsoleCommand {
    /// Who may log in
    #[command(subcommand)]
    User(UserCommand),
    /// Which programs may use the API
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user, or give one another password, which ends its sessions; the password is asked for, or the first line of stdin
    Add {
        /// The name at the login
        name: String,
        /// read: see everything; act: also pin, ticket, hide, silence, resend and retry
        #[arg(long, default_value = "act")]
        scope: AccessScope,
    },
    /// List the users
    List {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Remove a user; its sessions end at once
    Remove {
        /// The name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Add a token and print it, once
    Add {
        /// A name for it, for the list and the trail of actions
        name: String,
        /// read: see everything; act: also pin, ticket, hide, silence, resend and retry
        #[arg(long)]
        scope: AccessScope,
        /// How long it counts: 90d, 12h [default: until it is removed]
        #[arg(long, value_name = "TIME", value_parser = logferry_config::units::parse_duration)]
        expires: Option<Duration>,
    },
    /// List the tokens
    List {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Remove a token; it counts no more at once
    Remove {
        /// The name
        name: String,
    },
}
