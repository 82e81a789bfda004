//! `logferry status`: shows the present state. The text fits 80 columns, and uses more where the terminal has them.

mod beside_relay;
mod sections;
mod sources;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::Config;
use logferry_inspection::status::{DiskState, StatusReport, StatusScope, status};
use logferry_text::{Table, about, count, count_of, duration, size, wrapped_to};

use self::beside_relay::{collector, status_beside_relay};
use crate::args::StatusArgs;
use crate::collector_host::CollectorHost;
use crate::configuration;
use crate::output::age::ago;
use crate::output::exit::{CommandOutcome, Result};
use crate::output::list::list;
use crate::output::{console, paint, terminal};

/// Time between two outputs with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The documented defaults, for a configuration without a monitor or a relay section.
const STALE_AFTER: Duration = Duration::from_mins(5);
const MIN_FREE_DISK: u64 = 1 << 30;

/// Prints the status once; with `--watch` until Ctrl-C or until the reader of stdout goes away.
pub(crate) fn run(file: &Path, options: &StatusArgs) -> Result {
    let config = configuration::load(file)?;
    if config.data_dirs().next().is_none() {
        return repeat(options, || status_beside_relay(file, &config, options));
    }
    let data_dir = configuration::data_dir(file, &config)?;
    repeat(options, || {
        let status = read_status(&data_dir, &config)?;
        let collector = collector(file, &config)?;
        let is_healthy = status.is_healthy() && collector.as_ref().is_none_or(CollectorHost::is_healthy);
        if options.json {
            let mut json = serde_json::to_value(&status)?;
            if let Some(collector) = &collector {
                json["collector"] = collector.as_json();
            }
            return Ok((json.to_string() + "\n", is_healthy));
        }
        let mut text = text(&status, Timestamp::now(), terminal::columns());
        if let Some(collector) = &collector {
            text = format!("{text}\n{}", collector.as_text(terminal::columns()));
        }
        Ok((text, is_healthy))
    })
}

/// Prints a text that says whether all is well; with `--watch` again and again.
fn repeat(options: &StatusArgs, read: impl Fn() -> Result<(String, bool)>) -> Result {
    loop {
        let (mut text, is_healthy) = read()?;
        if !options.json && options.watch {
            text = timed(&text, Timestamp::now());
        }
        if !options.json && io::stdout().is_terminal() {
            text = paint::painted(&text);
            if options.watch {
                text = paint::redrawn(&text, terminal::rows(), terminal::columns());
            }
        }
        let is_read = console::print_while_read(text.as_bytes())?;
        if !options.watch || !is_read {
            return Ok(CommandOutcome::fine_if(is_healthy));
        }
        thread::sleep(WATCH_INTERVAL);
    }
}

/// The text below the time at which it was true.
fn timed(text: &str, now: Timestamp) -> String {
    let zoned = now.to_zoned(TimeZone::system());
    format!("{}\n\n{text}", zoned.strftime("%F %T %:z"))
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
        roles: &sections::watched_roles(data_dir, config),
    };
    let now = Timestamp::now();
    let report = status(data_dir, &scope, now)?;
    let sink = config
        .indexer
        .as_ref()
        .and_then(|indexer| indexer.opensearch.as_ref());
    Ok(match sink {
        Some(_) => report,
        None => report.without_opensearch(now),
    })
}

/// The status for people.
fn text(status: &StatusReport, now: Timestamp, columns: usize) -> String {
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
        "{}{}{}{}{}\n{}{}{}\nbatches: {} open, {} ready{unwanted}, {} sent, {} failed\ndisk: {} free{disk}\n{}{}{}{}{}{}",
        sources::table(status, now, columns),
        sources::problems(status, now, columns),
        sources::neighbours(status, columns),
        groups(status, columns),
        sections::roles(status, now),
        destinations(status, now, columns),
        in_flight(status, columns),
        held(status, now, columns),
        count(batches.open),
        count(batches.ready),
        count(batches.sent),
        count(batches.failed),
        size(status.disk.free_bytes),
        sections::housekeeper(status, now),
        sections::index(status, now, columns),
        sections::mails(status),
        sections::channels(status, columns),
        sections::incidents(status, now, columns),
        sections::problems(status, columns),
    )
}

