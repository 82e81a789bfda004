//! Whether a role of this host runs, by the account that it writes into its state folder.

use std::fs;
use std::path::Path;
use std::time::Duration;

use logferry_text::duration;
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

    /// What a person should look at: that the role does not run, or hangs. `age`: how old its account in `dir` is.
    pub(crate) fn problem(self, role: &str, dir: &Path, age: Duration) -> Option<String> {
        let (dir, written) = (dir.display(), duration(age));
        match self {
            Self::Running => None,
            Self::Stopped => Some(format!(
                "the {role} does not run; what is shown here is what it said {written} ago; `systemctl start logferry-{role}` starts it"
            )),
            Self::Unknown => Some(format!(
                "the {role} runs, but last wrote to {dir} {written} ago: the folder is not writable, or the {role} hangs; see \
                 `journalctl -u logferry-{role}`"
            )),
        }
    }
}

/// What a person should look at if the role has no account in its folder.
pub(crate) fn no_account(role: &str, dir: &Path) -> String {
    format!(
        "there is no status.json in {}: the {role} has never run here, or may not write there, or is older than this program; start it \
         with `systemctl start logferry-{role}`, and see `journalctl -u logferry-{role}`",
        dir.display()
    )
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
