//! `logferry status` on a host that has only a sender: what the sender says of itself in its state folder.
//!
//! The JSON is a contract: `{"sender": {"state", "relay", "source", "last_error", "logs", "held", …}}`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_protocol::heartbeat::{HostTime, LogProblem};
use logferry_sender::{LogFileProgress, LogFileState, SenderState};
use logferry_telemetry::read_status_file;
use logferry_text::{Table, count, count_of, duration, size, wrapped_to};
use serde_json::{Value, json};

use crate::output::exit::{Failure, Result};
use crate::output::list::{fitting, last_of, list};
use crate::role_process::{ProcessAccount, RoleProcess, is_alive, no_account};

/// Files that have a row of their own; the others of their log are added up.
const ROWS_MAX: usize = 20;
/// Columns of state and lag in the narrow table, with what is between the columns; and of the longest name.
const NARROW_REST: usize = 28;
const NAME_MAX: usize = 24;
/// Files and problems that are named in the list of what needs a look.
const PROBLEMS_SHOWN: usize = 20;

/// Whether the sender runs.
fn process_of(state: Option<&SenderState>, is_alive: impl Fn(u32) -> bool, now: Timestamp) -> RoleProcess {
    let account = state.map(|state| ProcessAccount {
        pid: state.pid,
        is_stopped: state.is_stopped,
        age: age(state.written_at, now),
    });
    RoleProcess::of(account, is_alive)
}

/// Why a sender that runs here cannot ship, by its own account.
pub(crate) fn shipping_problem(state_dir: &Path) -> Option<String> {
    let (state, now) = (
        read_status_file::<SenderState>(state_dir).ok().flatten()?,
        Timestamp::now(),
    );
    let is_running = process_of(Some(&state), is_alive, now) == RoleProcess::Running;
    shipping_error(&state, now).filter(|_| is_running)
}

/// The text, the JSON, and whether all is well. `find`: what keeps the sender from its files, asked for if it has said nothing.
pub(crate) fn show(
    state_dir: &Path,
    columns: usize,
    find: impl FnOnce() -> Vec<String>,
) -> Result<(String, Value, bool)> {
    let state = read_status_file::<SenderState>(state_dir).map_err(|error| {
        let advice = "run this command as the sender's user or as root, for example `sudo logferry status`";
        Failure::Work(anyhow!(error).context(advice))
    })?;
    let now = Timestamp::now();
    let process = process_of(state.as_ref(), is_alive, now);
    let mut problems = problems(state.as_ref(), process, state_dir, now);
    if state.is_none() {
        problems.extend(find());
    }
    let is_healthy = problems.is_empty();
    let json = as_json(state.as_ref(), process);
    let text = as_text(state.as_ref(), process, problems, now, columns);
    Ok((text, json, is_healthy))
}

fn as_json(state: Option<&SenderState>, process: RoleProcess) -> Value {
    let mut sender = json!({
        "state": process.as_str(), "relay": null, "source": null, "last_error": null, "logs": [], "held": [],
    });
    let Some(state) = state else {
        return json!({ "sender": sender });
    };
    let time = |at: HostTime| timestamp(at).map(|at| at.to_string());
    let problem = |problem: &LogProblem| {
        json!({"log": problem.log, "path": problem.path, "kind": problem.kind, "reason": problem.reason,
               "since": problem.since.and_then(time)})
    };
    sender = json!({
        "state": process.as_str(),
        "relay": state.relay,
        "source": state.source,
        "last_error": state.last_error,
        "failing_since": state.failing_since.and_then(time),
        "version": state.version,
        "started_at": time(state.started_at),
        "written_at": time(state.written_at),
        "checkpoint_failing_since": state.checkpoint_failing_since.and_then(time),
        "files": state.files,
        "lag_bytes": state.lag_bytes,
        "logs": state.logs,
        "log_problems": state.log_problems.iter().map(problem).collect::<Vec<_>>(),
        "held": state.held,
    });
    json!({ "sender": sender })
}

fn as_text(
    state: Option<&SenderState>,
    process: RoleProcess,
    problems: Vec<String>,
    now: Timestamp,
    columns: usize,
) -> String {
    let more = problems.len().saturating_sub(PROBLEMS_SHOWN);
    let more = (more > 0).then(|| format!("and {} more (--json has all)", count(more as u64)));
    let looks = problems.into_iter().take(PROBLEMS_SHOWN).chain(more);
    let looks = list("needs a look:", looks, columns);
    let Some(state) = state else {
        return looks.trim_start().to_owned();
    };
    let source = state.source.as_ref().map_or_else(
        || "the relay has not answered yet".to_owned(),
        |source| format!("source {source}"),
    );
    let files_in_all = count_of(state.files, "file");
    let lag = state.lag_bytes.map_or_else(
        || match state.logs.iter().filter(|log| log.lag_bytes.is_none()).count() {
            0 => format!("unknown in {files_in_all}"),
            unknown => format!("unknown in {} of {files_in_all}", count(unknown as u64)),
        },
        |bytes| format!("{} in {files_in_all}", size(bytes)),
    );
    format!(
        "sender: {}, version {}, started {}\n{}lag: {lag}, as of {}\n{looks}\n{}",
        process.as_str(),
        state.version,
        ago(state.started_at, now),
        wrapped_to(columns, &format!("relay: {}, {source}", state.relay)),
        ago(state.written_at, now),
        files(&state.logs, columns),
    )
}

