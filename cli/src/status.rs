//! `logferry status`: how things are now, for people or for programs.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Config;
use logferry_ledger::DestinationState;
use logferry_monitor::status::{DiskState, SourceStatus, Status, StatusScope, status};
use logferry_protocol::names::GroupName;
use logferry_protocol::stream::Offset;

use crate::args;
use crate::configuration;
use crate::exit::{self, Outcome, Result};
use crate::table::{self, Side, Table};

/// Between two looks with `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Clocks that differ by less are not worth a word.
const CLOCK_DIFFERENCE_SHOWN: Duration = Duration::from_mins(1);

/// What the configuration's sections say where they are absent: their documented defaults.
const STALE_AFTER: Duration = Duration::from_mins(5);
const MIN_FREE_DISK: u64 = 1 << 30;

/// Looks, and prints what it sees; with `--watch` until Ctrl-C or until nobody reads on.
pub(crate) fn run(file: &Path, options: &args::Status) -> Result {
    let config = configuration::load(file)?;
    let data_dir = configuration::data_dir(file, &config)?;
    loop {
        let status = look(&data_dir, &config)?;
        let text = if options.json {
            serde_json::to_string(&status)? + "\n"
        } else {
            text(&status, Timestamp::now())
        };
        if options.watch && !options.json && io::stdout().is_terminal() {
            // From the first row of a cleared screen (ECMA-48, CUP and ED).
            exit::print("\x1b[H\x1b[2J")?;
        }
        let is_read = exit::print_while_read(&text)?;
        if !options.watch || !is_read {
            return Ok(if status.is_well() {
                Outcome::Fine
            } else {
                Outcome::Wrong
            });
        }
        thread::sleep(WATCH_EVERY);
    }
}

fn look(data_dir: &Path, config: &Config) -> Result<Status> {
    let monitor = config.monitor.as_ref();
    let scope = StatusScope {
        expected_sources: monitor.map_or(&[], |monitor| &monitor.expected_sources),
        stale_after: monitor.map_or(STALE_AFTER, |monitor| monitor.stale_after),
        groups: &groups_of(config),
        destinations: &configuration::subscribers(config),
        min_free_disk: config
            .relay
            .as_ref()
            .map_or(MIN_FREE_DISK, |relay| relay.limits.min_free_disk),
    };
    Ok(status(data_dir, &scope, Timestamp::now())?)
}

fn groups_of(config: &Config) -> Vec<GroupName> {
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    groups.map(|group| group.name.clone()).collect()
}

fn text(status: &Status, now: Timestamp) -> String {
    let batches = status.batches;
    let disk = match status.disk.state {
        DiskState::Ok => "",
        DiskState::Low => " (LOW: no lines are taken until there is room)",
    };
    format!(
        "{}{}\n{}{}{}{}\nbatches: {} open, {} ready{}, {} sent, {} failed\ndisk: {} free{disk}\n",
        sources(status, now),
        troubles(status, now),
        groups(status),
        destinations(status, now),
        in_flight(status),
        held(status, now),
        table::count(batches.open),
        table::count(batches.ready),
        unwanted(batches.unwanted),
        table::count(batches.sent),
        table::count(batches.failed),
        table::size(status.disk.free_bytes),
    )
}

/// What is to be said of batches that no destination wants.
fn unwanted(batches: u64) -> String {
    match batches {
        0 => String::new(),
        batches => format!(" ({} WANTED BY NO DESTINATION)", table::count(batches)),
    }
}

