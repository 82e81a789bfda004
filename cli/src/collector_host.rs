//! `logferry status` of the collector on this host: what it says of itself in its state folder.
//!
//! The JSON is `{"state", "sources": [{"name", "type", "state", "records_per_second", "behind", "last_error", …}]}`.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_collector::{CollectedSource, CollectedState, CollectorState};
use logferry_durable::{Disk, RealDisk};
use logferry_inspection::time::age;
use logferry_telemetry::read_status_file;
use logferry_text::{Table, count, count_of, duration, wrapped_to};
use serde_json::{Value, json};

use crate::output::exit::{Failure, Result};
use crate::output::list::{fitting, last_of, list};
use crate::role_process::{ProcessAccount, RoleProcess, is_alive, no_account};

/// An error is shown as what needs a look for so long after it was.
const ERROR_SHOWN: Duration = Duration::from_hours(1);

/// Of a disk with less free bytes it is said that it is full.
const FULL: u64 = 1 << 20;

/// Characters of a name in a narrow table.
const NAME_MAX: usize = 24;

/// What is known of the collector of this host.
pub(crate) struct CollectorHost {
    process: RoleProcess,
    state: Option<CollectorState>,
    problems: Vec<String>,
    now: Timestamp,
}

impl CollectorHost {
    /// Reads the collector's account. `find`: what keeps it from its files, asked for if it has said nothing.
    pub(crate) fn read(state_dir: &Path, find: impl FnOnce() -> Vec<String>) -> Result<Self> {
        let state = read_status_file::<CollectorState>(state_dir).map_err(|error| {
            let advice =
                "run this command as the collector's user or as root, for example `sudo logferry status`";
            Failure::Work(anyhow!(error).context(advice))
        })?;
        let mut host = Self::of(state, state_dir, is_alive, Timestamp::now());
        if host.state.is_none() {
            host.problems.extend(find());
        }
        // A full disk takes no account either, so the one that is there is from before.
        if host.process == RoleProcess::Unknown
            && let Ok(free) = RealDisk.free_bytes(state_dir)
        {
            host.problems.extend(full_disk(state_dir, free));
        }
        Ok(host)
    }

    fn of(
        state: Option<CollectorState>,
        state_dir: &Path,
        is_alive: impl Fn(u32) -> bool,
        now: Timestamp,
    ) -> Self {
        let account = state.as_ref().map(|state| ProcessAccount {
            pid: state.pid,
            is_stopped: state.is_stopped,
            age: age(state.written_at, now),
        });
        let process = RoleProcess::of(account, is_alive);
        let problems = problems(state.as_ref(), process, state_dir, now);
        Self {
            process,
            state,
            problems,
            now,
        }
    }

    /// Whether nobody has to look at it.
    pub(crate) fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn as_json(&self) -> Value {
        let Some(state) = &self.state else {
            return json!({"state": self.process.as_str(), "sources": []});
        };
        json!({
            "state": self.process.as_str(),
            "version": state.version,
            "started_at": state.started_at,
            "written_at": state.written_at,
            "sources": state.sources,
        })
    }

    /// A line for each source.
    pub(crate) fn as_text(&self, columns: usize) -> String {
        let looks = list("needs a look:", self.problems.iter().cloned(), columns);
        let Some(state) = &self.state else {
            return format!("collector: {}\n{looks}", self.process.as_str());
        };
        let head = format!(
            "collector: {}, version {}, started {}, as of {}",
            self.process.as_str(),
            state.version,
            ago(state.started_at, self.now),
            ago(state.written_at, self.now),
        );
        let sources = self.sources(&state.sources, columns);
        format!("{}{looks}\n{sources}", wrapped_to(columns, &head))
    }

    fn sources(&self, all: &[CollectedSource], columns: usize) -> String {
        let behind = |source: &CollectedSource| source.behind.map_or_else(|| "-".to_owned(), count);
        let last = |source: &CollectedSource| {
            let at = source.last_record_at;
            at.map_or_else(|| "never".to_owned(), |at| ago(at, self.now))
        };
        let mut sources = Table::new([
            "source",
            "type",
            "state",
            ">records/s",
            ">records",
            ">behind",
            ">last record",
        ]);
        for source in all {
            sources.row([
                source.name.to_string(),
                source.r#type.clone(),
                source.state.as_str().to_owned(),
                format!("{:.1}", source.records_per_second),
                count(source.records),
                behind(source),
                last(source),
            ]);
        }
        // Of a long name the type and the sum tell least.
        fitting(&sources, columns, || {
            let mut sources = Table::new(["source", "state", ">records/s", ">behind", ">last record"]);
            for source in all {
                sources.row([
                    last_of(source.name.as_str(), NAME_MAX),
                    source.state.as_str().to_owned(),
                    format!("{:.1}", source.records_per_second),
                    behind(source),
                    last(source),
                ]);
            }
            sources
        })
    }
}

/// What a person should look at.
fn problems(
    state: Option<&CollectorState>,
    process: RoleProcess,
    state_dir: &Path,
    now: Timestamp,
) -> Vec<String> {
    let Some(state) = state else {
        return vec![no_account("collector", state_dir)];
    };
    let process = process.problem("collector", state_dir, age(state.written_at, now));
    let sources = state
        .sources
        .iter()
        .flat_map(|source| source_problems(source, now));
    process.into_iter().chain(sources).collect()
}

