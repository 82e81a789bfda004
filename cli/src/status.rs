//! `logferry status`: how things are now, for people or for programs.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::Config;
use logferry_ledger::DestinationState;
use logferry_monitor::status::{DiskState, SourceStatus, Status, StatusScope, status};
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
        destinations: &configuration::addressees(config),
        min_free_disk: config
            .relay
            .as_ref()
            .map_or(MIN_FREE_DISK, |relay| relay.limits.min_free_disk),
    };
    Ok(status(data_dir, &scope, Timestamp::now())?)
}

fn text(status: &Status, now: Timestamp) -> String {
    let batches = status.batches;
    let disk = match status.disk.state {
        DiskState::Ok => "",
        DiskState::Low => " (LOW: no lines are taken until there is room)",
    };
    format!(
        "{}{}\n{}\nbatches: {} open, {} ready{}, {} sent, {} failed\ndisk: {} free{disk}\n",
        sources(status, now),
        troubles(status, now),
        destinations(status, now),
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
    use logferry_config::{Addressee, Wants};
    use logferry_ledger::Ledger;

    #[test]
    fn text_says_who_is_missing_and_where_batches_wait() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open_or_create(dir.path()).unwrap();
        let scope = StatusScope {
            expected_sources: &["198.51.100.1".parse().unwrap()],
            stale_after: STALE_AFTER,
            destinations: &[Addressee {
                name: "edw".parse().unwrap(),
                wants: Wants::default(),
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
             destination  state    last delivery  waiting  oldest  error\n\
             edw          unknown          never        0     0 s\n\n\
             batches: 0 open, 0 ready, 0 sent, 0 failed\n\
             disk: 5.0 GiB free (LOW: no lines are taken until there is room)\n"
        );
        status.batches.unwanted = 1200;
        assert!(text(&status, now).contains("0 ready (1,200 WANTED BY NO DESTINATION), 0 sent"));
        let an_hour_ago = now.checked_sub(jiff::SignedDuration::from_mins(61)).unwrap();
        assert_eq!(ago(Some(an_hour_ago), now), "1 h 1 min ago");
        assert_eq!(ago(Some(now), an_hour_ago), "0 s ago");
    }
}
