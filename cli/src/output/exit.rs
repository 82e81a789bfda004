//! Exit codes, and the outcomes of a command that lead to them.

use std::process::ExitCode;

use super::console;

/// The findings of a command that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandOutcome {
    /// Nothing is wrong.
    Fine,
    /// The command found something wrong, and has printed it.
    ProblemFound,
}

impl CommandOutcome {
    pub(crate) fn fine_if(is_fine: bool) -> Self {
        if is_fine { Self::Fine } else { Self::ProblemFound }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What a person has set must be changed first: the command line, the configuration, or the owners of its folders.
    Configuration(anyhow::Error),
    /// The work failed.
    Work(anyhow::Error),
}

impl Failure {
    /// For `map_err`: what a person has set is the cause.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self::Configuration(error.into())
    }

    /// The same failure, after what could not be done.
    pub(crate) fn context(self, what: String) -> Self {
        match self {
            Self::Configuration(error) => Self::Configuration(error.context(what)),
            Self::Work(error) => Self::Work(error.context(what)),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

/// The result of a command.
pub(crate) type Result<T = CommandOutcome> = std::result::Result<T, Failure>;

/// The exit code of a command whose work failed, and of a role that did not stop in time.
pub(crate) const WORK_FAILED: u8 = 3;

/// Prints what can be asked for, to somebody who has asked for nothing.
pub(crate) fn bad_usage(text: &str) -> ExitCode {
    console::print_hint(text);
    ExitCode::from(2)
}

/// Prints the error with all its causes, and returns the exit code.
pub(crate) fn code(result: Result) -> ExitCode {
    let (code, error) = match result {
        Ok(CommandOutcome::Fine) => return ExitCode::SUCCESS,
        Ok(CommandOutcome::ProblemFound) => return ExitCode::from(1),
        Err(Failure::Configuration(error)) => (2, error),
        Err(Failure::Work(error)) => (WORK_FAILED, error),
    };
    console::print_error(&format!("{error:#}"));
    ExitCode::from(code)
}
