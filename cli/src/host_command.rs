//! Asks a program of this host, which may hang: a name that does not resolve, a bus that does not answer.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What it printed; `None` if it is not there, or takes longer than `limit`: then it is killed.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Option<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(limit) else {
        let _ = kill(pid, Signal::SIGKILL);
        return None;
    };
    output.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_killed_and_says_nothing() {
        let mut sleep = Command::new("sleep");
        assert!(output_within(sleep.arg("3600"), Duration::from_millis(50)).is_none());
        let mut echo = Command::new("echo");
        let output = output_within(echo.arg("yes"), Duration::from_hours(1)).unwrap();
        assert_eq!(output.stdout, b"yes\n");
        assert!(output_within(&mut Command::new("/nonexistent"), Duration::ZERO).is_none());
    }
}
