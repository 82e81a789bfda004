//! Problems of a configuration, worded for the person who corrects the file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One problem of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Line of the file, from 1; `None` if the problem has no line.
    pub line: Option<usize>,
    /// The setting, such as `relay.groups[1].listen`; empty for the whole file.
    pub key: String,
    /// The problem, and a correct value.
    pub message: String,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {}", file.display(), unreadable(source))]
    Read {
        /// The configuration file.
        file: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The file was read. These are all its problems, one a line.
    #[error("{}", listing(file, problems))]
    Invalid {
        /// The configuration file.
        file: PathBuf,
        /// The problems, in the order of the file's sections.
        problems: Vec<ConfigProblem>,
    },
}

/// Why a configuration was not read, and what to do.
fn unreadable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no configuration; `logferry init sender` (or `relay-host`) writes one there, `-c FILE` names another one"
        }
        io::ErrorKind::IsADirectory => "is a folder; name the configuration in it with `-c FILE`",
        io::ErrorKind::InvalidData => "is not a text in UTF-8; write it anew as one",
        _ => "the configuration cannot be read; check the path and its permissions",
    }
}

/// Problems as `FILE:LINE: key: message`, one a line.
fn listing(file: &Path, problems: &[ConfigProblem]) -> String {
    let file = file.display();
    let lines = problems.iter().map(|problem| match problem.line {
        Some(line) => format!("{file}:{line}: {problem}"),
        None => format!("{file}: {problem}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
