//! Single lines at the pace of a quiet host: the time from append to commit.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::measurement::figures::{milliseconds, percentile};
use crate::testbed::line_writer::{LineWriter, WriteRate};
use crate::testbed::relay_testbed::{RelayTestbed, source_name};

/// The measured settings of `max_delay`, none and the default, with the targets of p50 and p99.
const SETTINGS: [(&str, &str); 2] = [("0s", "≤ 2 / 10"), ("1s", "≤ 1010 / 1050")];

/// Lines per second.
pub(crate) const RATE: u32 = 100;

/// The pace of a quiet host.
pub(crate) const fn quiet_rate(seconds: u32) -> WriteRate {
    WriteRate {
        rate: RATE,
        seconds,
        flush: Duration::ZERO,
        poll: Duration::from_micros(500),
    }
}

/// Appends lines for `seconds` with each setting. Returns the table of times.
pub(crate) fn latency(binary: &Path, folder: &Path, seconds: u32) -> anyhow::Result<String> {
    let mut text = format!(
        "append to durable at the relay, {RATE} lines/s for {seconds} s, ms\n\n\
         {:12}{:>10}{:>10}{:>10}{:>20}\n",
        "max_delay", "p50", "p99", "worst", "target p50 / p99"
    );
    for (max_delay, target) in SETTINGS {
        let folder = folder.join(max_delay);
        let (mut testbed, mut writer) = quiet_sender(binary, &folder, 1, max_delay)?;
        let times = writer.time_lines(&mut testbed, &[source_name(0)], quiet_rate(seconds))?;
        testbed.finish(writer.written())?;
        let [p50, p99, worst] = [50, 99, 100].map(|percent| milliseconds(percentile(&times, percent)));
        let _ = writeln!(
            text,
            "{max_delay:12}{p50:>10.1}{p99:>10.1}{worst:>10.1}{target:>20}"
        );
    }
    Ok(text)
}

/// A relay of `groups` groups, and one sender in the first of them whose log has one committed line.
pub(crate) fn quiet_sender(
    binary: &Path,
    folder: &Path,
    groups: u8,
    max_delay: &str,
) -> anyhow::Result<(RelayTestbed, LineWriter)> {
    let mut testbed = RelayTestbed::start(binary, folder, groups)?;
    let log = folder.join("access.log");
    let writer = LineWriter::new(&log)?;
    testbed.add_sender(&log, max_delay)?;
    testbed.wait_for_lines(1, Duration::from_millis(1))?;
    Ok((testbed, writer))
}
