//! The program, run to its end.
#![allow(dead_code, reason = "each test has a copy, and uses a part of it")]

use std::path::Path;
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

/// The exit code, stdout and stderr of a command with this configuration.
pub(crate) fn result_of(config: impl AsRef<Path>, arguments: &[&str]) -> (i32, String, String) {
    let mut command = logferry(&[]);
    // Before the command: what follows `--` is no option.
    command.arg("-c").arg(config.as_ref()).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}
