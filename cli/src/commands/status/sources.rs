//! The sources in the status: their table, and what about them needs a look.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use logferry_inspection::status::{SourceStatus, StatusReport};
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Offset;
use logferry_text::{Table, about, count, size};

use super::sections::shorten;
use super::{seconds, short_age};
use crate::output::age::ago;
use crate::output::list::list;

/// From so many columns on, the table of sources has more of them.
const WIDE: usize = 150;

/// A smaller difference between two clocks is not shown.
const CLOCK_DIFFERENCE_SHOWN: Duration = Duration::from_mins(1);

/// Problems of one source that are shown: a host with thousands of logs can have as many.
const PROBLEMS_SHOWN: usize = 20;

/// Files of one source that are named as left alone.
const NEIGHBOURS_SHOWN: usize = 10;

/// Times are ages: how long ago the last line and the last contact were, and for how long the oldest unread line waits.
pub(super) fn table(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    if columns >= WIDE {
        return wide_table(status, now).to_string();
    }
    let mut table = Table::new([
        "source", "group", "state", ">line", ">contact", ">lag", ">unread", ">lines/h",
    ]);
    for source in &status.sources {
        table.row(cells(source, now));
    }
    table.to_string()
}

/// The same with what a person looks up next: where a source comes from, which sender it has and since when, and its clock.
fn wide_table(status: &StatusReport, now: Timestamp) -> Table<13> {
    let mut table = Table::new([
        "source", "group", "state", ">line", ">contact", ">lag", ">unread", ">lines/h", "address", ">logs",
        ">at risk", ">clock", "sender",
    ]);
    for source in &status.sources {
        let [name, group, state, line, contact, lag, unread, lines] = cells(source, now);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let started = source
            .started_at
            .map(|at| format!(", for {}", short_age(Some(at), now)));
        let version = source.version.as_ref();
        let sender = version.map(|version| format!("{version}{}", started.unwrap_or_default()));
        table.row([
            name,
            group,
            state,
            line,
            contact,
            lag,
            unread,
            lines,
            or_dash(source.address.map(|address| address.to_string())),
            count(source.streams.len() as u64),
            count(source.files_at_risk),
            or_dash(
                source
                    .clock_difference_seconds
                    .map(|seconds| format!("{:+} s", -seconds)),
            ),
            or_dash(sender),
        ]);
    }
    table
}

/// Of a source that is not heard and silenced, it is no news which of both it is.
fn state(source: &SourceStatus) -> &'static str {
    if source.is_silenced() {
        "silenced"
    } else {
        source.state.as_str()
    }
}

fn cells(source: &SourceStatus, now: Timestamp) -> [String; 8] {
    let group = source.group.as_ref().map_or("-", |group| group.as_str());
    let lag = source.present_lag();
    let unread = match lag {
        None if source.is_silent() => "unknown".to_owned(),
        _ => about(Duration::from_secs(source.oldest_unread_seconds)),
    };
    [
        source.source.to_string(),
        group.to_owned(),
        state(source).to_owned(),
        short_age(source.last_line_at, now),
        short_age(source.last_contact_at, now),
        lag.map_or_else(|| "unknown".to_owned(), size),
        unread,
        count(source.lines_last_hour),
    ]
}

/// The problems of roles, sources and mail recipients that an operator should look at.
pub(super) fn problems(status: &StatusReport, now: Timestamp, columns: usize) -> String {
    // What a host said last that is gone needs nobody.
    let sources = status.sources.iter();
    let sources = sources.filter(|source| !source.is_silenced() || !source.gaps.is_empty());
    let lines = sources.flat_map(|source| {
        let problems = shorten(problems_of(source, now), PROBLEMS_SHOWN);
        let named = |problem| format!("{}: {problem}", source.source);
        problems.into_iter().map(named)
    });
    let refused = status.refused_recipients.iter().map(|refused| {
        let (recipient, reason) = (&refused.recipient, &refused.reason);
        let since = short_age(Some(refused.since), now);
        format!("{recipient}: refused by the mail server since {since}: {reason}; correct monitor.smtp.to")
    });
    let roles = status.roles.iter();
    let files = roles.flat_map(|role| {
        role.problems
            .iter()
            .map(move |problem| format!("{}: {problem}", role.name))
    });
    list("needs a look:", files.chain(lines).chain(refused), columns)
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
pub(super) fn neighbours(status: &StatusReport, columns: usize) -> String {
    let sources = status
        .sources
        .iter()
        .filter(|source| !source.neighbours.is_empty());
    let lines = sources.map(|source| {
        let names = shorten(source.neighbours.clone(), NEIGHBOURS_SHOWN);
        format!("{}: {}", source.source, names.join(", "))
    });
    list(
        "left alone, as rotation does not make such names:",
        lines,
        columns,
    )
}