/// That the disk is full, if it is.
fn full_disk(state_dir: &Path, free: u64) -> Option<String> {
    (free < FULL).then(|| {
        format!(
            "the disk of {} is full ({free} bytes free): no records are taken, and the collector cannot even say so here; make \
             room, and no record is lost",
            state_dir.display()
        )
    })
}

fn source_problems(source: &CollectedSource, now: Timestamp) -> Vec<String> {
    let name = &source.name;
    let refusing = source
        .refusing
        .as_ref()
        .map(|reason| format!("{name}: no records are taken: {reason}"));
    let is_down = source.state == CollectedState::Failing;
    let error = source.last_error.as_ref().zip(source.last_error_at);
    let error = error.filter(|(_, at)| is_down || age(*at, now) < ERROR_SHOWN);
    let error = error.map(|(error, at)| {
        if is_down {
            let since = duration(age(source.since, now));
            format!("{name}: down for {since}, and tried again: {error}")
        } else {
            format!("{name}: {}: {error}", ago(at, now))
        }
    });
    let counted = |records: u64, what: &str| {
        (records > 0).then(|| format!("{name}: {} {what}", count_of(records, "record")))
    };
    let dropped = counted(
        source.dropped_records,
        "were dropped before they could be read; see docs/sources/",
    );
    refusing.into_iter().chain(error).chain(dropped).collect()
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration(age(at, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-29T06:00:00Z".parse().unwrap()
    }

    fn at(seconds_ago: i64) -> Timestamp {
        Timestamp::from_second(now().as_second() - seconds_ago).unwrap()
    }

    fn source() -> CollectedSource {
        CollectedSource {
            name: "api".parse().unwrap(),
            r#type: "http".to_owned(),
            state: CollectedState::Running,
            since: at(600),
            refusing: None,
            records_per_second: 12.5,
            records: 12_345,
            bytes: 1_000_000,
            repeats: 2,
            last_record_at: Some(at(1)),
            behind: None,
            last_error: None,
            last_error_at: None,
            cut_records: 0,
            dropped_records: 0,
            gaps: 0,
            rotated_files: 0,
        }
    }

    fn host(source: CollectedSource, is_alive: bool) -> CollectorHost {
        let state = CollectorState {
            version: "0.1.0".to_owned(),
            pid: 1,
            is_stopped: false,
            started_at: at(3600),
            written_at: at(3),
            sources: vec![source],
        };
        CollectorHost::of(Some(state), Path::new("/state"), |_| is_alive, now())
    }

    #[test]
    fn collector_that_is_well_is_shown_with_a_line_a_source() {
        let host = host(source(), true);
        assert_eq!(
            host.as_text(80),
            "collector: running, version 0.1.0, started 1 h ago, as of 3 s ago\n\
             \n\
             source  type  state    records/s  records  behind  last record\n\
             api     http  running       12.5   12,345       -      1 s ago\n"
        );
        assert!(host.is_healthy());
        let json = host.as_json();
        assert_eq!(
            (&json["state"], &json["sources"][0]["name"]),
            (&"running".into(), &"api".into())
        );
    }

    #[test]
    fn what_is_wrong_with_a_source_is_named() {
        let failing = CollectedSource {
            state: CollectedState::Failing,
            last_error: Some("cannot listen on 0.0.0.0:5000".to_owned()),
            last_error_at: Some(at(4000)),
            ..source()
        };
        let text = host(failing, true).as_text(80);
        assert!(
            text.contains("- api: down for 10 min, and tried again: cannot listen on 0.0.0.0:5000\n"),
            "{text}"
        );
        let waiting = CollectedSource {
            state: CollectedState::Waiting,
            refusing: Some("the disk is full".to_owned()),
            ..source()
        };
        let text = host(waiting, true).as_text(80);
        assert!(
            text.contains("api: no records are taken: the disk is full"),
            "{text}"
        );
        let old = CollectedSource {
            last_error: Some("a client was refused".to_owned()),
            last_error_at: Some(at(4000)),
            ..source()
        };
        assert!(host(old, true).is_healthy(), "what was an hour ago is over");
    }

    #[test]
    fn full_disk_on_which_the_collector_cannot_even_say_so_is_named() {
        let text = full_disk(Path::new("/state"), 4096).unwrap();
        assert!(text.starts_with("the disk of /state is full (4096 bytes free): no records are taken"));
        assert_eq!(full_disk(Path::new("/state"), FULL), None);
    }

    #[test]
    fn dead_collector_and_one_that_never_ran_are_told_apart() {
        assert!(
            host(source(), false)
                .as_text(80)
                .contains("the collector does not run")
        );
        let never = CollectorHost::of(None, Path::new("/state"), |_| true, now());
        assert!(never.as_text(80).contains("has never run here") && !never.is_healthy());
        assert_eq!(never.as_json()["state"], "unknown");
    }

    #[test]
    fn text_fits_80_columns() {
        let failing = CollectedSource {
            name: "security-events-of-the-domain-controllers".parse().unwrap(),
            r#type: "windows_events".to_owned(),
            state: CollectedState::Failing,
            records: 1_234_567_890,
            behind: Some(12_345_678),
            last_record_at: Some(at(3_600 * 30)),
            last_error: Some("cannot read: ".repeat(9)),
            last_error_at: Some(at(1)),
            ..source()
        };
        let host = host(failing, true);
        let narrow = host.as_text(80);
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(narrow.contains("domain-controllers  failing"), "{narrow}");
        assert!(
            host.as_text(200).contains("1,234,567,890"),
            "the wide one has all"
        );
    }
}
