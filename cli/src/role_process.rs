//! Whether a role of this host runs, by the account that it writes into its state folder.

use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The name of this program's processes.
const PROGRAM: &str = "logferry";

/// A role writes every ten seconds. If it has not for so long, it hangs, or cannot write.
const ACCOUNT_LIFETIME: Duration = Duration::from_secs(40);

/// Whether a role of this host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleProcess {
    Running,
    Stopped,
    /// It runs, but its account is old, or it has never written one.
    Unknown,
}

/// What an account says of the process that wrote it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessAccount {
    pub(crate) pid: u32,
    pub(crate) is_stopped: bool,
    /// How long ago it was written.
    pub(crate) age: Duration,
}

impl RoleProcess {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn of(account: Option<ProcessAccount>, is_alive: impl Fn(u32) -> bool) -> Self {
        let Some(ProcessAccount { pid, is_stopped, age }) = account else {
            return Self::Unknown;
        };
        match (is_stopped || !is_alive(pid), age) {
            (true, _) => Self::Stopped,
            (false, age) if age <= ACCOUNT_LIFETIME => Self::Running,
            (false, _) => Self::Unknown,
        }
    }
}

/// Whether this process runs this program. After the boot of the host another program may have the number.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(number) = i32::try_from(pid) else {
        return false;
    };
    // Another user's process may not be signalled, but it is there.
    if matches!(kill(Pid::from_raw(number), None), Err(Errno::ESRCH)) {
        return false;
    }
    let command = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm"));
    // Who hides processes from others lets nobody judge. A program that was renamed has the name of this one.
    command(&pid.to_string()).map_or(true, |name| {
        name.trim_end() == PROGRAM || command("self").is_ok_and(|own| own == name)
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn number_of_a_dead_role_that_another_program_has_now_is_not_the_role() {
        assert!(is_alive(std::process::id()));
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let is_other_alive = is_alive(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!is_other_alive);
        assert!(!is_alive(other.id()), "it has ended");
    }
}