/// The relay's groups; nothing if there is none.
fn groups(status: &StatusReport, columns: usize) -> String {
    let mut table = Table::new(["group", "state", ">sources", ">lines/s", ">in flight", ">refused"]);
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    for group in &status.groups {
        table.row([
            group.group.to_string(),
            group.state_name().to_owned(),
            count(group.sources),
            or_dash(group.lines_per_second.map(|rate| format!("{rate:.1}"))),
            or_dash(group.requests_in_flight.map(count)),
            or_dash(group.refused_requests.map(count)),
        ]);
    }
    let reasons = status.groups.iter().filter_map(|group| {
        let reason = group.reason.as_ref()?;
        Some(wrapped_to(columns, &format!("{}: {reason}", group.group)))
    });
    table.section() + &reasons.collect::<String>()
}

fn destinations(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    let mut table = Table::new(["destination", "state", ">last delivery", ">waiting", ">oldest"]);
    for destination in &status.destinations {
        table.row([
            destination.name.to_string(),
            destination.state_name().to_owned(),
            ago(destination.last_delivery_at, now),
            count(destination.waiting_batches),
            seconds(destination.oldest_waiting_seconds),
        ]);
    }
    let errors = status.destinations.iter().filter_map(|destination| {
        let error = destination.error.as_ref()?;
        Some(wrapped_to(columns, &format!("{}: {error}", destination.name)))
    });
    table.to_string() + &errors.collect::<String>()
}

/// The batches in flight; nothing if each delivery takes less than a second.
fn in_flight(status: &StatusReport, columns: usize) -> String {
    let destinations = status.destinations.iter();
    let lines = destinations.flat_map(|destination| {
        destination.in_flight.iter().map(|batch| {
            let (done, total) = (batch.bytes_done, batch.bytes_total);
            let percent = u128::from(done) * 100 / u128::from(total.max(1));
            let (name, speed) = (&destination.name, size(batch.bytes_per_second));
            let (done, total) = (size(done), size(total));
            format!(
                "{}: to {name}, {done} of {total} ({percent} %), {speed} per second",
                batch.batch
            )
        })
    });
    list("in flight:", lines, columns)
}

/// The batches that destinations refused; nothing if there is none.
fn held(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    let destinations = status.destinations.iter();
    let lines = destinations.flat_map(|destination| {
        destination.held.iter().map(|batch| {
            let wait = batch
                .next_attempt_at
                .and_then(|at| at.duration_since(now).try_into().ok());
            let (name, wait) = (&destination.name, duration(wait.unwrap_or_default()));
            let attempts = count_of(batch.attempts.into(), "attempt");
            format!(
                "{}: by {name}, {attempts}, the next in {wait}: {}",
                batch.batch, batch.error
            )
        })
    });
    list("refused:", lines, columns)
}

fn seconds(number: u64) -> String {
    duration(Duration::from_secs(number))
}

