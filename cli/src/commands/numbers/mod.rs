//! `logferry numbers`: lines, bytes and named counters by minute or hour, as the indexer has counted them.

mod output;

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
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
    let reader = IndexReader::open(&indexer.store_dir)?;
    let rows = reader.numbers(&query(options, Timestamp::now()))?;
    if options.json {
        let counters = reader.counters()?;
        let named =
            |(name, _): &(String, CounterId)| indexer.counters.iter().any(|counter| counter.name == *name);
        let counters: Vec<_> = counters.into_iter().filter(named).collect();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row.json(options.by.map(dimension), &counters))
            .collect();
        console::print(&(serde_json::to_string(&rows)? + "\n"))?;
    } else {
        let names = reader.counters()?;
        console::print(&output::text(&rows, options.by.map(dimension), &names))?;
    }
    Ok(CommandOutcome::Fine)
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
