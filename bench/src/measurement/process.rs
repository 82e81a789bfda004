//! Child processes, and their CPU time and memory as the kernel reports them.
//!
//! Invariant: no child outlives its [`Daemon`] or [`Child`].

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::resource::{Usage as NixUsage, UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux that Rust's standard library supports.
/// See proc(5) and time(7).
const TICKS_PER_SECOND: u64 = 100;

/// How long a role may take to stop: the guaranteed 10 s, and more for a busy machine.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// CPU time and memory of a process so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Its largest resident set.
    pub(crate) peak_bytes: u64,
}

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn();
        child.map(Self).with_context(|| format!("cannot run {command:?}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running role.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    role: &'static str,
    log: PathBuf,
}

impl Daemon {
    /// Starts `role` with its configuration and log in `folder`.
    pub(crate) fn start(
        binary: &Path,
        role: &'static str,
        config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_by(Command::new(binary), role, config, folder)
    }

    /// The same, by a command that ends with the program, such as `nice -n 5 logferry`.
    pub(crate) fn start_by(
        mut command: Command,
        role: &'static str,
        config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let file = folder.join(format!("{role}.yaml"));
        #[expect(
            clippy::disallowed_methods,
            reason = "a configuration for one run need not survive a power loss"
        )]
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        command.arg("-c").arg(&file).arg(role);
        Self::run(command, role, folder)
    }

    /// Runs a command that is a role, with its log in `folder`.
    pub(crate) fn run(mut command: Command, role: &'static str, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{role}.log"));
        let stderr = OpenOptions::new().create(true).append(true).open(&log);
        let stderr = stderr.with_context(|| format!("cannot open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = Child::start(&mut command)?;
        Ok(Self { child, role, log })
    }

    /// Its CPU time and memory so far. Fails, with the end of its log, if it has ended.
    pub(crate) fn usage(&mut self) -> anyhow::Result<Usage> {
        self.check()?;
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.0.id());
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let ticks = cpu_ticks(&stat).with_context(|| format!("cannot read CPU time out of `{stat}`"))?;
        let peak = peak_kib(&status).with_context(|| format!("cannot read VmHWM out of `{status}`"))?;
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
            peak_bytes: peak << 10,
        })
    }

    /// Fails, with the end of its log, if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("the {} ended ({status}): {}", self.role, self.log_end()),
            Err(error) => Err(error).with_context(|| format!("cannot get the status of the {}", self.role)),
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        let pid = i32::try_from(self.child.0.id()).context("process id out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)
            .with_context(|| format!("cannot stop the {}", self.role))?;
        let asked = Instant::now();
        loop {
            match self.child.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the {} stopped with {status}: {}", self.role, self.log_end()),
                None if asked.elapsed() < STOP_WAIT_MAX => {}
                None => bail!("the {} did not stop after SIGTERM: {}", self.role, self.log_end()),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The end of its log.
    fn log_end(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines.rchunks(5).next().unwrap_or_default().join("\n")
    }
}

/// One run of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToolRun {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Runs `command` to its end, which must be a success.
pub(crate) fn run_tool(command: &mut Command) -> anyhow::Result<ToolRun> {
    let (before, start) = (children_cpu()?, Instant::now());
    let status = command.status();
    let status = status.with_context(|| format!("cannot run {command:?}"))?;
    let wall = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    let cpu = children_cpu()?.saturating_sub(before);
    Ok(ToolRun { wall, cpu })
}

/// CPU time and memory of this process so far.
pub(crate) fn own_usage() -> anyhow::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot read this process's CPU time")?;
    Ok(Usage {
        cpu: cpu_time(usage),
        // In KiB, by getrusage(2).
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
    })
}

/// CPU time of all children that have been waited for.
pub(crate) fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the children's CPU time")?;
    Ok(cpu_time(usage))
}

fn cpu_time(usage: NixUsage) -> Duration {
    let total = usage.user_time() + usage.system_time();
    let micros = total.tv_sec() * 1_000_000 + total.tv_usec();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// User and system time in `/proc/PID/stat`, in ticks: fields 14 and 15 of proc(5). The name, field 2, may hold
/// blanks and brackets; fields are counted from its end.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The largest resident set in `/proc/PID/status`, in KiB.
fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 250 31 0 0 20 0 1 0 9 0 0";
        assert_eq!(cpu_ticks(stat), Some(281));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn usage_of_this_process_is_found() {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        assert!(cpu_ticks(&read("stat")).is_some());
        assert!(peak_kib(&read("status")).unwrap() > 0);
    }

    #[test]
    fn tool_must_succeed() {
        assert!(run_tool(&mut Command::new("true")).is_ok());
        assert!(run_tool(&mut Command::new("false")).is_err());
    }
}
