//! Signs of life: each running role keeps a small file `<folder>/<role>.alive`, so that `status` knows which roles run, also
//! in another process or container.
//!
//! Its first line is `STATE HOST PID SINCE`, its modification time the last sign. Each further line is a sentence about a
//! file that the role cannot use: the role alone knows that, as it has the user, the groups and the sandbox of its unit.
//! The file is not synced: after a power loss the role writes it anew. On a full disk the time still advances.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use logferry_durable::SignFile;

/// How often a running role gives a sign.
pub const SIGN_INTERVAL: Duration = Duration::from_secs(5);

/// A role without a sign for so long does not run.
const SIGN_LIFETIME: Duration = Duration::from_secs(30);

/// Sentences in a sign, and characters of one: a sign stays small.
const PROBLEMS_MAX: usize = 20;
const PROBLEM_LENGTH_MAX: usize = 600;

/// What a role says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceState {
    /// It runs.
    Running,
    /// It has stopped.
    Stopped,
    /// It made one pass, for cron.
    Once,
}

/// The last sign of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// What it said, or `Stopped` if it said nothing for too long.
    pub state: PresenceState,
    /// The host that it ran on.
    pub host: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it gave its last sign.
    pub last_seen: Timestamp,
    /// The files that it cannot use, a sentence each. Only a role that runs has any.
    pub problems: Vec<String>,
}

impl PresenceState {
    const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Once => "once",
        }
    }
}

/// Gives a sign of `role`, whose files are in `folder`. `since` is the time at which it got into this state; `problems` are
/// sentences about the files that it cannot use. An error is no concern of the role: the folder may not be there yet, or its
/// disk may be read-only.
pub fn give_sign(
    folder: &Path,
    role: &str,
    state: PresenceState,
    since: Timestamp,
    problems: &[String],
) -> std::io::Result<()> {
    let (state, host, process) = (state.word(), host(), std::process::id());
    let problems: String = problems
        .iter()
        .take(PROBLEMS_MAX)
        .map(|problem| line(problem))
        .collect();
    let text = format!("{state} {host} {process} {since}\n{problems}");
    SignFile::at(&sign_path(folder, role)).write(&text, SystemTime::now())
}

/// A sentence as one line, whatever is in it.
fn line(problem: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = problem.chars().take(PROBLEM_LENGTH_MAX).map(visible).collect();
    text + "\n"
}

/// The last sign of `role` as it is to be understood at `now`; `None` if it never gave one.
pub fn presence(folder: &Path, role: &str, now: Timestamp) -> Option<Presence> {
    let (text, at) = SignFile::at(&sign_path(folder, role)).read()?;
    understood(&text, Timestamp::try_from(at).ok()?, now)
}

fn understood(text: &str, last_seen: Timestamp, now: Timestamp) -> Option<Presence> {
    let mut lines = text.lines();
    let mut words = lines.next()?.split_whitespace();
    let (state, host, _process, since) = (words.next()?, words.next()?, words.next()?, words.next()?);
    // A clock that was set back does not make a role that runs a dead one.
    let age = Duration::try_from(now.duration_since(last_seen)).unwrap_or_default();
    let (state, since) = match state {
        "running" if age <= SIGN_LIFETIME => (PresenceState::Running, since.parse().ok()?),
        "running" => (PresenceState::Stopped, last_seen),
        "once" => (PresenceState::Once, last_seen),
        _ => (PresenceState::Stopped, since.parse().ok()?),
    };
    Some(Presence {
        state,
        host: host.to_owned(),
        since,
        last_seen,
        problems: lines
            .filter(|_| state == PresenceState::Running)
            .map(str::to_owned)
            .collect(),
    })
}

/// The file of the signs of `role`.
pub fn sign_path(folder: &Path, role: &str) -> PathBuf {
    folder.join(format!("{role}.alive"))
}

/// The name of this host; `-` if the system does not tell it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.split_whitespace().next().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    #[test]
    fn role_without_a_sign_for_30_s_does_not_run_since_its_last_one() {
        let text = format!("running h1 77 {}\n", at(0));
        let running = understood(&text, at(100), at(130)).expect("a sign");
        assert_eq!((running.state, running.since), (PresenceState::Running, at(0)));
        let dead = understood(&text, at(100), at(131)).expect("a sign");
        assert_eq!(
            (dead.state, dead.since, dead.last_seen),
            (PresenceState::Stopped, at(100), at(100))
        );
        let clock_set_back = understood(&text, at(100), at(0)).expect("a sign");
        assert_eq!(clock_set_back.state, PresenceState::Running);
        assert_eq!(understood("running\n", at(0), at(0)), None);
    }

    #[test]
    fn files_that_a_role_cannot_use_are_told_while_it_runs_one_line_each() {
        let dir = tempfile::tempdir().expect("a folder");
        let told = |state| {
            let problems = ["key_file /k\n\t is missing".to_owned(), "x".repeat(5000)];
            give_sign(dir.path(), "forwarder", state, Timestamp::now(), &problems).expect("written");
            let sign = presence(dir.path(), "forwarder", Timestamp::now());
            sign.expect("a sign").problems
        };
        assert_eq!(
            told(PresenceState::Running),
            [
                "key_file /k   is missing".to_owned(),
                "x".repeat(PROBLEM_LENGTH_MAX)
            ]
        );
        assert_eq!(told(PresenceState::Stopped), [""; 0]);
    }

    #[test]
    fn last_sign_of_each_role_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = Timestamp::now();
        assert_eq!(presence(dir.path(), "relay", now), None);
        for state in [
            PresenceState::Running,
            PresenceState::Once,
            PresenceState::Stopped,
        ] {
            give_sign(dir.path(), "relay", state, now, &[]).expect("written");
            let read = presence(dir.path(), "relay", Timestamp::now()).expect("a sign");
            assert_eq!(read.state, state);
        }
        assert_eq!(presence(dir.path(), "monitor", now), None);
    }
}
