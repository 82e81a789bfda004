//! The pipeline as a picture: groups of sources, relay, windows, destinations, each with its numbers. Pure.

use jiff::Timestamp;
use logferry_inspection::status::{DestinationStatus, GroupStatus, RoleState, SourceStatus, StatusReport};
use logferry_inspection::time::age;
use logferry_ledger::{DestinationState, GroupState};
use logferry_text::{about, count, count_of, duration, size};

use std::time::Duration;

/// Groups and destinations that are shown by name.
const NAMED_MAX: usize = 8;

/// A row of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageRow {
    pub(crate) name: String,
    /// Class of its state: `well`, `warn`, `bad`, `calm`.
    pub(crate) class: &'static str,
    pub(crate) state: String,
    /// The number at its end.
    pub(crate) number: String,
    /// Where a click leads; empty: nowhere.
    pub(crate) href: String,
    /// More about it.
    pub(crate) title: String,
}

/// The four stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelinePicture {
    pub(crate) sources: u64,
    pub(crate) group_count: usize,
    pub(crate) groups: Vec<StageRow>,
    pub(crate) more_groups: usize,
    /// Lines a second at the relay; `None` if it does not say.
    pub(crate) rate: Option<String>,
    pub(crate) relay: Vec<StageRow>,
    pub(crate) open: String,
    pub(crate) windows: Vec<StageRow>,
    pub(crate) waiting: String,
    pub(crate) destinations: Vec<StageRow>,
    pub(crate) roles: Vec<StageRow>,
    pub(crate) is_receiving: bool,
    pub(crate) is_delivering: bool,
}

impl PipelinePicture {
    pub(crate) fn new(status: &StatusReport, now: Timestamp) -> Self {
        let rates: Vec<_> = status
            .groups
            .iter()
            .filter_map(|group| group.lines_per_second)
            .collect();
        let rate: f64 = rates.iter().sum();
        let waiting: u64 = status.batches.ready + status.batches.failed;
        let mut groups: Vec<_> = status
            .groups
            .iter()
            .map(|group| group_row(group, status))
            .collect();
        // Those with something to see first.
        groups.sort_by_key(|row| row.class == "well");
        let more_groups = groups.len().saturating_sub(NAMED_MAX);
        groups.truncate(NAMED_MAX);
        Self {
            sources: status.sources.len() as u64,
            group_count: status.groups.len(),
            groups,
            more_groups,
            rate: (!rates.is_empty()).then(|| rate_text(rate)),
            relay: relay_rows(status),
            open: count(status.batches.open),
            windows: window_rows(status),
            waiting: count(waiting),
            destinations: status
                .destinations
                .iter()
                .map(|it| destination_row(it, now))
                .collect(),
            roles: role_rows(status, now),
            is_receiving: rate > 0.0,
            is_delivering: status
                .destinations
                .iter()
                .any(|it| it.state == DestinationState::Up),
        }
    }
}

/// Lines a second: with a tenth below ten.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and small"
)]
pub(crate) fn rate_text(rate: f64) -> String {
    if rate < 9.95 {
        return format!("{rate:.1}").replace("0.0", "0");
    }
    count(rate.round() as u64)
}

fn row(
    name: impl Into<String>,
    class: &'static str,
    state: impl Into<String>,
    number: impl Into<String>,
) -> StageRow {
    StageRow {
        name: name.into(),
        class,
        state: state.into(),
        number: number.into(),
        href: String::new(),
        title: String::new(),
    }
}

fn group_row(group: &GroupStatus, status: &StatusReport) -> StageRow {
    let of_group = || {
        status
            .sources
            .iter()
            .filter(|source| source.group.as_ref() == Some(&group.group))
    };
    let silent = of_group()
        .filter(|source| source.is_silent() && !source.is_silenced())
        .count() as u64;
    let (class, state) = match (group.state, silent) {
        (None, _) => ("calm", "unknown".to_owned()),
        (Some(GroupState::Ok), 0) => ("well", format!("{}", group.sources)),
        (Some(GroupState::Ok), silent) => ("bad", format!("{silent} of {} silent", group.sources)),
        (Some(_), _) => ("bad", "takes no lines".to_owned()),
    };
    let rate = group
        .lines_per_second
        .map_or_else(String::new, |rate| format!("{}/s", rate_text(rate)));
    StageRow {
        href: format!("/?group={}#sources", group.group),
        title: group.reason.clone().unwrap_or_default(),
        ..row(group.group.to_string(), class, state, rate)
    }
}

