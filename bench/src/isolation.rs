//! One group's latency alone, and while another group of the same relay is flooded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::latency::{LineWriter, follow, percentile};
use crate::process::Child;
use crate::report::{Good, Row, table};
use crate::site::{self, Site};

/// The group of the one sender whose lines are timed.
const QUIET: usize = 0;
/// The group that is flooded.
const FLOODED: usize = 1;

/// Times one sender's lines for so many seconds, alone and then beside a flood from so many connections.
pub(crate) fn isolation(
    binary: &Path,
    folder: &Path,
    connections: u16,
    seconds: u32,
) -> anyhow::Result<String> {
    let folder = folder.join("site");
    let mut site = Site::start_with_groups(binary, &folder, 2)?;
    let log = folder.join("access.log");
    let mut writer = LineWriter::new(&log).with_context(|| format!("cannot make {}", log.display()))?;
    writer.append()?;
    site.add_sender(&log, "0s")?;
    let quiet = site::source(QUIET);
    site.wait_for_lines(1, Duration::from_millis(1))?;
    let at_first = site.commit_times(QUIET)?;
    let alone = follow(&mut site, &mut writer, &quiet, seconds)?;
    let between = site.commit_times(QUIET)?;
    let flood = start_flood(&site, connections)?;
    let flooded = follow(&mut site, &mut writer, &quiet, seconds)?;
    drop(flood);
    let at_last = site.commit_times(QUIET)?;
    site.finish(writer.written)?;

    let row = |name, targets, value: &dyn Fn(&[Duration]) -> f64| Row {
        name,
        values: vec![value(&alone), value(&flooded)],
        decimals: 1,
        good: Good::Low,
        targets,
    };
    let at = |percent| move |times: &[Duration]| percentile(times, percent).as_secs_f64() * 1e3;
    let commits = |name, percent, targets| Row {
        name,
        values: vec![
            between.percentile_since(&at_first, percent),
            at_last.percentile_since(&between, percent),
        ],
        decimals: 1,
        good: Good::Low,
        targets,
    };
    let rows = [
        commits("commit, p50, ms", 50.0, ["", ""]),
        commits("commit, p99, ms", 99.0, ["≤ 2 ×", ""]),
        row("line to durable, p50, ms", ["", ""], &at(50)),
        row("line to durable, p99, ms", ["", ""], &at(99)),
    ];
    let title = format!(
        "one group at 100 lines/s; best: alone, worst: {connections} connections flood another group"
    );
    Ok(table(&title, &rows))
}

fn start_flood(site: &Site, connections: u16) -> anyhow::Result<Child> {
    let address = site
        .addresses()
        .get(FLOODED)
        .context("the relay has two groups")?;
    let this = std::env::current_exe().context("cannot find out where this program is")?;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(this).arg("flood");
    command.arg(address.to_string()).arg(connections.to_string());
    Child::start(command.stdin(Stdio::null()))
}
