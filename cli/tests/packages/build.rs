//! The packages under test: made once for a test run, of the program that the other tests use too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of the workspace, and a later one of the same program.
pub(crate) const OLD: &str = env!("CARGO_PKG_VERSION");
pub(crate) const NEW: &str = "99.0.0";

/// Where all test runs of this build folder work.
pub(crate) const WORK: &str = env!("CARGO_TARGET_TMPDIR");

/// Held by one process of all.
pub(crate) fn lock(name: &str) -> File {
    let file = File::create(Path::new(WORK).join(name)).unwrap();
    file.lock().unwrap();
    file
}

pub(crate) fn deb(version: &str) -> PathBuf {
    packages().join(format!("logferry_{version}_amd64.deb"))
}

pub(crate) fn rpm(version: &str) -> PathBuf {
    packages().join(format!("logferry_{version}_amd64.rpm"))
}

/// The folder with the packages of both versions.
fn packages() -> PathBuf {
    // Each test of cargo-nextest is a process of its own.
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    let folder = Path::new(WORK).join("packages").join(run);
    let _lock = lock("packages.lock");
    if !folder.exists() {
        let _ = fs::remove_dir_all(folder.parent().unwrap());
        let making = folder.with_extension("making");
        for version in [OLD, NEW] {
            make(&making, version);
        }
        fs::rename(making, &folder).unwrap();
    }
    folder
}

/// Runs `./package` with this build's program, without its symbols: they would be most of the package.
pub(crate) fn make(out: &Path, version: &str) {
    fs::create_dir_all(out).unwrap();
    let program = out.join("logferry");
    let strip = Command::new("strip")
        .args([env!("CARGO_BIN_EXE_logferry"), "-o"])
        .arg(&program)
        .status();
    assert!(strip.unwrap().success());
    let package = Command::new("./package")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("SOURCE_DATE_EPOCH", "1750000000")
        .args(["--fast", "--version", version, "--binary"])
        .arg(program)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&package.stderr);
    assert!(package.status.success(), "./package: {stderr}");
}
