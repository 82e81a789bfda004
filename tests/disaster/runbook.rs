//! Runs the commands of a page of the documentation. What only a real host has is replaced: paths, units, other programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::test_folder::TestFolder;

/// Programs of a host that are tried here by their arguments only.
const STAND_INS: [(&str, &str); 7] = [
    (
        "sudo",
        "while [ \"${1#-}\" != \"$1\" ]; do shift 2; done; exec \"$@\"",
    ),
    // `install -d -o … -g … -m … FOLDER`: here everything belongs to one user.
    ("install", "for last; do :; done; mkdir -p \"$last\""),
    // There is one user, which need not be `logferry`.
    ("chown", "exit 0"),
    ("drbdadm", "exit 0"),
    ("ip", "exit 0"),
    ("mount", "exit 0"),
    ("umount", "exit 0"),
];

/// `start`, `stop`, `enable` and `disable`, the last two with `--now` or not, of units by their full names, as the real one takes
/// them. A unit that does not run may be stopped. `boot` is what a host does by itself when it starts.
const SYSTEMCTL: &str = r#"
verb=$1; shift
now=no
[ "${1-}" != --now ] || { now=yes; shift; }
[ "$verb" = boot ] || [ $# -gt 0 ] || exit 1
start() {
  for unit; do role=${unit#logferry-}
    logferry "$role" </dev/null >>"$RUNBOOK_OUTPUT/$role.log" 2>&1 &
    echo $! >"$RUNBOOK_PIDS/$role"
  done
}
stop() {
  for unit; do file=$RUNBOOK_PIDS/${unit#logferry-}
    [ -e "$file" ] || continue
    kill -TERM "$(cat "$file")"
    while [ -e "/proc/$(cat "$file")/exe" ]; do sleep 0.05; done
    rm "$file"
  done
}
case $verb in
  start) start "$@" ;;
  stop)  stop "$@" ;;
  enable)  (cd "$RUNBOOK_ENABLED" && touch "$@"); [ $now = no ] || start "$@" ;;
  disable) (cd "$RUNBOOK_ENABLED" && rm -f "$@"); [ $now = no ] || stop "$@" ;;
  boot)  start $(ls "$RUNBOOK_ENABLED") ;;
  *) exit 2 ;;
esac
"#;

/// A host of the runbook: its configuration, and the processes of its units.
pub(super) struct RunbookHost {
    programs: PathBuf,
    /// A folder of its own: the test's may be removed before this host ends.
    pids: TempDir,
    /// A file for each enabled unit.
    enabled: PathBuf,
    output: PathBuf,
    config: PathBuf,
    /// Paths of the page, and what they are here.
    paths: Vec<(&'static str, PathBuf)>,
}

impl RunbookHost {
    pub(super) fn new(
        folder: &TestFolder,
        name: &str,
        config: PathBuf,
        paths: Vec<(&'static str, PathBuf)>,
    ) -> Self {
        let programs = folder.create_dir(&format!("{name}-programs"));
        for (program, script) in STAND_INS.into_iter().chain([("systemctl", SYSTEMCTL)]) {
            let path = programs.join(program);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_logferry"), programs.join("logferry")).unwrap();
        Self {
            programs,
            pids: tempfile::tempdir().unwrap(),
            enabled: folder.create_dir(&format!("{name}-enabled")),
            output: folder.create_dir(&format!("output/{name}")),
            config,
            paths,
        }
    }

    /// Runs the commands of the section with this heading; each must succeed. Returns what they print.
    pub(super) fn run(&self, page: &str, heading: &str) -> String {
        self.sh(heading, &self.script(page, heading))
    }

    /// Runs the commands of the section; whether they succeed.
    pub(super) fn succeeds(&self, page: &str, heading: &str) -> bool {
        self.output(&self.script(page, heading)).status.success()
    }

    /// The commands of the section, with the paths that they have here.
    fn script(&self, page: &str, heading: &str) -> String {
        let mut script = commands(page, heading);
        for (path, here) in &self.paths {
            script = script.replace(path, &here.display().to_string());
        }
        script
    }

    fn output(&self, script: &str) -> Output {
        let search = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-euc", script])
            .env("PATH", search)
            .env("LOGFERRY_CONFIG", &self.config)
            .env("RUNBOOK_PIDS", self.pids.path())
            .env("RUNBOOK_ENABLED", &self.enabled)
            .env("RUNBOOK_OUTPUT", &self.output)
            .output()
            .unwrap()
    }

    /// Runs these commands of a host; each must succeed. Returns what they print.
    pub(super) fn sh(&self, heading: &str, script: &str) -> String {
        let output = self.output(script);
        let [printed, told] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(
            output.status.success(),
            "{heading}: {}\n{script}\n{printed}{told}",
            output.status
        );
        printed
    }

    /// Starts what is enabled, as the host does when it has power again.
    pub(super) fn boot(&self) {
        self.sh("boot", "systemctl boot");
    }

    /// Makes the key of the proof, as the monitor does for its first window. Returns the public one.
    pub(super) fn make_key(&self) -> Vec<u8> {
        let page = self.output.join("audit.html");
        let audit = format!("logferry audit --html {} || [ $? -eq 1 ]", page.display());
        self.sh("the key of the proof", &audit);
        self.key()
    }

    /// The public key of the proof.
    pub(super) fn key(&self) -> Vec<u8> {
        let (_, data_dir) = &self.paths[0];
        fs::read(data_dir.join("audit.pub")).unwrap()
    }

    /// The units that run.
    pub(super) fn running(&self) -> Vec<String> {
        let files = fs::read_dir(self.pids.path()).unwrap().flatten();
        let mut roles: Vec<_> = files
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        roles.sort();
        roles
    }

    /// Ends its processes without warning, as a power loss does.
    pub(super) fn lose_power(&self) {
        for file in fs::read_dir(self.pids.path()).unwrap().flatten() {
            end(&file.path());
            fs::remove_file(file.path()).unwrap();
        }
    }
}

impl Drop for RunbookHost {
    fn drop(&mut self) {
        for file in fs::read_dir(self.pids.path()).into_iter().flatten().flatten() {
            end(&file.path());
        }
    }
}

/// Kills the process that was started here under this number, and waits for its end.
fn end(file: &Path) {
    let Some(id) = fs::read_to_string(file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
    else {
        return;
    };
    let id = Pid::from_raw(id);
    // Its parent, the shell, is gone, so it cannot be waited for.
    while kill(id, Signal::SIGKILL).is_ok() && has_files(id) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Whether a process that ends may still hold a lock: it gives up its files after its program, and before it is a zombie
/// (`proc_pid_stat(5)`).
fn has_files(id: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// The `sh` blocks of a section of docs/disaster/PAGE.
fn commands(page: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/disaster")
        .join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut is_section, mut is_block, mut script) = (false, false, String::new());
    for line in text.lines() {
        if line.starts_with('#') && !is_block {
            is_section = line.trim_start_matches('#').trim() == heading;
        } else if line.trim_start().starts_with("```") {
            is_block = is_section && line.trim() == "```sh";
        } else if is_block {
            script += line.trim_start();
            script += "\n";
        }
    }
    assert!(
        !script.is_empty(),
        "{}: no commands under {heading:?}",
        path.display()
    );
    script
}
