//! Rows of numbers, for people and for programs.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_numbers::{CounterId, NumbersDimension, NumbersRow};
use logferry_text::{Table, count, size};

fn time(row: &NumbersRow) -> Timestamp {
    Timestamp::from_second(row.start).unwrap_or_default()
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// A table for people; times are those of this host.
pub(super) fn text(
    rows: &[NumbersRow],
    by: Option<NumbersDimension>,
    counters: &[(String, CounterId)],
) -> String {
    if rows.is_empty() {
        return "no lines in this time\n".to_owned();
    }
    let title = by.map_or("", NumbersDimension::key);
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
        let is_whole = !matches!(by, Some(NumbersDimension::Status | NumbersDimension::Level));
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

/// A part of the list for programs, and whether it is the first and the last one.
pub(super) fn json(
    rows: &[NumbersRow],
    by: Option<NumbersDimension>,
    counters: &[(String, CounterId)],
    (is_first, is_last): (bool, bool),
) -> serde_json::Result<String> {
    let mut text = if is_first { "[".to_owned() } else { String::new() };
    for (number, row) in rows.iter().enumerate() {
        if number > 0 || !is_first {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(&row.json(by, counters))?);
    }
    if is_last {
        text.push_str("]\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use logferry_fields::Level;
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
        let of = |by, value| serde_json::Value::Object(row(value).json(by, &[]));
        let expected =
            r#"{"bytes":100,"lines":1,"status":"5xx","status_5xx":1,"time":"2026-11-21T02:20:00Z"}"#;
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(of(Some(NumbersDimension::Status), Some("5xx")), expected);
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
        let shown = text(&[row(Some("web-1"))], Some(NumbersDimension::Source), &[]);
        assert!(shown.starts_with("time              source  lines"), "{shown}");
        assert!(shown.contains("web-1"), "{shown}");
        assert_eq!(text(&[], None, &[]), "no lines in this time\n");
    }
}
