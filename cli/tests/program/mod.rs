//! The program, run to its end.

use std::process::{Command, Output, Stdio};

/// The program with these arguments, and nothing of this user's environment.
pub(crate) fn logferry(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command
        .args(arguments)
        .env_remove("LOGFERRY_CONFIG")
        .env_remove("LOGFERRY_LOG")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs it.
pub(crate) fn output(arguments: &[&str]) -> Output {
    logferry(arguments).output().unwrap()
}

/// The exit code and the text on stderr.
pub(crate) fn error_of(arguments: &[&str]) -> (i32, String) {
    let output = output(arguments);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}
