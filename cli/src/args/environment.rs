//! The command line of this process, with what the environment adds to it.

use clap::builder::{OsStr, Resettable};
use clap::{Command, CommandFactory, FromArgMatches};

use super::{CONFIG_VARIABLE, CliArgs};

impl CliArgs {
    /// The command line. Ends the process if it is wrong, or asks for help.
    pub(crate) fn of_process() -> Self {
        let is_empty = std::env::var_os(CONFIG_VARIABLE).is_some_and(|value| value.is_empty());
        let matches = command(is_empty).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// A variable that is empty counts as one that is not set: an `EnvironmentFile` or a script that has no value for it leaves it so.
fn command(is_variable_empty: bool) -> Command {
    let command = CliArgs::command();
    if !is_variable_empty {
        return command;
    }
    command.mut_arg("config", |arg| arg.env(Resettable::<OsStr>::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::DEFAULT_CONFIG;

    #[test]
    fn empty_variable_of_the_configuration_counts_as_not_set() {
        let command = command(true);
        let config = command.get_arguments().find(|arg| arg.get_id() == "config");
        assert_eq!(config.unwrap().get_env(), None);
        let matches = command.get_matches_from(["logferry", "status"]);
        let args = CliArgs::from_arg_matches(&matches).unwrap();
        assert_eq!(args.config.to_str(), Some(DEFAULT_CONFIG));
    }
}
