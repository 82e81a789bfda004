//! How the process ends: the exit codes of the contract, and the one place where errors are printed.

use std::io::{self, Write};
use std::process::ExitCode;

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Fine,
    /// The command looked, and something is wrong; it has said what.
    Wrong,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration must be changed first.
    Configuration(anyhow::Error),
    /// It was asked for rightly, and did not work.
    CouldNot(anyhow::Error),
}

impl Failure {
    /// For `map_err`: the configuration is to blame.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self::Configuration(error.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::CouldNot(error.into())
    }
}

/// What a command returns to `main`.
pub(crate) type Result<T = Outcome> = std::result::Result<T, Failure>;

/// The exit code of a process that was told to stop and did not.
pub(crate) const COULD_NOT: u8 = 3;

/// Prints what went wrong, the whole chain of causes, and gives the exit code.
pub(crate) fn code(result: Result) -> ExitCode {
    let (code, error) = match result {
        Ok(Outcome::Fine) => return ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => return ExitCode::from(1),
        Err(Failure::Configuration(error)) => (2, error),
        Err(Failure::CouldNot(error)) => (COULD_NOT, error),
    };
    complain(&format!("{error:#}"));
    ExitCode::from(code)
}

/// Prints a message for people to stderr.
pub(crate) fn complain(message: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr(), "logferry: {message}");
}

/// Prints a command's result to stdout. A reader that has gone away has seen enough.
pub(crate) fn print(text: &str) -> io::Result<()> {
    print_while_read(text).map(drop)
}

/// Prints to stdout; false once nobody reads it any more.
pub(crate) fn print_while_read(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
