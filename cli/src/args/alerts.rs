//! The options of `alerts` and `silence`.

use std::time::Duration;

use clap::{Args as Options, Subcommand};
use jiff::Timestamp;

use super::time;

/// Characters of a reason.
const WHY_MAX: usize = 200;

#[derive(Debug, Options)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AlertsArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Past incidents that ended at this time or later: 2h (ago), 08:00, 2026-11-21, or RFC 3339 [default: seven days ago]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    #[command(subcommand)]
    pub(crate) command: Option<AlertsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Tell nobody about a subject for a while
    Silence(SilenceArgs),
}

#[derive(Debug, Options)]
pub(crate) struct SilenceArgs {
    /// A source, destination, group or role, or the subject of an incident; its parts are silenced with it
    pub(crate) subject: String,
    /// For how long: 2h, 3d; 0s ends a silence
    #[arg(long = "for", value_name = "TIME", value_parser = logferry_config::units::parse_duration)]
    pub(crate) length: Duration,
    /// Why, for those who wonder
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) why: String,
}

/// A reason that fits a mail.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > WHY_MAX || text.contains(char::is_control) {
        return Err(format!("write one line of at most {WHY_MAX} characters"));
    }
    Ok(text.to_owned())
}