fn relay_rows(status: &StatusReport) -> Vec<StageRow> {
    let in_flight: u64 = status
        .groups
        .iter()
        .filter_map(|group| group.requests_in_flight)
        .sum();
    let lag: u64 = status.sources.iter().filter_map(|source| source.lag_bytes).sum();
    let free = size(status.disk.free_bytes);
    let is_low = status.disk.state == logferry_inspection::status::DiskState::Low;
    let disk = if is_low { ("bad", "low") } else { ("well", "ok") };
    // What a silent sender has not sent is not known.
    let is_silent = |source: &SourceStatus| source.is_silent() && !source.is_silenced();
    let (class, state, unread) = match (lag, status.sources.iter().any(is_silent)) {
        (0, false) => ("well", "nothing", size(0)),
        (0, true) => ("calm", "", "not known".to_owned()),
        (lag, false) => ("calm", "", size(lag)),
        (lag, true) => ("calm", "at least", size(lag)),
    };
    vec![
        row("unread", class, state, unread),
        row("requests now", "calm", "", count(in_flight)),
        row("disk free", disk.0, disk.1, free),
    ]
}

fn window_rows(status: &StatusReport) -> Vec<StageRow> {
    let batches = &status.batches;
    let lines: u64 = status.sources.iter().map(|source| source.lines_last_hour).sum();
    let failed = if batches.failed > 0 { "bad" } else { "calm" };
    let waiting = if batches.ready > 0 { "warn" } else { "calm" };
    let link = |row: StageRow| StageRow {
        href: "/windows".to_owned(),
        ..row
    };
    vec![
        link(row("waiting", waiting, "", count(batches.ready))),
        link(row("refused", failed, "", count(batches.failed))),
        link(row("delivered", "calm", "", count(batches.sent))),
        row("lines, last hour", "calm", "", count(lines)),
    ]
}

fn destination_row(destination: &DestinationStatus, now: Timestamp) -> StageRow {
    let state = destination.state_name();
    let class = match destination.state {
        DestinationState::Up if state == "up" => "well",
        DestinationState::Up | DestinationState::Down => "bad",
        DestinationState::Unknown => "calm",
    };
    let speed: u64 = destination.in_flight.iter().map(|it| it.bytes_per_second).sum();
    let number = match (destination.waiting_batches, destination.last_delivery_at) {
        (0, Some(last)) => format!("{} ago", about(age(last, now))),
        (0, None) => "nothing yet".to_owned(),
        (waiting, _) if speed > 0 => format!("{waiting} wait, {}/s", size(speed)),
        (waiting, _) => format!("{waiting} wait"),
    };
    let oldest = Duration::from_secs(destination.oldest_waiting_seconds);
    let title = match &destination.error {
        Some(error) => error.clone(),
        None if destination.waiting_batches > 0 => format!("the oldest waits for {}", duration(oldest)),
        None => String::new(),
    };
    StageRow {
        title,
        ..row(destination.name.to_string(), class, state, number)
    }
}

fn role_rows(status: &StatusReport, now: Timestamp) -> Vec<StageRow> {
    let roles = status.roles.iter().map(|role| {
        let (class, state) = match role.state {
            RoleState::Running => ("well", "running"),
            RoleState::Stopped if !role.is_missing => ("well", "by cron"),
            RoleState::Stopped if role.silenced_until.is_some() => ("calm", "silenced"),
            RoleState::Stopped => ("bad", "stopped"),
            RoleState::Unknown => ("calm", "unknown"),
        };
        row(role.name, class, state, "")
    });
    let index = status.indexer.as_ref().map(|index| {
        let (class, lag) = if index.lag_lines > 0 {
            let late = about(Duration::from_secs(index.lag_seconds));
            (
                "calm",
                format!("{} behind, {late}", count_of(index.lag_lines, "line")),
            )
        } else if index.stands_still(now) {
            ("warn", "stands still".to_owned())
        } else {
            ("well", "has all lines".to_owned())
        };
        row("index", class, lag, "")
    });
    roles.chain(index).collect()
}