/// A row for each file; if there are many, one for each log and state.
fn files(logs: &[LogFileState], columns: usize) -> String {
    let mut table = Table::new(["log", "file", "state", ">offset", ">size", ">lag"]);
    let or_unknown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    if logs.len() <= ROWS_MAX {
        for log in logs {
            table.row([
                log.name.to_string(),
                log.path.clone(),
                log.state.as_str().to_owned(),
                log.offset
                    .map_or_else(|| "-".to_owned(), |offset| count(offset.get())),
                count(log.size.get()),
                or_unknown(log.lag_bytes),
            ]);
        }
        return fitting(&table, columns, || narrow_files(logs, columns));
    }
    let mut folded: BTreeMap<_, Vec<&LogFileState>> = BTreeMap::new();
    for log in logs {
        folded.entry((&log.name, log.state)).or_default().push(log);
    }
    for ((name, state), files) in folded {
        let lag = files.iter().map(|file| file.lag_bytes).sum();
        table.row([
            name.to_string(),
            count_of(files.len() as u64, "file"),
            state.as_str().to_owned(),
            "-".to_owned(),
            count(files.iter().map(|file| file.size.get()).sum()),
            or_unknown(lag),
        ]);
    }
    table.to_string()
}

/// The same without offsets and sizes, for long paths; of the longest their ends.
fn narrow_files(logs: &[LogFileState], columns: usize) -> Table<4> {
    let mut table = Table::new(["log", "file", "state", ">lag"]);
    let names = logs.iter().map(|log| log.name.as_str().len()).max();
    let names = names.unwrap_or(0).min(NAME_MAX);
    let length = columns.saturating_sub(names + NARROW_REST);
    for log in logs {
        table.row([
            last_of(log.name.as_str(), NAME_MAX),
            last_of(&log.path, length),
            log.state.as_str().to_owned(),
            log.lag_bytes.map_or_else(|| "unknown".to_owned(), size),
        ]);
    }
    table
}

/// What a person should look at.
fn problems(
    state: Option<&SenderState>,
    process: RoleProcess,
    state_dir: &Path,
    now: Timestamp,
) -> Vec<String> {
    let Some(state) = state else {
        return vec![no_account("sender", state_dir)];
    };
    let dir = state_dir.display();
    let process = process.problem("sender", state_dir, age(state.written_at, now));
    let error = shipping_error(state, now);
    let checkpoint = state.checkpoint_failing_since.map(|since| {
        format!(
            "the checkpoint cannot be written since {}; make {dir} writable and free its disk",
            ago(since, now)
        )
    });
    let logs = state.log_problems.iter();
    let logs = logs.map(|problem| format!("{}: {}", problem.path, problem.reason));
    let held = state.held.iter();
    let held = held.map(|file| format!("not shipped: {}: {}", file.path, file.reason));
    let told = |path: &str| state.log_problems.iter().any(|problem| problem.path == path);
    let unread = state
        .logs
        .iter()
        .filter(|log| log.state == LogFileProgress::Unreadable && !told(&log.path));
    let unread = unread.map(|log| format!("{}: cannot be read", log.path));
    process
        .into_iter()
        .chain(error)
        .chain(checkpoint)
        .chain(logs)
        .chain(held)
        .chain(unread)
        .collect()
}

fn shipping_error(state: &SenderState, now: Timestamp) -> Option<String> {
    let error = state.last_error.as_ref()?;
    let since = state
        .failing_since
        .map_or_else(String::new, |since| format!(" since {}", ago(since, now)));
    Some(format!("nothing can be shipped{since}: {error}"))
}

fn timestamp(at: HostTime) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.millis()).ok()
}

fn age(at: HostTime, now: Timestamp) -> Duration {
    let age = timestamp(at).map(|at| now.duration_since(at));
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
}

fn ago(at: HostTime, now: Timestamp) -> String {
    format!("{} ago", duration(age(at, now)))
}

