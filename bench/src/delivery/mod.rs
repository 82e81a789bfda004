//! Delivery of the same files to the same sshd: by the forwarder, and by OpenSSH's own `sftp -b`.
//!
//! Both put each file under a temporary name and rename it, with their default ciphers. The default drop folder lies in
//! memory, because the forwarder has the server sync each file and `sftp` does not: the benchmark measures the way from
//! this machine's page cache to the server. `payload` and `spool` are the files, `reference_clients` the other tools.

mod payload;
mod reference_clients;
mod spool;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use logferry_config::units::format_size;
use logferry_test_servers::{Sshd, delaying_proxy};

use crate::measurement::figures::{float, mebibytes, megabytes_per_second, milliseconds};
use crate::measurement::process::Usage;
use crate::measurement::table::{high, low, table};
use payload::Payload;
use spool::ReadySpool;

/// Files of one size over one route.
#[derive(Debug, Clone, Copy)]
struct DeliveryCase {
    files: u32,
    bytes: u64,
    route: Route,
    /// The target for our speed, as a multiple of `sftp -b`.
    target: &'static str,
}

/// The network between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Loopback,
    /// Through a proxy that delays each direction by [`DELAY`].
    Far,
}

/// The delay of one direction of the far route.
const DELAY: Duration = Duration::from_millis(10);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const LARGE: u64 = 512 * MIB;
const MEDIUM: u64 = 8 * MIB;
const SMALL: u64 = 20 * KIB;

const NEAR: [DeliveryCase; 3] = [
    case(1, LARGE, Route::Loopback, "≥ 0.9"),
    case(72, MEDIUM, Route::Loopback, "≥ 1.2"),
    case(1000, SMALL, Route::Loopback, "≥ 2.5"),
];

const FAR: [DeliveryCase; 2] = [
    case(300, SMALL, Route::Far, "≥ 30"),
    case(1, LARGE, Route::Far, "≥ 0.95"),
];

/// Files that are delivered with the predecessor's tools, which are slow.
const PREDECESSOR_FILES: u32 = 40;

const fn case(files: u32, bytes: u64, route: Route, target: &'static str) -> DeliveryCase {
    DeliveryCase {
        files,
        bytes,
        route,
        target,
    }
}

/// The comparisons to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cases {
    /// Over loopback: one large file, some of 8 MiB, many of 20 KiB
    Near,
    /// With a round trip of 20 ms: many files of 20 KiB, one large file
    Far,
    /// Against rsync and mv, each with one connection for every file
    Predecessor,
}

/// Program, folders and settings of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeliverySetup<'a> {
    /// The program.
    pub(crate) binary: &'a Path,
    /// A new folder on the disk to measure.
    pub(crate) folder: &'a Path,
    /// A new folder for the delivered files.
    pub(crate) drop: &'a Path,
    /// The forwarder's `sessions`.
    pub(crate) sessions: u8,
}

