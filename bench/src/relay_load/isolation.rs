//! One group's latency alone, and during an overload of another group of the same relay.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::latency::{quiet_rate, quiet_sender};
use crate::measurement::figures::{milliseconds, percentile};
use crate::measurement::process::Child;
use crate::measurement::table::{low, table};
use crate::testbed::relay_testbed::{RelayTestbed, source_name};

/// The group with the one sender whose lines are timed.
const QUIET_GROUP: usize = 0;
/// The group with the overload.
const OVERLOADED_GROUP: usize = 1;

/// Times one sender's lines for `seconds` alone, and for `seconds` during an overload from `connections`.
pub(crate) fn isolation(
    binary: &Path,
    folder: &Path,
    connections: u16,
    seconds: u32,
) -> anyhow::Result<String> {
    let (mut testbed, mut writer) = quiet_sender(binary, &folder.join("testbed"), 2, "0s")?;
    let sources = [source_name(QUIET_GROUP)];
    let mut figures = Vec::new();
    for is_overloaded in [false, true] {
        let overload = is_overloaded.then(|| start_overload(&testbed, connections));
        let overload = overload.transpose()?;
        let before = testbed.commit_times(QUIET_GROUP)?;
        let times = writer.time_lines(&mut testbed, &sources, quiet_rate(seconds))?;
        let commits = testbed.commit_times(QUIET_GROUP)?;
        drop(overload);
        figures.push([
            commits.percentile_since(&before, 50.0),
            commits.percentile_since(&before, 99.0),
            milliseconds(percentile(&times, 50)),
            milliseconds(percentile(&times, 99)),
        ]);
    }
    testbed.finish(writer.written())?;
    let rows = [
        low("commit, p50, ms", 1, ["", ""]),
        low("commit, p99, ms", 1, ["≤ 2 ×", ""]),
        low("line to durable, p50, ms", 1, ["", ""]),
        low("line to durable, p99, ms", 1, ["", ""]),
    ];
    let title = format!(
        "one group at 100 lines/s; best: alone, worst: {connections} connections overload another group"
    );
    Ok(table(&title, &rows, &figures))
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
