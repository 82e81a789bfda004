//! The same files to the same sshd: by the forwarder, and by OpenSSH's own `sftp -b`.
//!
//! Both put each file under a temporary name and rename it, with their default ciphers. What is measured is the way
//! of the bytes from this machine's page cache to the server: the drop lies in memory unless told otherwise, because
//! the forwarder has the server sync each file and `sftp` does not.

mod delay;
mod peers;
mod server;
mod spool;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use logferry_config::units::format_size;

use crate::process::Usage;
use crate::report::{Good, Row, float, mebibytes, megabytes_per_second, table};
use delay::DelayProxy;
use server::Server;
use spool::Payload;

/// So many files of one size, on one way.
#[derive(Debug, Clone, Copy)]
struct Case {
    files: u32,
    bytes: u64,
    way: Way,
    /// What our speed must be, in times of `sftp -b`.
    target: &'static str,
}

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Loopback,
    /// Over a proxy that holds each direction back by [`DELAY`].
    Far,
}

/// One direction of the far way.
const DELAY: Duration = Duration::from_millis(10);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const LARGE: u64 = 512 * MIB;
const MEDIUM: u64 = 8 * MIB;
const SMALL: u64 = 20 * KIB;

const NEAR: [Case; 3] = [
    case(1, LARGE, Way::Loopback, "≥ 0.9"),
    case(72, MEDIUM, Way::Loopback, "≥ 1.2"),
    case(1000, SMALL, Way::Loopback, "≥ 2.5"),
];

const FAR: [Case; 2] = [
    case(300, SMALL, Way::Far, "≥ 30"),
    case(1, LARGE, Way::Far, "≥ 0.95"),
];

/// So many files go the predecessor's way, which takes its time.
const PREDECESSOR_FILES: u32 = 40;

