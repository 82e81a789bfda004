//! One group's latency alone, and during an overload of another group of the same relay.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::latency::{RATE, quiet_rate, quiet_sender};
use crate::measurement::figures::{milliseconds, percentile};
use crate::measurement::line_syncs::line_syncs;
use crate::measurement::process::Child;
use crate::testbed::relay_testbed::{RelayTestbed, source_name};

/// The group with the one sender whose lines are timed.
const QUIET_GROUP: usize = 0;
/// The group with the overload.
const OVERLOADED_GROUP: usize = 1;

/// Times one sender's lines, and a program that only syncs, each for `seconds` alone, and for `seconds` during an overload
/// from `connections`.
pub(crate) fn isolation(
    binary: &Path,
    folder: &Path,
    connections: u16,
    seconds: u32,
) -> anyhow::Result<String> {
    let (mut testbed, mut writer) = quiet_sender(binary, &folder.join("testbed"), 2, "0s")?;
    let sources = [source_name(QUIET_GROUP)];
    let (mut figures, mut syncs) = (Vec::new(), Vec::new());
    for is_overloaded in [false, true] {
        let overload = is_overloaded.then(|| start_overload(&testbed, connections));
        let overload = overload.transpose()?;
        let before = testbed.commit_times(QUIET_GROUP)?;
        let times = writer.time_lines(&mut testbed, &sources, quiet_rate(seconds))?;
        let commits = testbed.commit_times(QUIET_GROUP)?;
        let syncs_only = line_syncs(folder, RATE, seconds)?;
        drop(overload);
        figures.push([
            commits.percentile_since(&before, 50.0),
            commits.percentile_since(&before, 99.0),
            milliseconds(percentile(&times, 50)),
            milliseconds(percentile(&times, 99)),
            milliseconds(percentile(&times, 100)),
        ]);
        syncs.push([50, 99, 100].map(|percent| milliseconds(percentile(&syncs_only, percent))));
    }
    testbed.finish(writer.written())?;
    let mut text = format!(
        "one group at {RATE} lines/s, and a program that only syncs; {connections} connections overload another group\n\n\
         {:36}{:>10}{:>10}{:>10}{:>10}\n",
        "", "alone", "beside", "ratio", "target"
    );
    let names = [
        "commit, p50, ms",
        "commit, p99, ms",
        "line to durable, p50, ms",
        "line to durable, p99, ms",
        "line to durable, worst, ms",
    ];
    let mut line = |name, times: [Option<&f64>; 2], target| {
        let [alone, beside] = times.map(|time| time.copied().unwrap_or(f64::NAN));
        let ratio = beside / alone;
        let _ = writeln!(
            text,
            "{name:36}{alone:>10.1}{beside:>10.1}{ratio:>10.2}{target:>10}"
        );
    };
    for (row, name) in names.into_iter().enumerate() {
        let times = [0, 1].map(|case: usize| figures.get(case)?.get(row));
        line(name, times, if row == 1 { "≤ 2" } else { "" });
    }
    for (row, name) in [
        "program that only syncs, p50, ms",
        "program that only syncs, p99, ms",
        "program that only syncs, worst, ms",
    ]
    .into_iter()
    .enumerate()
    {
        line(name, [0, 1].map(|case: usize| syncs.get(case)?.get(row)), "");
    }
    Ok(text)
}

fn start_overload(testbed: &RelayTestbed, connections: u16) -> anyhow::Result<Child> {
    let address = testbed.addresses.get(OVERLOADED_GROUP);
    let address = address.context("the relay has two groups")?;
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(this).arg("overload");
    command.arg(address.to_string()).arg(connections.to_string());
    Child::start(command.stdin(Stdio::null()))
}
