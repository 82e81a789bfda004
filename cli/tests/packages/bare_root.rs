//! A bare Debian to install packages in: no systemd, no cron, nothing that Debian does not need itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::build;

/// A copy of the bare system. Dropping it deletes it.
pub(crate) struct BareRoot(TempDir);

impl BareRoot {
    pub(crate) fn new() -> Self {
        let base = base();
        let dir = tempfile::Builder::new()
            .prefix("root-")
            .tempdir_in(build::WORK)
            .unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(base.join("."))
            .arg(dir.path())
            .status();
        assert!(copied.unwrap().success());
        Self(dir)
    }

    /// A file of the system, as it is named outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, inside: &str) -> bool {
        self.path(inside).exists()
    }

    pub(crate) fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).expect(inside)
    }

    pub(crate) fn write(&self, inside: &str, text: &str) {
        fs::create_dir_all(self.path(inside).parent().unwrap()).unwrap();
        fs::write(self.path(inside), text).expect(inside);
    }

    /// Mode, owner and group, such as `750 root logferry`.
    pub(crate) fn rights(&self, inside: &str) -> String {
        self.ok(&format!("stat -c '%a %U %G' {inside}")).trim().to_owned()
    }

    /// Runs a shell script in the system.
    pub(crate) fn run(&self, script: &str) -> Output {
        Command::new("chroot")
            .arg(self.0.path())
            .args(["/bin/sh", "-c", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .unwrap()
    }

    /// Runs a script that must succeed; returns what it printed.
    pub(crate) fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        let text = printed(&output);
        assert!(output.status.success(), "{script}: {text}");
        text
    }

    /// Installs a package of this version with dpkg.
    pub(crate) fn install(&self, version: &str) -> Output {
        fs::copy(build::deb(version), self.path("package.deb")).unwrap();
        self.run("dpkg --force-unsafe-io -i /package.deb")
    }

    pub(crate) fn install_ok(&self, version: &str) -> String {
        let output = self.install(version);
        let text = printed(&output);
        assert!(output.status.success(), "{text}");
        text
    }

    /// Runs rpm on the system. The package's scripts run in it.
    pub(crate) fn rpm(&self, arguments: &[&str], package: &Path) -> Output {
        let rpm = Command::new("rpm")
            .arg("--root")
            .arg(self.0.path())
            .args(["--nodeps", "--dbpath", "/var/lib/rpm"])
            .args(arguments)
            .arg(package)
            .output();
        rpm.unwrap()
    }
}

/// What a command printed on both streams.
pub(crate) fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// The bare system of this host's Debian, made once for a build folder: debootstrap(8).
fn base() -> PathBuf {
    let me = fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(
        me, 0,
        "this test installs packages in a system of its own: run it as root"
    );
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.unwrap_or("bookworm");
    let base = Path::new(build::WORK).join(format!("debian-{suite}"));
    let _lock = build::lock("debian.lock");
    if !base.exists() {
        let making = base.with_extension("making");
        let _ = fs::remove_dir_all(&making);
        let made = Command::new("debootstrap")
            .args(["--variant=minbase", suite])
            .arg(&making)
            .output()
            .expect("debootstrap");
        assert!(made.status.success(), "debootstrap: {}", printed(&made));
        let _ = fs::remove_dir_all(making.join("var/cache/apt/archives"));
        fs::rename(making, &base).unwrap();
    }
    base
}
