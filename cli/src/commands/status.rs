//! `logferry status`: shows the present state. The text fits 80 columns.

mod beside_relay;
mod sections;

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::Config;
use logferry_inspection::status::{DiskState, SourceStatus, StatusReport, StatusScope, status};
use logferry_ledger::DestinationState;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;
use logferry_text::{Table, about, count, count_of, duration, size, wrapped};

use self::beside_relay::{collector, status_beside_relay};
use crate::args::StatusArgs;
use crate::collector_host::CollectorHost;
use crate::configuration;
use crate::output::exit::{CommandOutcome, Result};
use crate::output::{console, paint, terminal};

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
        let mut text = text(&status, Timestamp::now(), options.watch);
        if let Some(collector) = &collector {
            text = format!("{text}\n{}", collector.as_text());
        }
        Ok((text, is_healthy))
    })
}

/// Prints a text that says whether all is well; with `--watch` again and again.
fn repeat(options: &StatusArgs, read: impl Fn() -> Result<(String, bool)>) -> Result {
    loop {
        let (mut text, is_healthy) = read()?;
        if !options.json && io::stdout().is_terminal() {
            text = paint::painted(&text);
            if options.watch {
                text = paint::redrawn(&text, terminal::rows());
            }
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
        roles: &sections::watched_roles(data_dir, config),
    };
    let mut report = status(data_dir, &scope, Timestamp::now())?;
    let sink = config
        .indexer
        .as_ref()
        .and_then(|indexer| indexer.opensearch.as_ref());
    if let (Some(index), None) = (&mut report.indexer, sink) {
        // What it was when it was switched off says nothing of today.
        index.opensearch = None;
    }
    Ok(report)
}

/// The status for people; with the time if it is repeated.
fn text(status: &StatusReport, now: Timestamp, with_time: bool) -> String {
    let zoned = now.to_zoned(TimeZone::system());
    let time = with_time.then(|| format!("{}\n\n", zoned.strftime("%F %T %:z")));
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
        "{}{}{}{}{}{}\n{}{}{}\nbatches: {} open, {} ready{unwanted}, {} sent, {} failed\ndisk: {} free{disk}\n{}{}{}{}",
        time.unwrap_or_default(),
        sources(status, now),
        problems(status, now),
        neighbours(status),
        groups(status),
        sections::roles(status, now),
        destinations(status, now),
        in_flight(status),
        held(status, now),
        count(batches.open),
        count(batches.ready),
        count(batches.sent),
        count(batches.failed),
        size(status.disk.free_bytes),
        sections::index(status),
        sections::mails(status),
        sections::incidents(status, now),
        sections::problems(status),
    )
}

/// Times are ages: how long ago the last line and the last contact were, and for how long the oldest unread line waits.
fn sources(status: &StatusReport, now: Timestamp) -> Table<8> {
    let mut table = Table::new([
        "source", "group", "state", ">line", ">contact", ">lag", ">unread", ">lines/h",
    ]);
    for source in &status.sources {
        let group = source.group.as_ref().map_or("-", |group| group.as_str());
        table.row([
            source.source.to_string(),
            group.to_owned(),
            source.state.as_str().to_owned(),
            since(source.last_line_at, now),
            since(source.last_contact_at, now),
            source.lag_bytes.map_or_else(|| "unknown".to_owned(), size),
            about(Duration::from_secs(source.oldest_unread_seconds)),
            count(source.lines_last_hour),
        ]);
    }
    table
}

