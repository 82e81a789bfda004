//! Rows of numbers for programs and for people.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_fields::Level;
use logferry_numbers::{CounterId, NumbersRow};
use logferry_text::{Table, count, size};
use serde_json::{Map, Value};

use crate::args::NumbersBy;

/// The key of the value in JSON, and the title of its column.
fn key(by: NumbersBy) -> &'static str {
    match by {
        NumbersBy::Source => "source",
        NumbersBy::Group => "group",
        NumbersBy::Log => "log",
        NumbersBy::Status => "status",
        NumbersBy::Level => "level",
    }
}

fn time(row: &NumbersRow) -> Timestamp {
    Timestamp::from_second(row.start).unwrap_or_default()
}

/// A row for programs. Of a status or a level only lines and bytes are known.
pub(super) fn json(
    row: &NumbersRow,
    by: Option<NumbersBy>,
    counters: &[(String, CounterId)],
) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("time", time(row).to_string().into());
    if let Some(by) = by {
        put(key(by), row.value.clone().into());
    }
    let counts = &row.counts;
    put("lines", counts.lines().into());
    put("bytes", counts.bytes().into());
    if let Some(by @ (NumbersBy::Status | NumbersBy::Level)) = by {
        let column = row.value.as_deref().unwrap_or_default();
        put(&format!("{}_{column}", key(by)), counts.lines().into());
    } else {
        for (class, (lines, _)) in (1..).zip(counts.statuses()) {
            put(&format!("status_{class}xx"), lines.into());
        }
        for (level, (lines, _)) in Level::ALL.iter().zip(counts.levels()) {
            put(&format!("level_{}", level.as_str()), lines.into());
        }
        put("unparsed", counts.unparsed().into());
        let (timed, micros) = counts.request_times();
        put("requests_timed", timed.into());
        put("request_seconds", seconds(micros).into());
        put(
            "request_p95_seconds",
            counts.request_quantile(0.95).map(seconds).into(),
        );
        for (name, id) in counters {
            put(name, counts.named(*id).into());
        }
    }
    object
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// A table for people; times are those of this host.
pub(super) fn text(rows: &[NumbersRow], by: Option<NumbersBy>, counters: &[(String, CounterId)]) -> String {
    if rows.is_empty() {
        return "no lines in this time\n".to_owned();
    }
    let title = by.map_or("", key);
    let mut table = Table::new([
        "time", title, ">lines", ">bytes", ">5xx", ">errors", ">p95", "counters",
    ]);
    for row in rows {
        let counts = &row.counts;
        let local = time(row).to_zoned(TimeZone::system());
        let [.., (server_errors, _)] = counts.statuses();
        let [.., (errors, _)] = counts.levels();
        let named = counters.iter().filter(|(_, id)| counts.named(*id) > 0);
        let named: Vec<_> = named
            .map(|(name, id)| format!("{name} {}", count(counts.named(*id))))
            .collect();
        let is_whole = !matches!(by, Some(NumbersBy::Status | NumbersBy::Level));
        let known = |number: u64| if is_whole { count(number) } else { String::new() };
        let p95 = counts
            .request_quantile(0.95)
            .map(|micros| format!("{:.3} s", seconds(micros)));
        table.row([
            local.strftime("%F %H:%M").to_string(),
            by.map_or_else(String::new, |_| {
                row.value.clone().unwrap_or_else(|| "-".to_owned())
            }),
            count(counts.lines()),
            size(counts.bytes()),
            known(server_errors),
            known(errors),
            p95.unwrap_or_default(),
            named.join(", "),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use logferry_numbers::{CountedLine, Counts};

    use super::*;

    fn row(value: Option<&str>) -> NumbersRow {
        let mut counts = Counts::default();
        counts.count(&CountedLine {
            bytes: 100,
            status: Some(503),
            level: Some(Level::Error),
            is_parsed: true,
            request_micros: Some(20_000),
        });
        NumbersRow {
            start: 1_795_227_600,
            value: value.map(str::to_owned),
            counts,
        }
    }

    #[test]
    fn row_for_programs_has_the_documented_keys() {
        let of = |by, value| Value::Object(json(&row(value), by, &[]));
        let expected =
            r#"{"bytes":100,"lines":1,"status":"5xx","status_5xx":1,"time":"2026-11-21T02:20:00Z"}"#;
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(of(Some(NumbersBy::Status), Some("5xx")), expected);
        let whole = of(None, None).to_string();
        for part in [
            r#""level_error":1"#,
            r#""status_2xx":0"#,
            r#""request_seconds":0.02"#,
            r#""request_p95_seconds":0.025"#,
        ] {
            assert!(whole.contains(part), "{part}: {whole}");
        }
    }

    #[test]
    fn table_names_the_value_that_rows_are_divided_by() {
        let shown = text(&[row(Some("web-1"))], Some(NumbersBy::Source), &[]);
        assert!(shown.starts_with("time              source  lines"), "{shown}");
        assert!(shown.contains("web-1"), "{shown}");
        assert_eq!(text(&[], None, &[]), "no lines in this time\n");
    }
}