/// The age of a time, for a narrow column.
fn short_age(at: Option<Timestamp>, now: Timestamp) -> String {
    let age = at.map(|at| about(now.duration_since(at).try_into().unwrap_or_default()));
    age.unwrap_or_else(|| "never".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_config::{DeliveryFilter, Subscriber};
    use logferry_inspection::status::{ChannelStatus, HeldBatch, InFlightStatus, WatchedRole};
    use logferry_ledger::Ledger;

    /// Of a host whose relay never ran, with a source and a destination.
    fn status_before_the_first_start(dir: &Path, now: Timestamp) -> StatusReport {
        Ledger::open_or_create(dir).unwrap();
        let scope = StatusScope {
            expected_sources: &["198.51.100.1".parse().unwrap()],
            stale_after: STALE_AFTER,
            groups: &["web-1".parse().unwrap()],
            destinations: &[Subscriber {
                name: "edw".parse().unwrap(),
                filter: DeliveryFilter::default(),
            }],
            min_free_disk: u64::MAX,
            roles: &[WatchedRole {
                name: "relay",
                folder: dir,
                is_configured: true,
                file_problems: Vec::new(),
            }],
        };
        status(dir, &scope, now).unwrap()
    }

    #[test]
    fn text_shows_missing_sources_and_waiting_batches() {
        let (dir, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let mut status = status_before_the_first_start(dir.path(), now);
        status.disk.free_bytes = 5 << 30;
        let low = status.problems.remove(0).text;
        assert!(
            low.starts_with("the disk of data_dir has ") && low.contains("min_free_disk"),
            "{low}"
        );
        let mut long = status.problems[0].clone();
        long.text = "a long reason ".repeat(6) + "and its cure";
        status.problems.push(long);
        assert_eq!(
            text(&status, now, 80),
            "source        group  state     line  contact      lag   unread  lines/h\n\
             198.51.100.1  -      missing  never    never  unknown  unknown        0\n\n\
             group  state    sources  lines/s  in flight  refused\n\
             web-1  unknown        0        -          -        -\n\n\
             role   state    since       host\n\
             relay  unknown  never seen  -\n\n\
             destination  state    last delivery  waiting  oldest\n\
             edw          unknown          never        0     0 s\n\n\
             batches: 0 open, 0 ready, 0 sent, 0 failed\n\
             disk: 5.0 GiB free (LOW: no lines are accepted until there is more free space)\n\n\
             exit code 1, because:\n\
             - the relay has a section and never ran here: start it\n\
             - source 198.51.100.1 is expected and was never heard: start its sender\n\
             - a long reason a long reason a long reason a long reason a long reason a long\n  \
               reason and its cure\n"
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
        let shown = text(&status, now, 80);
        assert!(
            shown.contains(
                "in flight:\n\
                 - accessLog: to edw, 3.0 MiB of 8.0 MiB (37 %), 1.5 KiB per second\n\n\
                 refused:\n\
                 - other: by edw, 3 attempts, the next in 42 s: permission denied\n"
            ),
            "{shown}"
        );
        status.batches.unwanted = 1200;
        assert!(text(&status, now, 80).contains("0 ready (1,200 WANTED BY NO DESTINATION), 0 sent"));
        let an_hour_ago = now.checked_sub(jiff::SignedDuration::from_mins(61)).unwrap();
        assert_eq!(ago(Some(an_hour_ago), now), "1 h 1 min ago");
        assert_eq!(ago(Some(now), an_hour_ago), "0 s ago");
        let timed = timed(&shown, now);
        assert!(
            timed.starts_with(&now.to_zoned(TimeZone::system()).strftime("%F %T ").to_string())
                && timed.ends_with(&format!("\n\n{shown}")),
            "{timed}"
        );
    }

    #[test]
    fn text_fits_80_columns() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
        let (source, now) = ("198.51.100.111".parse().unwrap(), Timestamp::now());
        ledger
            .note_contact(&source, &"web-1234".parse().unwrap(), now)
            .unwrap();
        let scope = StatusScope {
            expected_sources: &[],
            stale_after: STALE_AFTER,
            groups: &[],
            destinations: &[Subscriber {
                name: "warehouse".parse().unwrap(),
                filter: DeliveryFilter::default(),
            }],
            min_free_disk: 0,
            roles: &[],
        };
        let mut status = status(dir.path(), &scope, now).unwrap();
        let source = &mut status.sources[0];
        (
            source.lag_bytes,
            source.lines_last_hour,
            source.oldest_unread_seconds,
        ) = (Some(1 << 39), 1_234_567, 59 * 60);
        source.unreadable_files = vec!["/var/log/nginx/access.log".to_owned(); 3];
        let destination = &mut status.destinations[0];
        destination.error = Some("cannot connect to 192.0.2.1:22: ".repeat(5));
        destination.in_flight.push(InFlightStatus {
            batch: "accessLog_26112108_00-19_198-51-100-111.2".to_owned(),
            bytes_done: 3 << 20,
            bytes_total: 8 << 20,
            bytes_per_second: 1536,
        });
        status.channels.push(ChannelStatus {
            name: "chat".to_owned(),
            waiting: 3,
            oldest_waiting_seconds: 3700,
            attempts: 7,
            last_error: Some("hooks.example.com answered with status 503: ".repeat(3)),
        });
        let narrow = text(&status, now, 80);
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let told = "channel chat: 3 alerts not sent yet, the oldest for 1 h 1 min; 7 attempts in";
        assert!(narrow.contains(told), "{narrow}");
        let source = &mut status.sources[0];
        source.address = "203.0.113.7".parse().ok();
        source.version = Some("0.1.0".to_owned());
        source.clock_difference_seconds = Some(-3);
        let wide = text(&status, now, 200);
        let widest = wide.lines().map(|line| line.chars().count()).max();
        assert!((150..=200).contains(&widest.unwrap()), "{wide}");
        for shown in ["address", "203.0.113.7", "+3 s", "0.1.0"] {
            assert!(
                wide.contains(shown) && !narrow.contains(shown),
                "{shown} in {wide}"
            );
        }
        assert!(
            wide.lines().count() < narrow.lines().count(),
            "texts use the width"
        );
    }
}
