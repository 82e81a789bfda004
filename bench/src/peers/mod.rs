//! rsyslog over TCP beside logferry, in the same run: speed and CPU time, then the lines that a kill of each end costs.

mod numbered_log;
mod shipper;

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use self::numbered_log::LineFaults;
use self::shipper::{Program, Shipper};
use crate::measurement::figures::{float, megabytes_per_second, seconds_per_gigabyte};

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Nothing more comes when nothing has come for so long.
const STANDSTILL: Duration = Duration::from_secs(8);

/// How long a killed end is down.
const DOWN: Duration = Duration::from_secs(2);

/// One shipper's figures.
struct Measured {
    megabytes_per_second: f64,
    sender_cpu: f64,
    receiver_cpu: f64,
    faults: LineFaults,
    seconds_with_faults: f64,
}

/// Ships a log of so many numbered lines with each program, without and with kills.
pub(crate) fn peers(binary: &Path, folder: &Path, lines: u64) -> anyhow::Result<String> {
    let log = folder.join("access.log");
    let bytes =
        numbered_log::write(&log, lines).with_context(|| format!("cannot write {}", log.display()))?;
    let mut measured = Vec::new();
    for program in [Program::Logferry, Program::Rsyslog] {
        let shipper = |name| Shipper::new(program, binary, &folder.join(name), &log);
        let (wall, [sender, receiver]) = ship(shipper("fast")?, bytes)?;
        let (faults, took) = ship_with_kills(shipper("killed")?, bytes, lines)?;
        measured.push(Measured {
            megabytes_per_second: megabytes_per_second(bytes, wall),
            sender_cpu: seconds_per_gigabyte(sender, bytes),
            receiver_cpu: seconds_per_gigabyte(receiver, bytes),
            faults,
            seconds_with_faults: took.as_secs_f64(),
        });
        for name in ["fast", "killed"] {
            std::fs::remove_dir_all(folder.join(name)).context("cannot remove a test folder")?;
        }
    }
    let mut text = format!("{lines} numbered lines, logferry and rsyslog over TCP\n\n");
    let _ = writeln!(text, "{:44}{:>12}{:>12}", "", "logferry", "rsyslog");
    let mut row = |name, figure: fn(&Measured) -> f64, decimals: usize| {
        let _ = write!(text, "{name:44}");
        for one in &measured {
            let _ = write!(text, "{:>12.decimals$}", figure(one));
        }
        text.push('\n');
    };
    row("file to receiver, MB/s", |one| one.megabytes_per_second, 0);
    row("sender, CPU-s/GB", |one| one.sender_cpu, 2);
    row("receiver, CPU-s/GB", |one| one.receiver_cpu, 2);
    row("kill -9 of each end: lost", |one| float(one.faults.lost), 0);
    row("kill -9 of each end: doubled", |one| float(one.faults.doubled), 0);
    row(
        "kill -9 of each end: out of order",
        |one| float(one.faults.out_of_order),
        0,
    );
    row(
        "kill -9 of each end: all seconds",
        |one| one.seconds_with_faults,
        1,
    );
    Ok(text)
}

/// Ships all of the log. Returns the time from the sender's start, and the CPU time of sender and receiver.
fn ship(mut shipper: Shipper, bytes: u64) -> anyhow::Result<(Duration, [Duration; 2])> {
    nix::unistd::sync();
    shipper.start_receiver()?;
    let start = Instant::now();
    shipper.start_sender()?;
    let stored = wait_until(&shipper, bytes)?;
    ensure!(stored >= bytes, "only {stored} of {bytes} bytes arrived");
    Ok((start.elapsed(), shipper.cpu()?))
}

/// Ships all of the log; the sender is killed after a quarter, the receiver after three fifths.
fn ship_with_kills(mut shipper: Shipper, bytes: u64, lines: u64) -> anyhow::Result<(LineFaults, Duration)> {
    shipper.start_receiver()?;
    let start = Instant::now();
    shipper.start_sender()?;
    wait_until(&shipper, bytes / 4)?;
    shipper.kill_sender();
    thread::sleep(DOWN);
    shipper.start_sender()?;
    wait_until(&shipper, bytes / 5 * 3)?;
    shipper.kill_receiver();
    thread::sleep(DOWN);
    shipper.start_receiver()?;
    // Doubled lines are more bytes: the end is when nothing comes any more.
    wait_until(&shipper, u64::MAX)?;
    let took = start.elapsed().saturating_sub(STANDSTILL);
    let files = shipper.files()?;
    Ok((numbered_log::check(&files, lines)?, took))
}

/// Waits until so many bytes are stored, or nothing comes any more. Returns how many are.
fn wait_until(shipper: &Shipper, bytes: u64) -> anyhow::Result<u64> {
    let (mut stored, mut since) = (0, Instant::now());
    loop {
        let now = shipper.stored_bytes()?;
        if now != stored {
            (stored, since) = (now, Instant::now());
        }
        if stored >= bytes || since.elapsed() > STANDSTILL {
            return Ok(stored);
        }
        thread::sleep(POLL_INTERVAL);
    }
}
