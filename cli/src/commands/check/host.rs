//! What every role needs of its host: room on the disks, watches of folders, a clock that is right.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use logferry_config::Config;
use logferry_durable::{DiskSpace, disk_space};
use logferry_ledger::schema_version;
use logferry_text::{count_of, duration, size};

use crate::host_command::output_within;
use crate::output::check_item::CheckItem;
use crate::roles::role::Role;

/// Without a monitor's section, a disk is told from so much on.
const FULL_PERCENT: u64 = 90;

/// Clocks that differ more put lines into a window that is not theirs: batches bear this much by default (`relay.batch.slack`).
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(10);

/// `timedatectl` asks a service over D-Bus, which starts it if it must.
const BUS_TIME_MAX: Duration = Duration::from_secs(5);

/// The disks that roles write to, each once.
pub(super) fn disks(config: &Config) -> Vec<CheckItem> {
    let mut known = BTreeSet::new();
    // The relay's first: a disk is judged by the first folder on it, and only the relay has a limit.
    let roles = std::iter::once(Role::Relay).chain(Role::ALL);
    let folders = roles.filter_map(|role| role.folder(config));
    let items = folders.filter_map(|folder| {
        // What does not exist yet is made on the disk of what does.
        let there = folder.ancestors().find(|folder| folder.exists())?;
        if !known.insert(there.metadata().ok()?.dev()) {
            return None;
        }
        Some(disk(folder, disk_space(there).ok()?, config))
    });
    items.collect()
}

fn disk(folder: &Path, space: DiskSpace, config: &Config) -> CheckItem {
    let (name, free) = (format!("disk of {}", folder.display()), size(space.free_bytes));
    let relay = config.relay.as_ref().filter(|relay| relay.data_dir == folder);
    // A full disk is low even if nothing has to stay free.
    if let Some(relay) = relay.filter(|relay| space.free_bytes < relay.limits.min_free_disk.max(1)) {
        let least = size(relay.limits.min_free_disk);
        let problem = format!(
            "has {free} free, less than relay.limits.min_free_disk ({least}): the relay takes no lines; make space there"
        );
        return CheckItem::problem(name, &problem);
    }
    let used = space.total_bytes.saturating_sub(space.free_bytes);
    let percent = used.saturating_mul(100) / space.total_bytes.max(1);
    let text = format!("{free} of {} free", size(space.total_bytes));
    if percent >= FULL_PERCENT {
        return CheckItem::warning(
            name,
            &format!("{text}: it is {percent} % full; make space there before it is needed"),
        );
    }
    CheckItem::ok(name, text)
}

/// The ledger's file, if it is no ledger. One that is not there yet is no problem.
pub(super) fn ledger(config: &Config) -> Option<CheckItem> {
    let (_, data_dir) = config.data_dirs().next()?;
    if !schema_version::is_no_database(data_dir).unwrap_or(false) {
        return None;
    }
    let problem = format!(
        "{} is no database, so no role of this host can start; restore it from a backup, or make a new one from the spool with \
         `logferry fsck --rebuild`",
        data_dir.join(logferry_ledger::FILE_NAME).display()
    );
    Some(CheckItem::problem("ledger", &problem))
}

