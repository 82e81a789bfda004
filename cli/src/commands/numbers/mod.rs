//! `logferry numbers`: lines, bytes and named counters by minute or hour, as the indexer has counted them.

mod output;

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::IndexerSettings;
use logferry_numbers::{CounterId, IndexReader, NumbersDimension, NumbersQuery, NumbersSpan};

use crate::args::{NumbersArgs, NumbersBy, NumbersPer};
use crate::commands::require_order;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::owner;

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
    console::print(&shown(indexer, options, Timestamp::now())?)?;
    Ok(CommandOutcome::Fine)
}

fn shown(indexer: &IndexerSettings, options: &NumbersArgs, now: Timestamp) -> anyhow::Result<String> {
    let reader = IndexReader::open(&indexer.store_dir)?;
    let rows = reader.numbers(&query(options, now))?;
    // Of a counter that was taken out of the configuration the index still has what it counted.
    let named =
        |(name, _): &(String, CounterId)| indexer.counters.iter().any(|counter| counter.name == *name);
    let counters: Vec<_> = reader.counters()?.into_iter().filter(named).collect();
    let by = options.by.map(dimension);
    if !options.json {
        return Ok(output::text(&rows, by, &counters));
    }
    let rows: Vec<_> = rows.iter().map(|row| row.json(by, &counters)).collect();
    Ok(serde_json::to_string(&rows)? + "\n")
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

    #[test]
    fn counter_that_was_taken_out_is_shown_neither_to_people_nor_to_programs() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = IndexDb::open_or_create(dir.path()).unwrap();
        let ids = db
            .counter_ids(&["orders".to_owned(), "removed".to_owned()])
            .unwrap();
        let mut change = IndexChange::default();
        let series = change.tally.series(SeriesKey {
            source: "web-1".to_owned(),
            group: "web".to_owned(),
            log: None,
        });
        let now = Timestamp::from_second(1_795_227_600).unwrap();
        let counts = change.tally.minute(now.as_second() - 60, series);
        counts.count(&CountedLine::default());
        for id in ids {
            counts.count_named(id);
        }
        let day = Duration::from_hours(24);
        let kept = NumbersKept {
            minutes: day,
            hours: day,
            gaps: day,
        };
        db.record(&mut change, kept, now.as_second()).unwrap();

        let text = format!(
            "indexer:\n  store_dir: {}\n  counters: [{{name: orders, where: {{path: \"/order*\"}}}}]\n",
            dir.path().display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        for json in [false, true] {
            let options = NumbersArgs {
                since: None,
                until: None,
                per: NumbersPer::Minute,
                by: None,
                json,
            };
            let shown = shown(config.indexer.as_ref().unwrap(), &options, now).unwrap();
            assert!(shown.contains("orders") && !shown.contains("removed"), "{shown}");
        }
    }
}
