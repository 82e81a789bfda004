//! `logferry numbers`: lines, bytes and named counters by minute or hour, as the indexer has counted them.

mod output;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::IndexerSettings;
use logferry_inspection::status::index_progress;
use logferry_ledger::Ledger;
use logferry_numbers::{CounterId, IndexReader, NumbersDimension, NumbersQuery, NumbersSpan};

use crate::args::{NumbersArgs, NumbersBy, NumbersPer};
use crate::commands::require_order;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::output::index_progress as in_words;
use crate::owner;

/// A lag of so many seconds is no longer that of an indexer at work.
const NOTED_LAG: u64 = 60;

/// Rows that are read and printed at once: of a long time there may be millions.
const ROWS_AT_ONCE: usize = if cfg!(test) { 2 } else { 10_000 };

/// Prints the rows.
pub(crate) fn run(file: &Path, options: &NumbersArgs) -> Result {
    require_order(options.since, options.until).map_err(Failure::configuration)?;
    let config = configuration::load(file)?;
    let Some(indexer) = &config.indexer else {
        let file = file.display();
        return Err(Failure::Configuration(anyhow!(
            "{file}: there is no indexer section, so nothing is counted; write `indexer: {{}}` for its defaults"
        )));
    };
    owner::act_as_owner(&[&indexer.store_dir])?;
    let print = |text: &str| console::print_while_read(text.as_bytes());
    let now = Timestamp::now();
    show(indexer, options, now, print)?;
    if options.until.is_none_or(|until| until > now)
        && let Some(note) = note_of_progress(indexer, now)?
    {
        console::print_error(&note);
    }
    Ok(CommandOutcome::Fine)
}

/// Says what is not counted, if that is more than the lines of the last minute.
fn note_of_progress(indexer: &IndexerSettings, now: Timestamp) -> anyhow::Result<Option<String>> {
    let reader = IndexReader::open(&indexer.store_dir)?;
    // The numbers may be on another host than the ledger, or outlive it.
    let Ok(ledger) = Ledger::open_read_only(&indexer.data_dir) else {
        return Ok(None);
    };
    let index = index_progress::<anyhow::Error>(&reader, &ledger, now)?;
    let is_old = index.stands_still(now) || index.lag_seconds >= NOTED_LAG;
    Ok((!index.has_all && is_old).then(|| {
        let progress = in_words::index_progress(&index, now);
        format!(
            "the newest lines are not counted: {progress}; `logferry status` says whether the indexer runs"
        )
    }))
}

/// Gives the rows to `print` until it says that nobody reads any more.
fn show(
    indexer: &IndexerSettings,
    options: &NumbersArgs,
    now: Timestamp,
    mut print: impl FnMut(&str) -> io::Result<bool>,
) -> anyhow::Result<()> {
    let reader = IndexReader::open(&indexer.store_dir)?;
    // Of a counter that was taken out of the configuration the index still has what it counted.
    let named =
        |(name, _): &(String, CounterId)| indexer.counters.iter().any(|counter| counter.name == *name);
    let counters: Vec<_> = reader.counters()?.into_iter().filter(named).collect();
    let by = options.by.map(dimension);
    let (mut query, mut is_first, mut is_last) = (query(options, now), true, false);
    while !is_last {
        let rows = reader.first_numbers(&query, ROWS_AT_ONCE)?;
        is_last = rows.len() < ROWS_AT_ONCE;
        let text = if options.json {
            output::json(&rows, by, &counters, (is_first, is_last))?
        } else if rows.is_empty() && !is_first {
            String::new()
        } else {
            output::text(&rows, by, &counters)
        };
        if !print(&text)? {
            break;
        }
        if let Some(last) = rows.last() {
            query.go_on_after(last);
        }
        is_first = false;
    }
    Ok(())
}