/// The folders that the sender watches and the limits on that, which are enough.
pub(super) fn watches(config: &Config) -> Option<CheckItem> {
    let sender = config.sender.as_ref()?;
    let limit = |name: &str| {
        let text = std::fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let watches = limit("max_user_watches").map_or_else(String::new, |limit| {
        format!(", limit {}", logferry_text::count(limit))
    });
    let folders: BTreeSet<_> = sender
        .logs
        .iter()
        .map(|log| Path::new(&log.path).parent())
        .chain(sender.captures.iter().map(|captures| Some(captures.as_path())))
        .collect();
    let folders = count_of(folders.len() as u64, "folder");
    Some(CheckItem::ok(
        "inotify",
        format!("watches the logs of {folders}{watches}"),
    ))
}

/// Compares this host's clock with the relay's, whose answer arrived at `arrived`. `None`: its date is none.
pub(super) fn clock(date: &str, arrived: Timestamp) -> Option<CheckItem> {
    let theirs = rfc2822::parse(date).ok()?.timestamp();
    let ahead = arrived.duration_since(theirs);
    let apart = ahead.unsigned_abs();
    if apart <= CLOCK_DIFFERENCE_MAX {
        // HTTP tells whole seconds.
        let apart = Duration::from_secs(apart.as_secs() + 1);
        return Some(CheckItem::ok(
            "clock",
            format!("within {} of the relay's", duration(apart)),
        ));
    }
    let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
    let apart = duration(apart);
    Some(CheckItem::problem(
        "clock",
        &format!(
            "this host's is {apart} {direction} the relay's, so lines get into windows that are not theirs; let both hosts keep time \
             by NTP (`timedatectl set-ntp true`)"
        ),
    ))
}

/// Whether a time service keeps this host's clock, by the kernel's account (timedatectl(1)). For a host without a sender, which has no
/// other clock to compare with: a relay closes windows by its own. `None`: systemd does not run here, or does not answer.
pub(super) fn time_service() -> Option<CheckItem> {
    let mut command = Command::new("timedatectl");
    let command = command.args(["show", "--property=NTPSynchronized", "--value"]);
    let output = output_within(command, BUS_TIME_MAX)?;
    time_service_item(&String::from_utf8_lossy(&output.stdout))
}

fn time_service_item(synchronized: &str) -> Option<CheckItem> {
    match synchronized.trim() {
        "yes" => Some(CheckItem::ok("clock", "kept by a time service")),
        "no" => Some(CheckItem::warning(
            "clock",
            "no time service keeps this host's, so windows may be closed early or late; run `timedatectl set-ntp true`, and see \
             `timedatectl` a minute later",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::check_item::CheckState;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let item = |arrived: &str| clock("Sun, 29 Nov 2026 12:00:00 GMT", arrived.parse().unwrap()).unwrap();
        assert_eq!(
            item("2026-11-29T12:00:01.2Z"),
            CheckItem::ok("clock", "within 2 s of the relay's")
        );
        for (arrived, beginning) in [
            (
                "2026-11-29T12:03:00Z",
                "this host's is 3 min ahead of the relay's",
            ),
            ("2026-11-29T11:00:00Z", "this host's is 1 h behind the relay's"),
        ] {
            let item = item(arrived);
            assert_eq!(item.state, CheckState::Problem);
            assert!(item.detail.starts_with(beginning), "{item:?}");
        }
        assert_eq!(clock("soon", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_disk_on_which_the_relay_takes_nothing_is_told_though_the_sender_is_on_it_too() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, relay) = (dir.path().join("sender"), dir.path().join("relay"));
        let text = format!(
            "sender:\n  relay: http://127.0.0.1:5001\n  state_dir: {}\n  logs: [{{path: /x.log}}]\n\
             relay:\n  data_dir: {}\n  limits: {{min_free_disk: 1000000GiB}}\n  groups: [{{name: a, listen: \"127.0.0.1:5001\"}}]\n",
            sender.display(),
            relay.display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        let items = disks(&config);
        let [item] = &items[..] else {
            panic!("one disk: {items:?}");
        };
        assert_eq!(
            (item.name.as_str(), item.state),
            (
                format!("disk of {}", relay.display()).as_str(),
                CheckState::Problem
            )
        );
    }

    #[test]
    fn a_clock_that_nothing_keeps_is_told() {
        assert_eq!(time_service_item("yes\n").unwrap().state, CheckState::Ok);
        assert_eq!(time_service_item("no\n").unwrap().state, CheckState::Warning);
        assert_eq!(time_service_item(""), None, "no systemd runs here");
    }
}