/// Runs the comparisons; returns their tables.
pub(crate) fn delivery(setup: DeliverySetup<'_>, cases: Cases, runs: usize) -> anyhow::Result<String> {
    let sshd = Sshd::start();
    let cases = match cases {
        Cases::Near => &NEAR[..],
        Cases::Far => &FAR,
        Cases::Predecessor => return compare_with_predecessor(setup, &sshd, runs),
    };
    let tables = cases.iter().map(|case| compare(setup, &sshd, *case, runs));
    Ok(tables.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

fn compare(setup: DeliverySetup<'_>, sshd: &Sshd, case: DeliveryCase, runs: usize) -> anyhow::Result<String> {
    let is_far = case.route == Route::Far;
    let proxy = is_far.then(|| delaying_proxy(sshd.port, DELAY));
    let port = proxy.as_ref().map_or(sshd.port, |proxy| proxy.port);
    know(sshd, port);
    let payload = Payload::write(&setup.folder.join("payload"), case.files, case.bytes)?;
    let (files, bytes) = (float(u64::from(case.files)), u64::from(case.files) * case.bytes);
    let mut figures = Vec::new();
    for _ in 0..runs {
        let by_sftp = |drop: &Path| reference_clients::sftp(sshd, port, &payload, drop);
        let sftp = into_empty(setup.drop, &payload, by_sftp)?;
        let by_forwarder = |drop: &Path| forward(setup, sshd, port, &payload, drop);
        let (wall, usage) = into_empty(setup.drop, &payload, by_forwarder)?;
        figures.push([
            files / sftp.wall.as_secs_f64(),
            megabytes_per_second(bytes, sftp.wall),
            files / wall.as_secs_f64(),
            megabytes_per_second(bytes, wall),
            sftp.wall.as_secs_f64() / wall.as_secs_f64(),
            usage.cpu.as_secs_f64() / sftp.cpu.as_secs_f64(),
            mebibytes(usage.peak_bytes),
        ]);
    }
    payload.remove()?;
    let rows = [
        high("sftp -b, files/s", 1, ["", ""]),
        high("sftp -b, MB/s", 0, ["", ""]),
        high("forwarder, files/s", 1, ["", ""]),
        high("forwarder, MB/s", 0, ["", ""]),
        high("  ÷ sftp -b", 2, [case.target, ""]),
        low("forwarder, CPU ÷ sftp -b", 2, ["", ""]),
        low("forwarder, peak MiB", 1, ["< 64", ""]),
    ];
    let far = if is_far { ", 20 ms round trip" } else { "" };
    let title = format!("{} × {}{far}, {runs} runs", case.files, format_size(case.bytes));
    Ok(table(&title, &rows, &figures))
}

/// The forwarder against the predecessor's tools, which use two connections for each file.
fn compare_with_predecessor(setup: DeliverySetup<'_>, sshd: &Sshd, runs: usize) -> anyhow::Result<String> {
    know(sshd, sshd.port);
    let few = Payload::write(&setup.folder.join("few"), PREDECESSOR_FILES, SMALL)?;
    let many = Payload::write(&setup.folder.join("many"), 1000, SMALL)?;
    let mut figures = Vec::new();
    for _ in 0..runs {
        let by_tools = |drop: &Path| reference_clients::rsync_and_mv(sshd, &few, drop);
        let tools = into_empty(setup.drop, &few, by_tools)?;
        let by_forwarder = |drop: &Path| forward(setup, sshd, sshd.port, &many, drop);
        let (wall, _) = into_empty(setup.drop, &many, by_forwarder)?;
        let tools = milliseconds(tools.wall) / float(few.files.len() as u64);
        let forwarder = milliseconds(wall) / float(many.files.len() as u64);
        figures.push([tools, forwarder, tools / forwarder]);
    }
    let rows = [
        low("rsync + mv, ms a file", 2, ["", ""]),
        low("forwarder, ms a file", 2, ["", ""]),
        high("  times as fast", 2, ["≥ 500", ""]),
    ];
    let size = format_size(SMALL);
    let title = format!("files of {size}, the predecessor's way, {runs} runs");
    Ok(table(&title, &rows, &figures))
}

/// Delivers into a new folder, checks that it holds exactly the payload, and removes it.
fn into_empty<T>(
    parent: &Path,
    payload: &Payload,
    deliver: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let drop = parent.join("drop");
    fs::create_dir(&drop).with_context(|| format!("cannot create {}", drop.display()))?;
    nix::unistd::sync();
    let run = deliver(&drop)?;
    payload.check(&drop)?;
    fs::remove_dir_all(&drop).with_context(|| format!("cannot remove {}", drop.display()))?;
    Ok(run)
}

/// The forwarder's run: the time from its start to the last delivery record, and its CPU time and memory.
fn forward(
    setup: DeliverySetup<'_>,
    sshd: &Sshd,
    port: u16,
    payload: &Payload,
    drop: &Path,
) -> anyhow::Result<(Duration, Usage)> {
    let folder = setup.folder.join("forwarder");
    let spool = ReadySpool::create(&folder, payload)?;
    let config = format!(
        "forwarder:\n  data_dir: \"{}\"\n  destinations:\n    - {{name: bench, host: 127.0.0.1, port: {port}, \
         user: {}, directory: \"{}\", key_file: \"{}\", known_hosts: \"{}\", sessions: {}}}\n",
        spool.data_dir.display(),
        sshd.user,
        drop.display(),
        sshd.client_key().display(),
        sshd.known_hosts().display(),
        setup.sessions,
    );
    let run = spool.deliver(setup.binary, &config, &folder)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(run)
}

/// Makes `sshd` known under `port`, which may be a proxy's.
fn know(sshd: &Sshd, port: u16) {
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{port}"));
}