fn query(options: &NumbersArgs, now: Timestamp) -> NumbersQuery {
    let (per, past) = match options.per {
        NumbersPer::Minute => (NumbersSpan::Minute, Duration::from_hours(1)),
        NumbersPer::Hour => (NumbersSpan::Hour, Duration::from_hours(24)),
    };
    let before = options.until.unwrap_or(now).checked_sub(past).ok();
    NumbersQuery {
        since: options.since.or(before).map(Timestamp::as_second),
        until: options.until.map(Timestamp::as_second),
        per,
        by: options.by.map(dimension),
        ..NumbersQuery::default()
    }
}

fn dimension(by: NumbersBy) -> NumbersDimension {
    match by {
        NumbersBy::Source => NumbersDimension::Source,
        NumbersBy::Group => NumbersDimension::Group,
        NumbersBy::Log => NumbersDimension::Log,
        NumbersBy::Status => NumbersDimension::Status,
        NumbersBy::Level => NumbersDimension::Level,
    }
}

#[cfg(test)]
mod tests {
    use logferry_numbers::{CountedLine, IndexChange, IndexDb, NumbersKept, SeriesKey};

    use super::*;

    const NOW: i64 = 1_795_227_600;

    /// An index with a line in each of the last minutes, counted by two counters, of which one is configured.
    fn index_of(dir: &Path, minutes: i64) -> IndexerSettings {
        let mut db = IndexDb::open_or_create(dir).unwrap();
        let ids = db
            .counter_ids(&["orders".to_owned(), "removed".to_owned()])
            .unwrap();
        let mut change = IndexChange::default();
        let series = change.tally.series(SeriesKey {
            source: "web-1".to_owned(),
            group: "web".to_owned(),
            log: None,
        });
        for minute in 1..=minutes {
            let counts = change.tally.minute(NOW - 60 * minute, series);
            counts.count(&CountedLine::default());
            for id in &ids {
                counts.count_named(*id);
            }
        }
        let day = Duration::from_hours(24);
        let kept = NumbersKept {
            minutes: day,
            hours: day,
            gaps: day,
        };
        db.record(&mut change, kept, NOW).unwrap();
        let text = format!(
            "indexer:\n  store_dir: {}\n  counters: [{{name: orders, where: {{path: \"/order*\"}}}}]\n",
            dir.display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        config.indexer.unwrap()
    }

    /// The parts in which the rows by minute are printed.
    fn shown(indexer: &IndexerSettings, json: bool) -> Vec<String> {
        let options = NumbersArgs {
            since: None,
            until: None,
            per: NumbersPer::Minute,
            by: None,
            json,
        };
        let mut parts = Vec::new();
        let print = |part: &str| {
            parts.push(part.to_owned());
            Ok(true)
        };
        show(indexer, &options, Timestamp::from_second(NOW).unwrap(), print).unwrap();
        parts
    }

    #[test]
    fn counter_that_was_taken_out_is_shown_neither_to_people_nor_to_programs() {
        let dir = tempfile::tempdir().unwrap();
        let indexer = index_of(dir.path(), 1);
        for json in [false, true] {
            let shown = shown(&indexer, json).concat();
            assert!(shown.contains("orders") && !shown.contains("removed"), "{shown}");
        }
    }

    #[test]
    fn many_rows_are_printed_in_parts_and_are_one_list_for_programs() {
        for minutes in 0..=5 {
            let dir = tempfile::tempdir().unwrap();
            let indexer = index_of(dir.path(), minutes);
            let parts = shown(&indexer, true);
            assert_eq!(parts.len(), usize::try_from(minutes).unwrap() / ROWS_AT_ONCE + 1);
            let text = parts.concat();
            let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            let times: Vec<_> = rows.iter().map(|row| row["time"].as_str().unwrap()).collect();
            assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
            assert_eq!(times.len(), usize::try_from(minutes).unwrap(), "{text}");
            assert!(text.ends_with("]\n"), "{text}");
            let table = shown(&indexer, false).concat();
            let lines = table.lines().filter(|line| line.contains("orders")).count();
            assert_eq!(lines, usize::try_from(minutes).unwrap(), "{table}");
            assert_eq!(table.contains("no lines in this time"), minutes == 0, "{table}");
        }
    }
}