fn sources(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new([
        ("source", Side::Left),
        ("group", Side::Left),
        ("state", Side::Left),
        ("last line", Side::Right),
        ("last contact", Side::Right),
        ("lag", Side::Right),
        ("oldest unread", Side::Right),
        ("lines in the last hour", Side::Right),
        ("version", Side::Left),
    ]);
    for source in &status.sources {
        table.row([
            source.source.to_string(),
            source
                .group
                .as_ref()
                .map_or("-", |group| group.as_str())
                .to_owned(),
            source.state.as_str().to_owned(),
            ago(source.last_line_at, now),
            ago(source.last_contact_at, now),
            table::size(source.lag_bytes),
            table::span(Duration::from_secs(source.oldest_unread_seconds)),
            table::count(source.lines_last_hour),
            source.version.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.to_string()
}

/// What somebody should look at on the sources; nothing if all is well there.
fn troubles(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new([("source", Side::Left), ("needs a look", Side::Left)]);
    let mut any = false;
    for source in &status.sources {
        for trouble in troubles_of(source, now) {
            any = true;
            table.row([source.source.to_string(), trouble]);
        }
    }
    if any { format!("\n{table}") } else { String::new() }
}

fn troubles_of(source: &SourceStatus, now: Timestamp) -> Vec<String> {
    let lost = source.gaps.iter().map(|gap| {
        let until = gap.until.map_or(0, Offset::get);
        format!(
            "LOST {}: bytes {} to {} of {} were gone before they were sent",
            ago(Some(gap.noticed_at), now),
            table::count(gap.from.get()),
            table::count(until),
            gap.path,
        )
    });
    let at_risk = source
        .streams
        .iter()
        .filter(|stream| stream.at_risk)
        .map(|stream| {
            let what = if stream.deleted { "deleted" } else { "rotated" };
            format!(
                "at risk: {}, {what}, {} not here yet, oldest line {}",
                stream.path,
                table::size(stream.lag_bytes),
                table::span(Duration::from_secs(stream.oldest_unread_seconds)),
            )
        });
    let unreadable = source
        .unreadable_files
        .iter()
        .map(|path| format!("its sender cannot read {path}"));
    let checkpoint = source
        .checkpoint_failing_since
        .map(|since| format!("its sender cannot write its state folder since {since}"));
    let difference = source.clock_difference_seconds.unwrap_or(0);
    let clock = (difference.unsigned_abs() > CLOCK_DIFFERENCE_SHOWN.as_secs()).then(|| {
        let side = if difference > 0 { "behind" } else { "ahead" };
        let by = table::span(Duration::from_secs(difference.unsigned_abs()));
        format!("its clock is {by} {side}")
    });
    lost.chain(at_risk)
        .chain(unreadable)
        .chain(checkpoint)
        .chain(clock)
        .collect()
}

/// The relay's groups; nothing where there is no relay.
fn groups(status: &Status) -> String {
    let mut table = Table::new([
        ("group", Side::Left),
        ("state", Side::Left),
        ("sources", Side::Right),
        ("lines/s", Side::Right),
        ("in flight", Side::Right),
        ("refused", Side::Right),
        ("reason", Side::Left),
    ]);
    if status.groups.is_empty() {
        return String::new();
    }
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), table::count);
    for group in &status.groups {
        table.row([
            group.group.to_string(),
            group.state.as_str().to_owned(),
            table::count(group.sources),
            group
                .lines_per_second
                .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
            number(group.requests_in_flight),
            number(group.refused_requests),
            group.reason.clone().unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn destinations(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new([
        ("destination", Side::Left),
        ("state", Side::Left),
        ("last delivery", Side::Right),
        ("waiting", Side::Right),
        ("oldest", Side::Right),
        ("error", Side::Left),
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
            table::count(destination.waiting_batches),
            table::span(Duration::from_secs(destination.oldest_waiting_seconds)),
            destination.error.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// What is on its way; nothing if all arrives within moments.
fn in_flight(status: &Status) -> String {
    let mut table = Table::new([
        ("destination", Side::Left),
        ("on its way", Side::Left),
        ("done", Side::Right),
        ("of", Side::Right),
        ("", Side::Right),
        ("a second", Side::Right),
    ]);
    let mut any = false;
    for destination in &status.destinations {
        for batch in &destination.in_flight {
            any = true;
            table.row([
                destination.name.to_string(),
                batch.batch.clone(),
                table::size(batch.bytes_done),
                table::size(batch.bytes_total),
                format!("{} %", percent(batch.bytes_done, batch.bytes_total)),
                table::size(batch.bytes_per_second),
            ]);
        }
    }
    if any { format!("\n{table}") } else { String::new() }
}

fn percent(done: u64, total: u64) -> u128 {
    u128::from(done) * 100 / u128::from(total.max(1))
}

/// What a destination has refused; nothing if there is no such batch.
fn held(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new([
        ("destination", Side::Left),
        ("refused", Side::Left),
        ("times", Side::Right),
        ("again in", Side::Right),
        ("error", Side::Left),
    ]);
    let mut any = false;
    for destination in &status.destinations {
        for batch in &destination.held {
            any = true;
            let wait = batch.next_attempt_at.map_or(Duration::ZERO, |at| {
                at.duration_since(now).try_into().unwrap_or_default()
            });
            table.row([
                destination.name.to_string(),
                batch.batch.clone(),
                table::count(batch.attempts.into()),
                table::span(wait),
                batch.error.clone(),
            ]);
        }
    }
    if any { format!("\n{table}") } else { String::new() }
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        Some(at) => format!(
            "{} ago",
            table::span(now.duration_since(at).try_into().unwrap_or_default())
        ),
        None => "never".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_config::{DeliveryFilter, Subscriber};
    use logferry_ledger::Ledger;
    use logferry_monitor::status::{HeldBatch, InFlightStatus};

    #[test]
    fn text_says_who_is_missing_and_where_batches_wait() {
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
            "source        group  state    last line  last contact  lag  oldest unread  lines in the last hour  version\n\
             198.51.100.1  -      missing      never         never  0 B            0 s                       0  -\n\n\
             group  state    sources  lines/s  in flight  refused  reason\n\
             web-1  unknown        0        -          -        -\n\n\
             destination  state    last delivery  waiting  oldest  error\n\
             edw          unknown          never        0     0 s\n\n\
             batches: 0 open, 0 ready, 0 sent, 0 failed\n\
             disk: 5.0 GiB free (LOW: no lines are taken until there is room)\n"
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
                "destination  on its way     done       of        a second\n\
                 edw          accessLog   3.0 MiB  8.0 MiB  37 %   1.5 KiB\n\n\
                 destination  refused  times  again in  error\n\
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
