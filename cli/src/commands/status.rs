//! `logferry status`: shows the present state.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Config;
use logferry_ledger::DestinationState;
use logferry_monitor::status::{DiskState, SourceStatus, StatusReport, StatusScope, status};
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;
use logferry_text::{Table, count, duration, size};

use crate::args::StatusArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::sender_host;

/// Time between two outputs with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// A smaller difference between two clocks is not shown.
const CLOCK_DIFFERENCE_SHOWN: Duration = Duration::from_mins(1);

/// Problems of one source that are shown: a host with thousands of logs can have as many.
const PROBLEMS_SHOWN: usize = 20;

/// Files of one source that are named as left alone.
const NEIGHBOURS_SHOWN: usize = 10;

/// The documented defaults, for a configuration without a monitor or a relay section.
const STALE_AFTER: Duration = Duration::from_mins(5);
const MIN_FREE_DISK: u64 = 1 << 30;

/// Prints the status once; with `--watch` until Ctrl-C or until the reader of stdout goes away.
pub(crate) fn run(file: &Path, options: &StatusArgs) -> Result {
    let config = configuration::load(file)?;
    if let Some(sender) = config
        .sender
        .as_ref()
        .filter(|_| config.data_dirs().next().is_none())
    {
        return repeat(options, || sender_host::show(&sender.state_dir, options.json));
    }
    let data_dir = configuration::data_dir(file, &config)?;
    repeat(options, || {
        let status = read_status(&data_dir, &config)?;
        let text = if options.json {
            serde_json::to_string(&status)? + "\n"
        } else {
            text(&status, Timestamp::now())
        };
        Ok((text, status.is_healthy()))
    })
}

/// Prints a text that says whether all is well; with `--watch` again and again.
fn repeat(options: &StatusArgs, read: impl Fn() -> Result<(String, bool)>) -> Result {
    loop {
        let (text, is_healthy) = read()?;
        if options.watch && !options.json && io::stdout().is_terminal() {
            // Cursor to the first row, and clear the screen (ECMA-48, CUP and ED).
            console::print("\x1b[H\x1b[2J")?;
        }
        let is_read = console::print_while_read(text.as_bytes())?;
        if !options.watch || !is_read {
            return Ok(CommandOutcome::fine_if(is_healthy));
        }
        thread::sleep(WATCH_INTERVAL);
    }
}

fn read_status(data_dir: &Path, config: &Config) -> Result<StatusReport> {
    let (monitor, relay) = (config.monitor.as_ref(), config.relay.as_ref());
    let groups = relay.iter().flat_map(|relay| &relay.groups);
    let groups: Vec<_> = groups.map(|group| group.name.clone()).collect();
    let scope = StatusScope {
        expected_sources: monitor.map_or(&[], |monitor| &monitor.expected_sources),
        stale_after: monitor.map_or(STALE_AFTER, |monitor| monitor.stale_after),
        groups: &groups,
        destinations: &configuration::subscribers(config),
        min_free_disk: relay.map_or(MIN_FREE_DISK, |relay| relay.limits.min_free_disk),
    };
    Ok(status(data_dir, &scope, Timestamp::now())?)
}

fn text(status: &StatusReport, now: Timestamp) -> String {
    let batches = status.batches;
    let unwanted = match batches.unwanted {
        0 => String::new(),
        unwanted => format!(" ({} WANTED BY NO DESTINATION)", count(unwanted)),
    };
    let disk = match status.disk.state {
        DiskState::Ok => "",
        DiskState::Low => " (LOW: no lines are accepted until there is more free space)",
    };
    format!(
        "{}{}{}{}\n{}{}{}\nbatches: {} open, {} ready{unwanted}, {} sent, {} failed\ndisk: {} free{disk}\n",
        sources(status, now),
        problems(status, now),
        neighbours(status),
        groups(status),
        destinations(status, now),
        in_flight(status),
        held(status, now),
        count(batches.open),
        count(batches.ready),
        count(batches.sent),
        count(batches.failed),
        size(status.disk.free_bytes),
    )
}