const fn case(files: u32, bytes: u64, way: Way, target: &'static str) -> Case {
    Case {
        files,
        bytes,
        way,
        target,
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cases {
    /// Over loopback: one large file, some of 8 MiB, many of 20 KiB
    Near,
    /// The same with a round trip of 20 ms
    Far,
    /// Against rsync and mv over one connection each for every file
    Predecessor,
}

/// Where things lie during a comparison, and what may vary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// The program.
    pub(crate) binary: &'a Path,
    /// A new folder on the disk to measure.
    pub(crate) folder: &'a Path,
    /// A new folder for what is delivered.
    pub(crate) drop: &'a Path,
    /// The forwarder's setting.
    pub(crate) sessions: u8,
}

/// One delivery of all files of a case.
#[derive(Debug, Clone, Copy)]
struct Run {
    wall: Duration,
    cpu: Duration,
    peak_bytes: u64,
}

/// Runs the comparisons, and describes them.
pub(crate) fn delivery(places: Places<'_>, cases: Cases, runs: usize) -> anyhow::Result<String> {
    let server = Server::start(&places.folder.join("sshd"))?;
    match cases {
        Cases::Near => compare_all(places, &server, &NEAR, runs),
        Cases::Far => compare_all(places, &server, &FAR, runs),
        Cases::Predecessor => predecessor(places, &server, runs),
    }
}

fn compare_all(places: Places<'_>, server: &Server, cases: &[Case], runs: usize) -> anyhow::Result<String> {
    let tables = cases.iter().map(|case| compare(places, server, *case, runs));
    Ok(tables.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
}

fn compare(places: Places<'_>, server: &Server, case: Case, runs: usize) -> anyhow::Result<String> {
    let proxy = match case.way {
        Way::Loopback => None,
        Way::Far => Some(DelayProxy::start(server.port, DELAY)?),
    };
    let port = proxy.as_ref().map_or(server.port, |proxy| proxy.port);
    server.know(port)?;
    let payload = Payload::write(&places.folder.join("payload"), case.files, case.bytes)?;
    let mut measured = Vec::new();
    for _ in 0..runs {
        let theirs = into_empty(places.drop, &payload, |drop| {
            peers::sftp(server, port, &payload, drop)
        })?;
        let ours = into_empty(places.drop, &payload, |drop| {
            forward(places, server, port, &payload, drop)
        })?;
        measured.push((theirs, ours));
    }
    payload.remove()?;
    let far = if case.way == Way::Far {
        ", 20 ms round trip"
    } else {
        ""
    };
    let title = format!("{} × {}{far}, {runs} runs", case.files, format_size(case.bytes));
    Ok(table(&title, &rows(case, &measured)))
}

fn rows(case: Case, measured: &[(Run, Run)]) -> Vec<Row> {
    let total = u64::from(case.files) * case.bytes;
    let row = |name, decimals, good, targets, value: &dyn Fn(&Run, &Run) -> f64| Row {
        name,
        values: measured
            .iter()
            .map(|(theirs, ours)| value(theirs, ours))
            .collect(),
        decimals,
        good,
        targets,
    };
    let per_second = |run: &Run| float(u64::from(case.files)) / run.wall.as_secs_f64();
    vec![
        row("sftp -b, files/s", 1, Good::High, ["", ""], &|theirs, _| {
            per_second(theirs)
        }),
        row("sftp -b, MB/s", 0, Good::High, ["", ""], &|theirs, _| {
            megabytes_per_second(total, theirs.wall)
        }),
        row("forwarder, files/s", 1, Good::High, ["", ""], &|_, ours| {
            per_second(ours)
        }),
        row("forwarder, MB/s", 0, Good::High, ["", ""], &|_, ours| {
            megabytes_per_second(total, ours.wall)
        }),
        row(
            "  ÷ sftp -b",
            2,
            Good::High,
            [case.target, ""],
            &|theirs, ours| theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
        ),
        row(
            "forwarder, CPU ÷ sftp -b",
            2,
            Good::Low,
            ["", ""],
            &|theirs, ours| ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64(),
        ),
        row("forwarder, peak MiB", 1, Good::Low, ["< 64", ""], &|_, ours| {
            mebibytes(ours.peak_bytes)
        }),
    ]
}

/// Each file over two connections of its own, as the predecessor sends them, against the forwarder.
fn predecessor(places: Places<'_>, server: &Server, runs: usize) -> anyhow::Result<String> {
    server.know(server.port)?;
    let few = Payload::write(&places.folder.join("few"), PREDECESSOR_FILES, SMALL)?;
    let many = Payload::write(&places.folder.join("many"), 1000, SMALL)?;
    let mut values = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..runs {
        let theirs = into_empty(places.drop, &few, |drop| peers::rsync_and_mv(server, &few, drop))?;
        let ours = into_empty(places.drop, &many, |drop| {
            forward(places, server, server.port, &many, drop)
        })?;
        let per_file =
            |run: Run, payload: &Payload| run.wall.as_secs_f64() * 1e3 / float(payload.len() as u64);
        let (theirs, ours) = (per_file(theirs, &few), per_file(ours, &many));
        for (values, value) in values.iter_mut().zip([theirs, ours, theirs / ours]) {
            values.push(value);
        }
    }
    let [theirs, ours, ratio] = values;
    let row = |name, values, good, targets| Row {
        name,
        values,
        decimals: 2,
        good,
        targets,
    };
    let rows = [
        row("rsync + mv, ms a file", theirs, Good::Low, ["", ""]),
        row("forwarder, ms a file", ours, Good::Low, ["", ""]),
        row("  times as fast", ratio, Good::High, ["≥ 500", ""]),
    ];
    let title = format!(
        "files of {}, the predecessor's way, {runs} runs",
        format_size(SMALL)
    );
    Ok(table(&title, &rows))
}

/// Delivers into a new folder, proves that all is there and nothing else, and removes it.
fn into_empty(
    above: &Path,
    payload: &Payload,
    deliver: impl FnOnce(&Path) -> anyhow::Result<Run>,
) -> anyhow::Result<Run> {
    let drop = above.join("drop");
    fs::create_dir(&drop).with_context(|| format!("cannot make {}", drop.display()))?;
    nix::unistd::sync();
    let run = deliver(&drop)?;
    payload.prove(&drop)?;
    fs::remove_dir_all(&drop).with_context(|| format!("cannot remove {}", drop.display()))?;
    Ok(run)
}

/// The forwarder's run, from its start to the last batch recorded as delivered.
fn forward(
    places: Places<'_>,
    server: &Server,
    port: u16,
    payload: &Payload,
    drop: &Path,
) -> anyhow::Result<Run> {
    let folder: PathBuf = places.folder.join("forwarder");
    let spool = spool::Spool::lay_out(&folder, payload)?;
    let config = format!(
        "forwarder:\n  data_dir: \"{}\"\n  destinations:\n    - {{name: bench, host: 127.0.0.1, port: {port}, \
         user: {}, directory: \"{}\", key_file: \"{}\", known_hosts: \"{}\", sessions: {}}}\n",
        spool.data_dir().display(),
        server.user,
        drop.display(),
        server.client_key().display(),
        server.known_hosts().display(),
        places.sessions,
    );
    let (wall, Usage { cpu, peak_bytes }) = spool.deliver(places.binary, &config, &folder)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(Run {
        wall,
        cpu,
        peak_bytes,
    })
}