/// The problems of roles, sources and mail recipients that an operator should look at.
fn problems(status: &StatusReport, now: Timestamp) -> String {
    let sources = status.sources.iter();
    let lines = sources.flat_map(|source| {
        let problems = shorten(problems_of(source, now), PROBLEMS_SHOWN);
        let named = |problem| format!("{}: {problem}", source.source);
        problems.into_iter().map(named)
    });
    let refused = status.refused_recipients.iter().map(|refused| {
        let (recipient, reason) = (&refused.recipient, &refused.reason);
        let since = since(Some(refused.since), now);
        format!("{recipient}: refused by the mail server since {since}: {reason}; correct monitor.smtp.to")
    });
    let roles = status.roles.iter();
    let files = roles.flat_map(|role| {
        role.problems
            .iter()
            .map(move |problem| format!("{}: {problem}", role.name))
    });
    sections::list("needs a look:", files.chain(lines).chain(refused))
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
    let sources = status
        .sources
        .iter()
        .filter(|source| !source.neighbours.is_empty());
    let lines = sources.map(|source| {
        let names = shorten(source.neighbours.clone(), NEIGHBOURS_SHOWN);
        format!("{}: {}", source.source, names.join(", "))
    });
    sections::list("left alone, as rotation does not make such names:", lines)
}

/// At most `shown` of the entries, and how many more there are.
fn shorten(mut entries: Vec<String>, shown: usize) -> Vec<String> {
    let more = entries.len().saturating_sub(shown);
    entries.truncate(shown);
    entries.extend((more > 0).then(|| format!("and {} more; --json has all", count(more as u64))));
    entries
}

/// The relay's groups; nothing if there is none.
fn groups(status: &StatusReport) -> String {
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
        Some(wrapped(&format!("{}: {reason}", group.group)))
    });
    table.section() + &reasons.collect::<String>()
}

fn destinations(status: &StatusReport, now: Timestamp) -> String {
    let mut table = Table::new(["destination", "state", ">last delivery", ">waiting", ">oldest"]);
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
        ]);
    }
    let errors = status.destinations.iter().filter_map(|destination| {
        let error = destination.error.as_ref()?;
        Some(wrapped(&format!("{}: {error}", destination.name)))
    });
    table.to_string() + &errors.collect::<String>()
}

/// The batches in flight; nothing if each delivery takes less than a second.
fn in_flight(status: &StatusReport) -> String {
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
    sections::list("in flight:", lines)
}

/// The batches that destinations refused; nothing if there is none.
fn held(status: &StatusReport, now: Timestamp) -> String {
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
    sections::list("refused:", lines)
}

fn seconds(number: u64) -> String {
    duration(Duration::from_secs(number))
}

/// The age of a time, for a narrow column.
fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    let age = at.map(|at| about(now.duration_since(at).try_into().unwrap_or_default()));
    age.unwrap_or_else(|| "never".to_owned())
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    let age = at.map(|at| duration(now.duration_since(at).try_into().unwrap_or_default()));
    age.map_or_else(|| "never".to_owned(), |age| format!("{age} ago"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_config::{DeliveryFilter, Subscriber};
    use logferry_inspection::status::{HeldBatch, InFlightStatus, WatchedRole};
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
        let low = status.problems.remove(0);
        assert!(
            low.starts_with("the disk of data_dir has ") && low.contains("min_free_disk"),
            "{low}"
        );
        status.problems.push("a long reason ".repeat(6) + "and its cure");
        assert_eq!(
            text(&status, now, false),
            "source        group  state     line  contact      lag  unread  lines/h\n\
             198.51.100.1  -      missing  never    never  unknown     0 s        0\n\n\
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
        let shown = text(&status, now, false);
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
        assert!(text(&status, now, false).contains("0 ready (1,200 WANTED BY NO DESTINATION), 0 sent"));
        let an_hour_ago = now.checked_sub(jiff::SignedDuration::from_mins(61)).unwrap();
        assert_eq!(ago(Some(an_hour_ago), now), "1 h 1 min ago");
        assert_eq!(ago(Some(now), an_hour_ago), "0 s ago");
        let timed = text(&status, now, true);
        assert!(
            timed.starts_with(&now.to_zoned(TimeZone::system()).strftime("%F %T ").to_string()),
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
        for line in text(&status, now, true).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