fn sources(status: &StatusReport, now: Timestamp) -> Table<9> {
    let mut table = Table::new([
        "source",
        "group",
        "state",
        ">last line",
        ">last contact",
        ">lag",
        ">oldest unread",
        ">lines in the last hour",
        "version",
    ]);
    for source in &status.sources {
        let group = source.group.as_ref().map_or("-", |group| group.as_str());
        table.row([
            source.source.to_string(),
            group.to_owned(),
            source.state.as_str().to_owned(),
            ago(source.last_line_at, now),
            ago(source.last_contact_at, now),
            source.lag_bytes.map_or_else(|| "unknown".to_owned(), size),
            seconds(source.oldest_unread_seconds),
            count(source.lines_last_hour),
            source.version.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

/// The problems of sources that an operator should look at.
fn problems(status: &StatusReport, now: Timestamp) -> String {
    let mut table = Table::new(["source", "needs a look"]);
    for source in &status.sources {
        let problems = problems_of(source, now);
        let more = problems.len().saturating_sub(PROBLEMS_SHOWN);
        for problem in problems.into_iter().take(PROBLEMS_SHOWN) {
            table.row([source.source.to_string(), problem]);
        }
        if more > 0 {
            let more = format!("and {} more; --json has all", count(more as u64));
            table.row([source.source.to_string(), more]);
        }
    }
    table.section()
}

fn problems_of(source: &SourceStatus, now: Timestamp) -> Vec<String> {
    let lost = source.gaps.iter().map(|gap| {
        let (from, until) = (count(gap.from.get()), count(gap.until.map_or(0, Offset::get)));
        let (noticed, path) = (ago(Some(gap.noticed_at), now), &gap.path);
        format!("LOST {noticed}: bytes {from} to {until} of {path} were gone before they were sent")
    });
    let at_risk = source.streams.iter().filter(|stream| stream.at_risk);
    let at_risk = at_risk.map(|stream| {
        let event = if stream.deleted { "deleted" } else { "rotated" };
        let (lag, oldest) = (size(stream.lag_bytes), seconds(stream.oldest_unread_seconds));
        let path = &stream.path;
        format!("at risk: {path}, {event}, {lag} not stored here yet, oldest line {oldest}")
    });
    let unseen = source.log_problems.iter();
    let unseen = unseen.map(|problem| format!("{}: {}", problem.path, problem.reason));
    let held = source.held_files.iter();
    let held = held.map(|file| format!("not shipped: {}: {}", file.path, file.reason));
    let senders: Vec<_> = source
        .senders
        .iter()
        .map(|sender| format!("{} at {}", sender.id, sender.address))
        .collect();
    let moved = source.address.map(SourceId::from).filter(|address| {
        let is_address = source.source.as_str().parse::<IpAddr>().is_ok();
        is_address && *address != source.source
    });
    let moved = moved.map(|address| format!("it comes from {address} now; its name stays"));
    let together = (!senders.is_empty()).then(|| {
        let senders = senders.join(", ");
        format!("{senders} send for it at the same time: give one of them a `source:` name or an address of its own")
    });
    let failing = source.checkpoint_failing_since;
    let checkpoint = failing.map(|since| format!("its sender cannot write to its state_dir since {since}"));
    let difference = source.clock_difference_seconds.unwrap_or(0);
    let clock = (difference.unsigned_abs() > CLOCK_DIFFERENCE_SHOWN.as_secs()).then(|| {
        let side = if difference > 0 { "behind" } else { "ahead" };
        format!("its clock is {} {side}", seconds(difference.unsigned_abs()))
    });
    lost.chain(at_risk)
        .chain(unseen)
        .chain(held)
        .chain(together)
        .chain(moved)
        .chain(checkpoint)
        .chain(clock)
        .collect()
}

/// The files beside logs that are not taken for rotated files. That is no problem, unless somebody thinks they are shipped.
fn neighbours(status: &StatusReport) -> String {
    let mut table = Table::new(["source", "left alone, as rotation does not make such names"]);
    for source in status
        .sources
        .iter()
        .filter(|source| !source.neighbours.is_empty())
    {
        let more = source.neighbours.len().saturating_sub(NEIGHBOURS_SHOWN);
        let mut names: Vec<_> = source.neighbours.iter().take(NEIGHBOURS_SHOWN).cloned().collect();
        names.extend((more > 0).then(|| format!("and {} more", count(more as u64))));
        table.row([source.source.to_string(), names.join(", ")]);
    }
    table.section()
}

/// The relay's groups; nothing if there is none.
fn groups(status: &StatusReport) -> String {
    let mut table = Table::new([
        "group",
        "state",
        ">sources",
        ">lines/s",
        ">in flight",
        ">refused",
        "reason",
    ]);
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    for group in &status.groups {
        table.row([
            group.group.to_string(),
            group.state_name().to_owned(),
            count(group.sources),
            or_dash(group.lines_per_second.map(|rate| format!("{rate:.1}"))),
            or_dash(group.requests_in_flight.map(count)),
            or_dash(group.refused_requests.map(count)),
            group.reason.clone().unwrap_or_default(),
        ]);
    }
    table.section()
}

fn destinations(status: &StatusReport, now: Timestamp) -> Table<6> {
    let mut table = Table::new([
        "destination",
        "state",
        ">last delivery",
        ">waiting",
        ">oldest",
        "error",
    ]);
    for destination in &status.destinations {
        let state = match destination.state {
            DestinationState::Up => "up",
            DestinationState::Down => "down",
            DestinationState::Unknown => "unknown",
        };
        table.row([
            destination.name.to_string(),
            state.to_owned(),
            ago(destination.last_delivery_at, now),
            count(destination.waiting_batches),
            seconds(destination.oldest_waiting_seconds),
            destination.error.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// The batches in flight; nothing if each delivery takes less than a second.
fn in_flight(status: &StatusReport) -> String {
    let mut table = Table::new(["destination", "in flight", ">sent", ">of", ">", ">per second"]);
    for destination in &status.destinations {
        for batch in &destination.in_flight {
            let (done, total) = (batch.bytes_done, batch.bytes_total);
            table.row([
                destination.name.to_string(),
                batch.batch.clone(),
                size(done),
                size(total),
                format!("{} %", u128::from(done) * 100 / u128::from(total.max(1))),
                size(batch.bytes_per_second),
            ]);
        }
    }
    table.section()
}

/// The batches that destinations refused; nothing if there is none.
fn held(status: &StatusReport, now: Timestamp) -> String {
    let mut table = Table::new(["destination", "refused", ">times", ">retry in", "error"]);
    for destination in &status.destinations {
        for batch in &destination.held {
            let at = batch.next_attempt_at;
            let wait = at.and_then(|at| at.duration_since(now).try_into().ok());
            table.row([
                destination.name.to_string(),
                batch.batch.clone(),
                count(batch.attempts.into()),
                duration(wait.unwrap_or_default()),
                batch.error.clone(),
            ]);
        }
    }
    table.section()
}

fn seconds(number: u64) -> String {
    duration(Duration::from_secs(number))
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    let age = at.map(|at| duration(now.duration_since(at).try_into().unwrap_or_default()));
    age.map_or_else(|| "never".to_owned(), |age| format!("{age} ago"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_config::{DeliveryFilter, Subscriber};
    use logferry_ledger::Ledger;
    use logferry_monitor::status::{HeldBatch, InFlightStatus};

    #[test]
    fn text_shows_missing_sources_and_waiting_batches() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open_or_create(dir.path()).unwrap();
        let scope = StatusScope {
            expected_sources: &["198.51.100.1".parse().unwrap()],
            stale_after: STALE_AFTER,
            groups: &["web-1".parse().unwrap()],
            destinations: &[Subscriber {
                name: "edw".parse().unwrap(),
                filter: DeliveryFilter::default(),
            }],
            min_free_disk: u64::MAX,
        };
        let now = Timestamp::now();
        let mut status = status(dir.path(), &scope, now).unwrap();
        status.disk.free_bytes = 5 << 30;
        assert_eq!(
            text(&status, now),
            "source        group  state    last line  last contact      lag  oldest unread  lines in the last hour  version\n\
             198.51.100.1  -      missing      never         never  unknown            0 s                       0  -\n\n\
             group  state    sources  lines/s  in flight  refused  reason\n\
             web-1  unknown        0        -          -        -\n\n\
             destination  state    last delivery  waiting  oldest  error\n\
             edw          unknown          never        0     0 s\n\n\
             batches: 0 open, 0 ready, 0 sent, 0 failed\n\
             disk: 5.0 GiB free (LOW: no lines are accepted until there is more free space)\n"
        );
        status.destinations[0].in_flight.push(InFlightStatus {
            batch: "accessLog".to_owned(),
            bytes_done: 3 << 20,
            bytes_total: 8 << 20,
            bytes_per_second: 1536,
        });
        status.destinations[0].held.push(HeldBatch {
            batch: "other".to_owned(),
            attempts: 3,
            error: "permission denied".to_owned(),
            error_kind: None,
            next_attempt_at: now.checked_add(Duration::from_secs(42)).ok(),
        });
        let shown = text(&status, now);
        assert!(
            shown.contains(
                "destination  in flight     sent       of        per second\n\
                 edw          accessLog  3.0 MiB  8.0 MiB  37 %     1.5 KiB\n\n\
                 destination  refused  times  retry in  error\n\
                 edw          other        3      42 s  permission denied\n"
            ),
            "{shown}"
        );
        status.batches.unwanted = 1200;
        assert!(text(&status, now).contains("0 ready (1,200 WANTED BY NO DESTINATION), 0 sent"));
        let an_hour_ago = now.checked_sub(jiff::SignedDuration::from_mins(61)).unwrap();
        assert_eq!(ago(Some(an_hour_ago), now), "1 h 1 min ago");
        assert_eq!(ago(Some(now), an_hour_ago), "0 s ago");
    }
}