#[cfg(test)]
mod tests {
    use logferry_protocol::heartbeat::LogProblemKind;
    use logferry_protocol::stream::Offset;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-29T06:00:00Z".parse().unwrap()
    }

    fn at(seconds_ago: i64) -> HostTime {
        HostTime::from_millis(now().as_millisecond() - 1000 * seconds_ago)
    }

    fn log(number: u64, lag: u64) -> LogFileState {
        LogFileState {
            name: "sites".parse().unwrap(),
            path: format!("/log/{number}.log"),
            offset: Some(Offset::new(1000)),
            size: Offset::new(1000 + lag),
            lag_bytes: Some(lag),
            state: if lag > 0 {
                LogFileProgress::Behind
            } else {
                LogFileProgress::Current
            },
        }
    }

    fn state(logs: Vec<LogFileState>) -> SenderState {
        SenderState {
            version: "0.1.0".to_owned(),
            pid: 1,
            is_stopped: false,
            started_at: at(3600),
            written_at: at(3),
            relay: "http://192.0.2.10:5001".to_owned(),
            source: Some("198.51.100.1".parse().unwrap()),
            last_error: None,
            failing_since: None,
            checkpoint_failing_since: None,
            files: logs.len() as u64,
            lag_bytes: logs.iter().map(|log| log.lag_bytes).sum(),
            logs,
            log_problems: Vec::new(),
            held: Vec::new(),
        }
    }

    fn text(state: &SenderState) -> String {
        let process = process_of(Some(state), |_| true, now());
        let problems = problems(Some(state), process, Path::new("/state"), now());
        as_text(Some(state), process, problems, now(), 80)
    }

    #[test]
    fn a_sender_that_is_well_is_shown_with_its_files() {
        let state = state(vec![log(1, 0)]);
        assert_eq!(
            text(&state),
            "sender: running, version 0.1.0, started 1 h ago\n\
             relay: http://192.0.2.10:5001, source 198.51.100.1\n\
             lag: 0 B in 1 file, as of 3 s ago\n\
             \n\
             log    file        state    offset   size  lag\n\
             sites  /log/1.log  current   1,000  1,000  0 B\n"
        );
        assert_eq!(
            problems(Some(&state), RoleProcess::Running, Path::new("/state"), now()),
            [""; 0]
        );
    }

    #[test]
    fn four_thousand_files_of_a_log_are_two_rows() {
        let logs = (0..4000).map(|number| log(number, number % 2)).collect();
        let text = text(&state(logs));
        assert!(text.contains("sites  2,000 files  behind"), "{text}");
        assert!(text.contains("sites  2,000 files  current"), "{text}");
        assert_eq!(text.lines().count(), 7, "{text}");
    }

    #[test]
    fn a_dead_sender_a_silent_one_and_one_that_never_ran_are_told_apart() {
        let mut state = state(Vec::new());
        let process = |state: &SenderState, is_alive| process_of(Some(state), |_| is_alive, now());
        assert_eq!(process(&state, true), RoleProcess::Running);
        assert_eq!(process(&state, false), RoleProcess::Stopped);
        state.written_at = at(100);
        assert_eq!(process(&state, true), RoleProcess::Unknown);
        state.is_stopped = true;
        assert_eq!(process(&state, true), RoleProcess::Stopped);
        let never = process_of(None, |_| true, now());
        let told = problems(None, never, Path::new("/state"), now());
        assert!(told[0].contains("has never run here"), "{told:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_reason() {
        let mut state = state(Vec::new());
        state.last_error = Some("cannot connect to 192.0.2.10:5001: connection refused".to_owned());
        state.failing_since = Some(at(60));
        state.log_problems = vec![LogProblem {
            log: "access".parse().unwrap(),
            path: "/log/acces.log".to_owned(),
            kind: LogProblemKind::NoMatch,
            reason: "there is no such file yet".to_owned(),
            since: Some(at(60)),
        }];
        let told = text(&state);
        assert!(
            told.contains(
                "needs a look:\n\
                 - nothing can be shipped since 1 min ago: cannot connect to 192.0.2.10:5001:\n  \
                   connection refused\n\
                 - /log/acces.log: there is no such file yet\n"
            ),
            "{told}"
        );
        let json = as_json(Some(&state), RoleProcess::Running);
        assert_eq!(json["sender"]["log_problems"][0]["kind"], "no_match");
        assert_eq!(json["sender"]["state"], "running");
        assert_eq!(json["sender"]["lag_bytes"], 0);
    }

    #[test]
    fn text_fits_80_columns() {
        let mut logs = vec![log(1, 1 << 40), log(2, 0)];
        logs[0].path = "/var/log/nginx/sites/a-shop-with-a-long-name.example.com/access.log".to_owned();
        logs[0].state = LogFileProgress::Unreadable;
        logs[1].name = "a-log-with-a-name-of-many-more-words".parse().unwrap();
        let mut state = state(logs);
        state.relay = "https://relay.of-a-company-with-a-long-name.example.com:5001".to_owned();
        state.last_error = Some("cannot connect: ".repeat(9));
        state.written_at = at(100);
        let narrow = text(&state);
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(
            narrow.contains("…") && narrow.contains(".example.com/access.log  unreadable"),
            "{narrow}"
        );
        let process = process_of(Some(&state), |_| true, now());
        let wide = as_text(Some(&state), process, Vec::new(), now(), 200);
        assert!(
            wide.contains("offset") && wide.contains(&state.logs[0].path),
            "{wide}"
        );
    }
}
